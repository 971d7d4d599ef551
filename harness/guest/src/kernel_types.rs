//! The kernel's types by name: ids, sizes and members, from `/sys/kernel/btf/vmlinux`.
//!
//! Only types that a plan names are kept. They are looked up once, before the first fork, so that executors inherit
//! them. The format is described in `Documentation/bpf/btf.rst` in the kernel's sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Read,
    sync::OnceLock,
};

use harness_protocol::plan::{Attempt, KernelMember, KernelType, Plan};
use thiserror::Error;

use crate::{error::SysError, pseudofile, tracepoints};

/// Where the kernel shows its types.
const PATH: &str = "/sys/kernel/btf/vmlinux";

/// Why the kernel's types are not known.
#[derive(Debug, Error)]
pub(crate) enum KernelTypesError {
    /// A system call failed.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// The file cannot be read.
    #[error("read {PATH}: {0}")]
    Io(#[from] std::io::Error),
    /// The contents do not follow the format.
    #[error("{PATH} is malformed at byte {0}: this program does not understand the kernel's BTF format")]
    Malformed(usize),
}

/// A type that an attempt names and the kernel does not have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the kernel's BTF has no {kind} `{name}`: use another one, or limit the scenario's `kernels`")]
pub(crate) struct UnknownType {
    kind: &'static str,
    name: String,
}

/// What is known of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    id: u32,
    size: u32,
    members: Vec<Member>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    name: String,
    bit: u32,
}

/// The types that a plan names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KernelTypes(BTreeMap<KernelType, Known>);

static KNOWN: OnceLock<KernelTypes> = OnceLock::new();

/// Looks up what a plan names, tracepoints included, for this process and its forks. Costs nothing if it names nothing.
pub(crate) fn prepare(plan: &Plan) -> Result<(), KernelTypesError> {
    let attempts = plan.scenarios.iter().flat_map(|scenario| &scenario.cases).flat_map(|case| &case.attempts);
    tracepoints::prepare(attempts.clone())?;
    let hooks = plan.scenarios.iter().flat_map(|scenario| &scenario.lsm).map(|hook| hook.function());
    find_all(attempts.flat_map(|attempt| attempt.call.kernel_types()).chain(hooks).collect())
}

/// Looks up what these attempts name, in a process that was executed.
pub(crate) fn prepare_for(attempts: &[Attempt]) -> Result<(), KernelTypesError> {
    tracepoints::prepare(attempts)?;
    find_all(attempts.iter().flat_map(|attempt| attempt.call.kernel_types()).collect())
}

fn find_all(wanted: BTreeSet<KernelType>) -> Result<(), KernelTypesError> {
    if !wanted.is_empty() {
        let mut bytes = Vec::new();
        File::from(pseudofile::open(PATH)?).read_to_end(&mut bytes)?;
        let _ = KNOWN.set(KernelTypes::find(&bytes, &wanted)?);
    }
    Ok(())
}

/// Returns the types that were looked up.
pub(crate) fn known() -> &'static KernelTypes {
    KNOWN.get_or_init(KernelTypes::default)
}

impl KernelTypes {
    /// Finds the first type of each name, if there is one.
    fn find(bytes: &[u8], wanted: &BTreeSet<KernelType>) -> Result<Self, KernelTypesError> {
        let btf = Btf::new(bytes)?;
        let mut found = BTreeMap::new();
        let mut at = btf.types.start;
        for id in 1.. {
            if at >= btf.types.end || found.len() == wanted.len() {
                break;
            }
            let record = btf.record(at)?;
            if let Some(named) = record.named(btf.text(record.name)).filter(|named| wanted.contains(named)) {
                let members = if record.kind == STRUCT { btf.members(at, record)? } else { Vec::new() };
                found.entry(named).or_insert(Known { id, size: record.size_or_type, members });
            }
            at += HEAD + record.tail().ok_or(KernelTypesError::Malformed(at))?;
        }
        Ok(Self(found))
    }

    fn known(&self, wanted: &KernelType) -> Result<&Known, UnknownType> {
        let (kind, name) = match wanted {
            KernelType::Func(name) => ("function", name),
            KernelType::Struct(name) => ("structure", name),
            KernelType::Typedef(name) => ("typedef", name),
        };
        self.0.get(wanted).ok_or_else(|| UnknownType { kind, name: name.clone() })
    }

    /// Returns the id of a type.
    pub(crate) fn id(&self, wanted: &KernelType) -> Result<u32, UnknownType> {
        self.known(wanted).map(|known| known.id)
    }

    /// Returns the id of a structure, and its size in bytes.
    pub(crate) fn structure(&self, name: &str) -> Result<(u32, u32), UnknownType> {
        self.known(&KernelType::Struct(name.to_owned())).map(|known| (known.id, known.size))
    }

    /// Returns the structure's id, the member's index, and its offset in bytes.
    pub(crate) fn member(&self, wanted: &KernelMember) -> Result<(u32, u32, u32), UnknownType> {
        let known = self.known(&KernelType::Struct(wanted.structure.clone()))?;
        let index = known.members.iter().position(|member| member.name == wanted.member);
        let name = || format!("{}.{}", wanted.structure, wanted.member);
        let index = index.ok_or_else(|| UnknownType { kind: "member", name: name() })?;
        Ok((known.id, index as u32, known.members[index].bit / 8))
    }
}

/// The size of `struct btf_type` in bytes.
const HEAD: usize = 12;
const INT: u32 = 1;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const TYPEDEF: u32 = 8;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const DECL_TAG: u32 = 17;
const ENUM64: u32 = 19;

/// The sections of BTF.
struct Btf<'b> {
    bytes: &'b [u8],
    types: std::ops::Range<usize>,
    strings: std::ops::Range<usize>,
}

/// A `struct btf_type`.
#[derive(Clone, Copy)]
struct Record {
    name: u32,
    kind: u32,
    /// How many members, values or parameters follow.
    count: usize,
    /// Whether member offsets share their number with bit field sizes.
    has_bit_fields: bool,
    size_or_type: u32,
}

impl Record {
    fn named(&self, name: &str) -> Option<KernelType> {
        match self.kind {
            FUNC => Some(KernelType::Func(name.to_owned())),
            STRUCT => Some(KernelType::Struct(name.to_owned())),
            TYPEDEF => Some(KernelType::Typedef(name.to_owned())),
            _ => None,
        }
    }

    /// Returns how many bytes follow the head; `None` for an unknown kind.
    fn tail(&self) -> Option<usize> {
        match self.kind {
            INT | VAR | DECL_TAG => Some(4),
            ARRAY => Some(12),
            STRUCT | UNION | DATASEC | ENUM64 => Some(self.count * 12),
            ENUM | FUNC_PROTO => Some(self.count * 8),
            kind if kind < ENUM64 => Some(0),
            _ => None,
        }
    }
}

impl<'b> Btf<'b> {
    fn new(bytes: &'b [u8]) -> Result<Self, KernelTypesError> {
        let word = |at: usize| word(bytes, at).map(|word| word as usize);
        let start = word(4)?;
        let section = |offset: usize, length: usize| -> Result<_, KernelTypesError> {
            let first = start + word(offset)?;
            let section = first..first + word(length)?;
            if section.end <= bytes.len() { Ok(section) } else { Err(KernelTypesError::Malformed(offset)) }
        };
        Ok(Self { bytes, types: section(8, 12)?, strings: section(16, 20)? })
    }

    fn record(&self, at: usize) -> Result<Record, KernelTypesError> {
        let info = word(self.bytes, at + 4)?;
        Ok(Record {
            name: word(self.bytes, at)?,
            kind: info >> 24 & 0x7f,
            count: (info & 0x00ff_ffff) as usize,
            has_bit_fields: info >> 31 != 0,
            size_or_type: word(self.bytes, at + 8)?,
        })
    }

    fn members(&self, at: usize, record: Record) -> Result<Vec<Member>, KernelTypesError> {
        let member = |index: usize| {
            let at = at + HEAD + index * 12;
            let offset = word(self.bytes, at + 8)?;
            let bit = if record.has_bit_fields { offset & 0x00ff_ffff } else { offset };
            Ok(Member { name: self.text(word(self.bytes, at)?).to_owned(), bit })
        };
        (0..record.count).map(member).collect()
    }

    /// Returns the string at an offset; empty if it is outside of the strings.
    fn text(&self, at: u32) -> &'b str {
        let strings = &self.bytes[self.strings.clone()];
        let text = strings.get(at as usize..).and_then(|rest| rest.split(|byte| *byte == 0).next());
        text.and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
    }
}

fn word(bytes: &[u8], at: usize) -> Result<u32, KernelTypesError> {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    word.map(u32::from_ne_bytes).ok_or(KernelTypesError::Malformed(at))
}

#[cfg(test)]
mod tests {
    use harness_protocol::blob;

    use super::*;

    fn find(bytes: &[u8]) -> Result<KernelTypes, KernelTypesError> {
        let wanted = [KernelType::Func("entry".into()), KernelType::Struct("xdp_md".into())];
        KernelTypes::find(bytes, &wanted.into())
    }

    #[test]
    fn types_and_members_are_found_by_name() {
        let types = find(&blob::bytes()).unwrap();
        assert_eq!(types.id(&KernelType::Func("entry".into())), Ok(blob::ENTRY));
        let member = |member: &str| KernelMember { structure: "xdp_md".into(), member: member.into() };
        assert_eq!(types.member(&member("data")), Ok((2, 0, 0)));
        assert_eq!(types.structure("xdp_md"), Ok((2, 4)));
        insta::assert_snapshot!(
            types.member(&member("none")).unwrap_err(),
            @"the kernel's BTF has no member `xdp_md.none`: use another one, or limit the scenario's `kernels`"
        );
        assert!(types.id(&KernelType::Func("other".into())).is_err());
    }

    #[test]
    fn hostile_bytes_are_an_error_or_types_but_never_a_panic() {
        let good = blob::bytes();
        for length in 0..good.len() {
            assert!(find(&good[..length]).is_err(), "cut at {length}");
        }
        for at in 0..good.len() {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                // Some changes leave valid BTF: the test only requires that nothing panics.
                let _ = find(&bad);
            }
        }
    }
}
