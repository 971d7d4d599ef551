//! What a recorded call means: its attributes as bytes, by the layout of `union bpf_attr` (`include/uapi/linux/bpf.h`).

use harness_protocol::{
    errno::Errno,
    outcome::{Asked, ObjectStep, Purpose},
    plan::TokenCommand,
};

use crate::bpf::names;

/// The most bytes of attributes that are looked at: more than any kernel has.
pub(super) const ATTR: usize = 256;

/// `BPF_F_TOKEN_FD`.
const TOKEN: u32 = 1 << 16;

/// The flag beside a command with which more attributes follow (`BPF_COMMON_ATTRS`, Linux 7.3).
const COMMON_ATTRS: u32 = 1 << 16;

/// The attributes of a call of `bpf(2)`, with zeros where the caller gave none.
#[derive(Clone, Debug)]
pub(super) struct BpfCall {
    /// The command.
    pub(super) command: u32,
    /// The attributes.
    pub(super) attr: [u8; ATTR],
}

/// The buffer for a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Log {
    /// Its address in the caller's memory.
    pub(super) at: u64,
    /// Its size in bytes.
    pub(super) size: usize,
}

/// The commands whose meaning is told (`enum bpf_cmd`).
mod command {
    pub(super) const MAP_CREATE: u32 = 0;
    pub(super) const PROG_LOAD: u32 = 5;
    pub(super) const PROG_ATTACH: u32 = 8;
    pub(super) const RAW_TRACEPOINT_OPEN: u32 = 17;
    pub(super) const BTF_LOAD: u32 = 18;
    pub(super) const LINK_CREATE: u32 = 28;
}

impl BpfCall {
    /// Wraps the attributes that a program passed with this command.
    pub(super) fn new(command: u64, attr: &[u8]) -> Self {
        let mut own = [0; ATTR];
        let length = attr.len().min(ATTR);
        own[..length].copy_from_slice(&attr[..length]);
        Self { command: command as u32 & !COMMON_ATTRS, attr: own }
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_ne_bytes([self.attr[at], self.attr[at + 1], self.attr[at + 2], self.attr[at + 3]])
    }

    fn set_word(&mut self, at: usize, value: u32) {
        self.attr[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }

    /// Returns a name of up to 16 bytes with a blank before it; nothing if there is none.
    fn name(&self, at: usize) -> String {
        let name = self.attr[at..at + 16].split(|byte| *byte == 0).next().unwrap_or_default();
        if name.is_empty() { String::new() } else { format!(" {}", names::plain(name)) }
    }

    /// Returns the command with which a token may be handed over.
    pub(super) fn token_command(&self) -> Option<TokenCommand> {
        TokenCommand::ALL.iter().copied().find(|command| command.number() == self.command)
    }

    /// Returns whether a token comes with it.
    pub(super) fn has_token(&self) -> bool {
        self.token_command().is_some_and(|command| self.word(flags_at(command)) & TOKEN != 0)
    }

    /// Adds a token; returns the size that the attributes need then.
    pub(super) fn add_token(&mut self, command: TokenCommand, fd: i32) -> usize {
        let flags = self.word(flags_at(command)) | TOKEN;
        self.set_word(flags_at(command), flags);
        self.set_word(command.offset(), fd.cast_unsigned());
        command.offset() + 4
    }

    /// Returns where the caller wants the verifier's log, if it does.
    pub(super) fn log(&self) -> Option<Log> {
        let long = |at: usize| u64::from(self.word(at)) | u64::from(self.word(at + 4)) << 32;
        let (level, size, at) = (self.word(24), self.word(28) as usize, long(32));
        (self.command == command::PROG_LOAD && level > 0 && at != 0).then_some(Log { at, size })
    }

    /// Returns what a token has to allow for it.
    pub(super) fn asked(&self) -> Option<Asked> {
        let command = self.token_command()?;
        let (kind, attach) = match command {
            TokenCommand::MapCreate => (self.word(0), 0),
            TokenCommand::ProgLoad => (self.word(0), self.word(68)),
            TokenCommand::BtfLoad | TokenCommand::BtfGetFdById => (0, 0),
        };
        Some(Asked { command, kind, attach })
    }

    /// Returns the step of the record, with the kernel's answer.
    pub(super) fn step(&self, token: bool, errno: Option<Errno>) -> ObjectStep {
        let (about, purpose) = match self.command {
            command::MAP_CREATE => (format!("{}{}", names::map_type(self.word(0)), self.name(28)), Purpose::Object),
            command::PROG_LOAD => {
                let attach = self.word(68);
                let attach = if attach == 0 { String::new() } else { format!(" for {}", names::attach_type(attach)) };
                (format!("{}{}{attach}", names::prog_type(self.word(0)), self.name(48)), Purpose::Object)
            }
            command::BTF_LOAD => (String::new(), Purpose::Object),
            command::LINK_CREATE | command::PROG_ATTACH => (names::attach_type(self.word(8)), Purpose::Attachment),
            command::RAW_TRACEPOINT_OPEN => (String::new(), Purpose::Attachment),
            _ => (String::new(), Purpose::Work),
        };
        ObjectStep {
            cmd: names::command_name(self.command),
            about,
            purpose,
            token,
            errno,
            times: 1,
            ..Default::default()
        }
    }
}

/// Returns how long the kernel says that the log of a load is, with the zero at its end (`log_true_size`, Linux 6.4); `None` if the
/// caller's attributes have no room for that.
pub(super) fn log_length(attr: &[u8]) -> Option<usize> {
    let bytes = attr.get(140..144)?.try_into().ok()?;
    usize::try_from(u32::from_ne_bytes(bytes)).ok().filter(|length| *length > 0)
}

/// Returns the step for `perf_event_open(2)`.
pub(super) fn event(errno: Option<Errno>) -> ObjectStep {
    let (cmd, about, purpose) = ("perf_event_open".to_owned(), String::new(), Purpose::Attachment);
    ObjectStep { cmd, about, purpose, token: false, errno, times: 1, ..Default::default() }
}

/// Returns the step for the token that is to be handed over and cannot be made.
pub(super) fn no_token(errno: Errno) -> ObjectStep {
    let (cmd, about, purpose) = ("token_create".to_owned(), String::new(), Purpose::Work);
    ObjectStep { cmd, about, purpose, token: false, errno: Some(errno), times: 1, ..Default::default() }
}

/// Returns the offset of the flags among which that of a token is.
fn flags_at(command: TokenCommand) -> usize {
    match command {
        TokenCommand::MapCreate => 16,
        TokenCommand::ProgLoad => 44,
        TokenCommand::BtfLoad => 32,
        TokenCommand::BtfGetFdById => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libbpf_sys as sys;

    /// The attributes as the system's own structure has them.
    fn bytes(attr: &sys::bpf_attr) -> Vec<u8> {
        #[allow(unsafe_code)]
        // SAFETY: the union is integers and padding that was zeroed.
        unsafe { std::slice::from_raw_parts((&raw const *attr).cast::<u8>(), size_of_val(attr)) }.to_vec()
    }

    #[test]
    fn offsets_are_those_of_the_systems_header() {
        let mut map = sys::bpf_attr::default();
        #[allow(unsafe_code)]
        // SAFETY: all members are integers.
        unsafe {
            let inner = &mut map.__bindgen_anon_1;
            (inner.map_type, inner.map_flags) = (sys::BPF_MAP_TYPE_QUEUE, 3);
            inner.map_name[..2].copy_from_slice(&[b'm' as _, b'1' as _]);
        }
        let mut call = BpfCall::new(u64::from(sys::BPF_MAP_CREATE), &bytes(&map)[..48]);
        assert_eq!(call.step(false, None).about, "queue m1");
        assert_eq!(call.asked(), Some(Asked { command: TokenCommand::MapCreate, kind: 22, attach: 0 }));
        assert!(!call.has_token());
        assert_eq!(call.add_token(TokenCommand::MapCreate, 9), 80);
        assert!(call.has_token());
        #[allow(unsafe_code)]
        // SAFETY: as above.
        unsafe {
            let inner = &mut map.__bindgen_anon_1;
            (inner.map_flags, inner.map_token_fd) = (3 | sys::BPF_F_TOKEN_FD, 9);
        }
        assert_eq!(call.attr[..bytes(&map).len()], bytes(&map));
    }

    #[test]
    fn a_program_is_told_with_its_attach_type() {
        let mut load = sys::bpf_attr::default();
        #[allow(unsafe_code)]
        // SAFETY: all members are integers.
        unsafe {
            let inner = &mut load.__bindgen_anon_3;
            inner.prog_type = sys::BPF_PROG_TYPE_CGROUP_SKB;
            inner.expected_attach_type = sys::BPF_CGROUP_INET_EGRESS;
            inner.prog_name[0] = b'"' as _;
            (inner.prog_flags, inner.prog_token_fd) = (sys::BPF_F_TOKEN_FD, 1000);
            inner.log_true_size = 77;
            (inner.log_level, inner.log_size, inner.log_buf) = (1, 4096, 0x7f00_0000_1000);
        }
        let call = BpfCall::new(u64::from(sys::BPF_PROG_LOAD | COMMON_ATTRS), &bytes(&load));
        let step = call.step(true, Some(Errno::EPERM));
        assert_eq!((step.cmd.as_str(), step.about.as_str()), ("prog_load", "cgroup_skb ? for cgroup_inet_egress"));
        assert!(call.has_token());
        assert_eq!(call.log(), Some(Log { at: 0x7f00_0000_1000, size: 4096 }));
        assert_eq!(BpfCall::new(u64::from(sys::BPF_PROG_LOAD), &bytes(&load)[..24]).log(), None);
        assert_eq!((log_length(&bytes(&load)), log_length(&bytes(&load)[..140])), (Some(77), None));
        let mut without = BpfCall::new(u64::from(sys::BPF_PROG_LOAD), &bytes(&load)[..44]);
        assert!(!without.has_token());
        assert_eq!(without.add_token(TokenCommand::ProgLoad, 1000), 148);
        assert!(without.has_token());
    }

    #[test]
    fn other_commands_have_a_name_and_take_no_token() {
        let call = BpfCall::new(6, &[0xff; 400]);
        assert_eq!((call.step(false, None).cmd.as_str(), call.asked(), call.has_token()), ("obj_pin", None, false));
    }
}
