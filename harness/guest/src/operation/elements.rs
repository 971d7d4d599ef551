//! Calls on the elements of a map.

use std::os::fd::{AsRawFd, BorrowedFd};

use harness_protocol::plan::{BatchOp, PartContent, PartOffset, ValuePart};
use libbpf_sys as sys;

use super::result::{AttemptResult, Handles, LARGEST_ELEMENT, OperationError, detailed, done, hex};
use crate::{attr::Attr, error::last_errno, kernel_types, pseudofile};

/// The most bytes of a value that an answer shows: three answers with as many, in hexadecimal, fit a line of the
/// record.
const MOST_SHOWN: u32 = 8 * 1024;

/// What the kernel reads and writes at once for one map element, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ElementSize {
    key: usize,
    value: usize,
}

impl ElementSize {
    /// Computes the size for a map with this key and value size. For maps with a value per processor the kernel copies
    /// all of them, each rounded up to 8 bytes (`bpf_map_value_size`, `kernel/bpf/syscall.c`); for other maps this is
    /// merely generous. `None` if it exceeds [`LARGEST_ELEMENT`].
    fn new(key: u32, value: u32, processors: usize) -> Option<Self> {
        let value = (value as usize).checked_next_multiple_of(8)?.checked_mul(processors.max(1))?.max(8);
        let key = key as usize;
        (value <= LARGEST_ELEMENT && key <= LARGEST_ELEMENT).then_some(Self { key, value })
    }

    /// Reads the sizes from the map's `/proc/self/fdinfo`: a `bpf(2)` call would be an operation that the scenario did
    /// not ask for.
    fn of(map: BorrowedFd<'_>) -> Result<Self, OperationError> {
        let description = pseudofile::read(&format!("/proc/self/fdinfo/{}", map.as_raw_fd()))?;
        let processors = possible_processors(&pseudofile::read("/sys/devices/system/cpu/possible")?);
        let (key, value) = (number_of(&description, "key_size:"), number_of(&description, "value_size:"));
        Self::new(key, value, processors).ok_or(OperationError::TooLarge)
    }

    /// Pads a key with zeros.
    fn key(self, bytes: &[u8]) -> Vec<u8> {
        padded(bytes, self.key.max(8))
    }

    /// Pads a value with zeros.
    fn value(self, bytes: &[u8]) -> Vec<u8> {
        padded(bytes, self.value)
    }
}

fn padded(bytes: &[u8], least: usize) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.resize(least.max(bytes.len()), 0);
    padded
}

/// Returns the number in a line of fdinfo; 0 if there is none, as for a descriptor that is not a map: the kernel
/// refuses it before it touches an element.
pub(super) fn number_of(description: &str, field: &str) -> u32 {
    description.lines().find_map(|line| line.strip_prefix(field)?.trim().parse().ok()).unwrap_or(0)
}

/// Returns the number after the last processor in a list such as `0-3` or `0,2-5`.
fn possible_processors(list: &str) -> usize {
    let last = list.trim().rsplit([',', '-']).next().and_then(|number| number.parse::<usize>().ok());
    last.map_or(1, |last| last + 1)
}

/// Sets the members of `union bpf_attr` that calls on one element share.
fn element<'a>(map: BorrowedFd<'a>, key: &'a [u8]) -> Attr<'a> {
    Attr::new().fd(0, map).input(8, key)
}

/// The offset of `value` and `next_key`.
const VALUE: usize = 16;

/// `BPF_MAP_UPDATE_ELEM` without flags.
#[allow(unsafe_code)]
pub(super) fn update(
    handles: Handles<'_>,
    key: &[u8],
    value: &[u8],
    parts: &[ValuePart],
) -> Result<AttemptResult, OperationError> {
    let map = handles.object(0)?;
    let size = ElementSize::of(map)?;
    let (key, mut value) = (size.key(key), size.value(value));
    fill(handles, parts, &mut value)?;
    // SAFETY: the kernel reads the map's key and value size, and both buffers are at least that long.
    Ok(done(unsafe { element(map, &key).input(VALUE, &value).call(sys::BPF_MAP_UPDATE_ELEM) }))
}

/// Writes parts into a value, each at its offset.
fn fill(handles: Handles<'_>, parts: &[ValuePart], value: &mut [u8]) -> Result<(), OperationError> {
    let mut object = 0;
    for part in parts {
        let at = offset_of(&part.at)? as usize;
        let bytes = match &part.what {
            PartContent::Text(text) => text.as_bytes().to_vec(),
            PartContent::Fd(_) => {
                object += 1;
                handles.object(object)?.as_raw_fd().to_ne_bytes().to_vec()
            }
        };
        let room = value.get_mut(at..at + bytes.len()).ok_or(OperationError::Outside { at })?;
        room.copy_from_slice(&bytes);
    }
    Ok(())
}

fn offset_of(at: &PartOffset) -> Result<u32, OperationError> {
    match at {
        PartOffset::Byte(byte) => Ok(*byte),
        PartOffset::StructOps(member) => {
            let types = kernel_types::known();
            let (_, _, kept) = types.member(&member.kept_in())?;
            let (_, _, within) = types.member(member)?;
            Ok(kept + within)
        }
    }
}

/// `BPF_MAP_LOOKUP_ELEM`: returns the value's first `value_size` bytes.
#[allow(unsafe_code)]
pub(super) fn lookup(map: BorrowedFd<'_>, key: &[u8], value_size: u32) -> Result<AttemptResult, OperationError> {
    if value_size > MOST_SHOWN {
        return Err(OperationError::TooMuchToShow { asked: value_size, most: MOST_SHOWN });
    }
    let size = ElementSize::of(map)?;
    let (key, mut value) = (size.key(key), size.value(&[]));
    // SAFETY: the kernel reads the map's key size and writes its value size; the buffers are at least that long.
    let result = unsafe { element(map, &key).output(VALUE, &mut value).call(sys::BPF_MAP_LOOKUP_ELEM) };
    Ok(detailed(result.map(|_| hex(&value[..value.len().min(value_size as usize)]))))
}

/// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`.
#[allow(unsafe_code)]
pub(super) fn lookup_and_delete(map: BorrowedFd<'_>, key: &[u8]) -> Result<AttemptResult, OperationError> {
    let size = ElementSize::of(map)?;
    let has_key = size.key > 0;
    let (key, mut value) = (size.key(key), size.value(&[]));
    // A queue takes no key at all (`map_lookup_and_delete_elem` in `kernel/bpf/syscall.c`).
    let attr = if has_key { element(map, &key) } else { Attr::new().fd(0, map) };
    // SAFETY: as for a lookup.
    Ok(done(unsafe { attr.output(VALUE, &mut value).call(sys::BPF_MAP_LOOKUP_AND_DELETE_ELEM) }))
}

/// `BPF_MAP_DELETE_ELEM`.
#[allow(unsafe_code)]
pub(super) fn delete(map: BorrowedFd<'_>, key: &[u8]) -> Result<AttemptResult, OperationError> {
    let key = ElementSize::of(map)?.key(key);
    // SAFETY: the kernel reads the map's key size, and the buffer is at least that long.
    Ok(done(unsafe { element(map, &key).call(sys::BPF_MAP_DELETE_ELEM) }))
}

/// `BPF_MAP_GET_NEXT_KEY`.
#[allow(unsafe_code)]
pub(super) fn next_key(map: BorrowedFd<'_>, key: Option<&[u8]>) -> Result<AttemptResult, OperationError> {
    let size = ElementSize::of(map)?;
    let (key, mut next) = (key.map(|key| size.key(key)), size.key(&[]));
    let attr = key.as_deref().map_or(Attr::new().fd(0, map), |key| element(map, key));
    // SAFETY: the kernel reads and writes the map's key size, and both buffers are at least that long.
    Ok(done(unsafe { attr.output(VALUE, &mut next).call(sys::BPF_MAP_GET_NEXT_KEY) }))
}

/// `BPF_MAP_FREEZE`.
#[allow(unsafe_code)]
pub(super) fn freeze(map: BorrowedFd<'_>) -> AttemptResult {
    // SAFETY: no buffers.
    done(unsafe { Attr::new().fd(0, map).call(sys::BPF_MAP_FREEZE) })
}

/// The most elements in one call.
const MOST_ELEMENTS: u32 = 1024;

/// `BPF_MAP_LOOKUP_BATCH` and its siblings.
#[allow(unsafe_code)]
pub(super) fn batch(op: BatchOp, map: BorrowedFd<'_>, count: u32) -> Result<AttemptResult, OperationError> {
    let size = ElementSize::of(map)?;
    let elements = count.min(MOST_ELEMENTS) as usize;
    if elements * (size.key + size.value) > LARGEST_ELEMENT {
        return Err(OperationError::TooLarge);
    }
    let mut keys: Vec<u8> = (0..elements as u64).flat_map(|key| numbered(key, size.key)).collect();
    let (mut values, mut next) = (vec![0; elements * size.value], size.key(&[]));
    let attr = Attr::new().output(8, &mut next).output(16, &mut keys).output(24, &mut values);
    let command = match op {
        BatchOp::Lookup => sys::BPF_MAP_LOOKUP_BATCH,
        BatchOp::LookupAndDelete => sys::BPF_MAP_LOOKUP_AND_DELETE_BATCH,
        BatchOp::Update => sys::BPF_MAP_UPDATE_BATCH,
        BatchOp::Delete => sys::BPF_MAP_DELETE_BATCH,
    };
    // SAFETY: the kernel reads and writes `count` keys and values, and a number or a key as the position to continue
    // from; the buffers are at least that long.
    Ok(done(unsafe { attr.u32(32, elements as u32).fd(36, map).call(command) }))
}

/// Encodes a number as a key of `size` bytes.
fn numbered(number: u64, size: usize) -> Vec<u8> {
    let mut key = number.to_le_bytes().to_vec();
    key.resize(size, 0);
    key
}

impl From<kernel_types::UnknownType> for OperationError {
    fn from(unknown: kernel_types::UnknownType) -> Self {
        Self::Type(unknown)
    }
}

/// `mmap(2)` of the first page, and `munmap(2)`.
#[allow(unsafe_code)]
pub(super) fn mmap(map: BorrowedFd<'_>, write: bool) -> AttemptResult {
    const PAGE: usize = 4096;
    let access = if write { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
    // SAFETY: the kernel chooses a free address; nobody reads or writes the mapping before it is unmapped.
    let mapped = unsafe {
        let at = libc::mmap(std::ptr::null_mut(), PAGE, access, libc::MAP_SHARED, map.as_raw_fd(), 0);
        if at == libc::MAP_FAILED {
            Err(last_errno())
        } else {
            libc::munmap(at, PAGE);
            Ok(())
        }
    };
    done(mapped)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn element_buffers_hold_a_value_of_every_processor() {
        assert_eq!(ElementSize::new(4, 4, 2), Some(ElementSize { key: 4, value: 16 }));
        assert_eq!(ElementSize::new(0, 0, 0), Some(ElementSize { key: 0, value: 8 }));
        assert_eq!(ElementSize::new(4, u32::MAX, 64), None);
        assert_eq!(ElementSize::new(u32::MAX, 4, 1), None);
        assert_eq!(padded(&[1, 2], 4), [1, 2, 0, 0]);
        assert_eq!(padded(&[1, 2, 3], 2), [1, 2, 3]);
        assert_eq!([numbered(258, 4), numbered(3, 1)], [vec![2, 1, 0, 0], vec![3]]);
    }

    #[test]
    fn a_map_is_measured_by_its_description() {
        let description = "pos:\t0\nmap_type:\t1\nkey_size:\t4\nvalue_size:\t12\n";
        assert_eq!((number_of(description, "key_size:"), number_of(description, "value_size:")), (4, 12));
        assert_eq!(number_of("prog_type:\t1\n", "key_size:"), 0);
        assert_eq!(["0\n", "0-3", "0,2-5", ""].map(possible_processors), [1, 4, 6, 1]);
    }

    #[test]
    fn a_value_is_shown_only_as_far_as_three_fit_a_line() {
        assert!(3 * 2 * MOST_SHOWN as usize + 1024 < harness_protocol::outcome::LONGEST_LINE);
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        insta::assert_snapshot!(
            lookup(reader.as_fd(), &[], MOST_SHOWN + 1).unwrap_err(),
            @"8193 bytes of a value are requested, and a record holds 8192: lower the attempt's `value_size`"
        );
    }

    #[test]
    fn a_part_that_leaves_the_value_is_an_error() {
        let handles = Handles { handles: &[], fds: &[] };
        let part = |at| ValuePart { at: PartOffset::Byte(at), what: PartContent::Text("ab".into()) };
        let mut value = [0; 4];
        fill(handles, &[part(1)], &mut value).unwrap();
        assert_eq!(&value, b"\0ab\0");
        assert!(matches!(fill(handles, &[part(3)], &mut value), Err(OperationError::Outside { at: 3 })));
    }
}
