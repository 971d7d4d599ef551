//! Attempts, as an agent makes them: one call, its answer, and perhaps a file descriptor.

use std::{
    ffi::CString,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use harness_model::{
    delegation::MountOption,
    errno::Errno,
    outcome::Answer,
    plan::{Call, LinkTarget},
};
use thiserror::Error;

use crate::{
    bpf::{self, ElementSize, MapSpec, ProgSpec, Target, TokenMasks},
    bpffs::{self, Mounted},
    btf,
    error::SysError,
    interfaces,
    protocol::{Handle, Role},
    pseudofile,
};

/// Why an attempt could not even be made: never a verdict.
#[derive(Debug, Error)]
pub(crate) enum OperationError {
    /// A call of our own before the attempt failed.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// A descriptor the call needs was not sent along.
    #[error("nobody said which {0:?} it is about")]
    Missing(Role),
    /// The map's elements are too large to be handled here.
    #[error("an element of the map is larger than {} bytes", ElementSize::LARGEST)]
    TooLarge,
    /// More of a value is asked for than a record holds.
    #[error("{0} bytes of a value are asked for, and a record holds {MOST_SHOWN}: lower the attempt's value_size")]
    TooMuchToShow(u32),
    /// The attempt is not an agent's to make.
    #[error("an agent does not make this attempt")]
    NotOurs,
}

/// What became of an attempt.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What the kernel said.
    pub(crate) answer: Answer,
    /// What it made.
    pub(crate) fd: Option<OwnedFd>,
}

/// The descriptors of an attempt by their roles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handles<'a> {
    /// What the attempt needs, by index.
    pub(crate) handles: &'a [Handle],
    /// All descriptors at hand.
    pub(crate) fds: &'a [OwnedFd],
}

impl Handles<'_> {
    fn get(&self, role: Role) -> Option<BorrowedFd<'_>> {
        let Handle(_, at) = self.handles.iter().find(|Handle(has, _)| *has == role)?;
        self.fds.get(*at as usize).map(AsFd::as_fd)
    }

    fn need(&self, role: Role) -> Result<BorrowedFd<'_>, OperationError> {
        self.get(role).ok_or(OperationError::Missing(role))
    }
}

/// Makes an attempt. `own` is the agent's bpffs, the place of pins.
pub(crate) fn attempt(call: &Call, handles: Handles<'_>, own: &Mounted) -> Result<Outcome, OperationError> {
    let token = handles.get(Role::Token);
    match call {
        Call::TokenCreate { .. } => Ok(made(bpf::token_create(handles.need(Role::Bpffs)?))),
        Call::MapCreate { .. } => Ok(made(bpf::map_create(map_spec(call)?, handles.get(Role::Object), token))),
        Call::ProgLoad { .. } => prog_load(call, token),
        Call::BtfLoad => Ok(made(bpf::btf_load(&btf::minimal(), token))),
        Call::BtfGetFdById { id } => Ok(made(bpf::btf_get_fd_by_id(*id, token))),
        Call::TokenInfo => Ok(told(bpf::token_info(handles.need(Role::Token)?).map(masks_in_words))),
        Call::MountDelegate { options, create } => Ok(mount_delegate(options, *create)),
        Call::ObjPin { path, .. } => Ok(done(bpf::obj_pin(handles.need(Role::Object)?, &own.path(path)))),
        Call::ObjGet { path } => Ok(made(bpf::obj_get(&own.path(path)))),
        Call::MapUpdate { key, value, .. } => map_update(handles.need(Role::Object)?, key, value),
        Call::MapLookup { key, value_size, .. } => map_lookup(handles.need(Role::Object)?, key, *value_size),
        Call::ProgTestRun { .. } => {
            let returned = bpf::prog_test_run(handles.need(Role::Object)?, &[0; PACKET]);
            Ok(told(returned.map(|value| format!("retval {value}"))))
        }
        Call::LinkCreate { attach_type, target, .. } => link_create(handles, *attach_type, target),
        Call::Sabotage(_) => Err(OperationError::NotOurs),
    }
}

/// The length of the packet that programs are tested on, in bytes.
const PACKET: usize = 64;

fn map_spec(call: &Call) -> Result<MapSpec, OperationError> {
    match *call {
        Call::MapCreate { map_type, key_size, value_size, max_entries, map_flags: flags, .. } => {
            Ok(MapSpec { map_type, key_size, value_size, max_entries, flags })
        }
        _ => Err(OperationError::NotOurs),
    }
}

fn prog_load(call: &Call, token: bpf::Token<'_>) -> Result<Outcome, OperationError> {
    let Call::ProgLoad { prog_type, expected_attach_type, prog_flags, returns, license } = call else {
        return Err(OperationError::NotOurs);
    };
    let license = CString::new(license.replace('\0', "")).expect("zeros were just taken out");
    let spec = ProgSpec {
        prog_type: *prog_type,
        expected_attach_type: *expected_attach_type,
        flags: *prog_flags,
        returns: *returns,
        license: &license,
    };
    Ok(made(bpf::prog_load(spec, token)))
}

fn mount_delegate(options: &[MountOption], create: bool) -> Outcome {
    let set = || {
        let context = bpffs::open("bpf")?;
        bpffs::configure(context.as_fd(), options)?;
        if create { bpffs::create(context.as_fd()) } else { Ok(()) }
    };
    match set() {
        Ok(()) => Outcome { answer: Answer::Ok { detail: None }, fd: None },
        Err(SysError { call, errno }) => Outcome { answer: Answer::Err { errno, step: Some(step(&call)) }, fd: None },
    }
}

/// `fsopen` alone is what outcomes call the first step, whatever it opens.
fn step(call: &str) -> String {
    if call.starts_with("fsopen ") { "fsopen".to_owned() } else { call.to_owned() }
}

fn map_update(map: BorrowedFd<'_>, key: &[u8], value: &[u8]) -> Result<Outcome, OperationError> {
    let size = element_size(map)?;
    Ok(done(bpf::map_update(map, key, value, size)))
}

/// The most bytes of a value that are told: three answers of them, in hexadecimal, fit a line of the record.
const MOST_SHOWN: u32 = 8 * 1024;

fn map_lookup(map: BorrowedFd<'_>, key: &[u8], value_size: u32) -> Result<Outcome, OperationError> {
    if value_size > MOST_SHOWN {
        return Err(OperationError::TooMuchToShow(value_size));
    }
    let size = element_size(map)?;
    Ok(told(bpf::map_lookup(map, key, size).map(|value| hex(&value[..value.len().min(value_size as usize)]))))
}

/// What the map's `/proc/self/fdinfo` says, because asking `bpf(2)` would be an operation nobody asked for.
fn element_size(map: BorrowedFd<'_>) -> Result<ElementSize, OperationError> {
    let description = pseudofile::read(&format!("/proc/self/fdinfo/{}", map.as_raw_fd()))?;
    let processors = possible_processors(&pseudofile::read("/sys/devices/system/cpu/possible")?);
    let (key, value) = (number_of(&description, "key_size:"), number_of(&description, "value_size:"));
    ElementSize::new(key, value, processors).ok_or(OperationError::TooLarge)
}

/// 0 for what is no map: the kernel refuses it before it touches an element.
fn number_of(description: &str, field: &str) -> u32 {
    description.lines().find_map(|line| line.strip_prefix(field)?.trim().parse().ok()).unwrap_or(0)
}

/// The number after the last processor in a list such as `0-3` or `0,2-5`.
fn possible_processors(list: &str) -> usize {
    let last = list.trim().rsplit([',', '-']).next().and_then(|number| number.parse::<usize>().ok());
    last.map_or(1, |last| last + 1)
}

fn link_create(handles: Handles<'_>, attach_type: u32, target: &LinkTarget) -> Result<Outcome, OperationError> {
    let target = match target {
        LinkTarget::Interface(name) => Target::Interface(interfaces::index(name)?),
        LinkTarget::Cgroup | LinkTarget::RootCgroup => Target::Cgroup(handles.need(Role::Cgroup)?),
        LinkTarget::Netfilter { pf, hooknum, priority } => {
            Target::Netfilter { pf: *pf, hooknum: *hooknum, priority: *priority }
        }
    };
    Ok(made(bpf::link_create(handles.need(Role::Object)?, attach_type, target)))
}

fn made(result: Result<OwnedFd, Errno>) -> Outcome {
    match result {
        Ok(fd) => Outcome { answer: Answer::Ok { detail: None }, fd: Some(fd) },
        Err(errno) => Outcome { answer: Answer::Err { errno, step: None }, fd: None },
    }
}

fn told(result: Result<String, Errno>) -> Outcome {
    let answer = match result {
        Ok(detail) => Answer::Ok { detail: Some(detail) },
        Err(errno) => Answer::Err { errno, step: None },
    };
    Outcome { answer, fd: None }
}

fn done(result: Result<(), Errno>) -> Outcome {
    let answer = match result {
        Ok(()) => Answer::Ok { detail: None },
        Err(errno) => Answer::Err { errno, step: None },
    };
    Outcome { answer, fd: None }
}

fn masks_in_words(masks: TokenMasks) -> String {
    format!(
        "cmds={:#x} maps={:#x} progs={:#x} attachs={:#x}",
        masks.allowed_cmds, masks.allowed_maps, masks.allowed_progs, masks.allowed_attachs
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_words_that_stay_the_same() {
        let masks = TokenMasks { allowed_cmds: 1, allowed_maps: u64::MAX, ..Default::default() };
        assert_eq!(masks_in_words(masks), "cmds=0x1 maps=0xffffffffffffffff progs=0x0 attachs=0x0");
        assert_eq!(hex(&[0, 255, 16]), "00ff10");
    }

    #[test]
    fn a_map_is_measured_by_its_description() {
        let description = "pos:\t0\nmap_type:\t1\nkey_size:\t4\nvalue_size:\t12\n";
        assert_eq!((number_of(description, "key_size:"), number_of(description, "value_size:")), (4, 12));
        assert_eq!(number_of("prog_type:\t1\n", "key_size:"), 0);
        assert_eq!(["0\n", "0-3", "0,2-5", ""].map(possible_processors), [1, 4, 6, 1]);
    }

    #[test]
    fn no_more_of_a_value_is_told_than_three_times_fits_a_line() {
        assert!(3 * 2 * MOST_SHOWN as usize + 1024 < harness_model::outcome::LONGEST_LINE);
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let error = map_lookup(reader.as_fd(), &[], MOST_SHOWN + 1).unwrap_err().to_string();
        assert!(error.starts_with("8193 bytes of a value are asked for"), "{error}");
    }

    #[test]
    fn steps_name_the_call_and_the_key() {
        assert_eq!(step("fsopen bpf"), "fsopen");
        assert_eq!(step("fsconfig delegate_cmds"), "fsconfig delegate_cmds");
    }

    #[test]
    fn descriptors_are_found_by_role() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let fds = [reader, writer];
        let handles = Handles { handles: &[Handle(Role::Token, 0), Handle(Role::Object, 1)], fds: &fds };
        assert_eq!(handles.need(Role::Object).unwrap().as_raw_fd(), fds[1].as_raw_fd());
        let error = handles.need(Role::Bpffs).unwrap_err();
        assert_eq!(error.to_string(), "nobody said which Bpffs it is about");
    }
}
