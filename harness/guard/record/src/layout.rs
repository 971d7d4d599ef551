//! The twin of `struct guard_record` in `harness/guard/bpf/abi.h`: 256 bytes, little-endian, without holes.
//!
//! Each structure is written down once; reading, writing and the list of its fields follow from that.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The size of a record in bytes.
pub const RECORD_SIZE: usize = 256;

/// How many kfuncs or maps a record lists.
pub const LISTED: usize = 8;

/// Bit of [`Record::flags`]: the program, map or call came with a token.
pub const HAS_TOKEN: u8 = 1;
/// Bit of [`Record::flags`]: a BPF program made the call (`bpf_sys_bpf`).
pub const OF_KERNEL: u8 = 2;
/// Bit of [`Record::flags`]: the guard itself made the call, for its own work.
pub const OF_GUARD: u8 = 4;

/// Kinds of keyrings by number: `enum guard_keyring`.
pub const KEYRINGS: [&str; 5] = ["none", "builtin", "secondary", "platform", "user"];

/// Bytes that are no record.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Invalid {
    /// Another number of bytes.
    #[error("a record has {RECORD_SIZE} bytes, not {0}")]
    Length(usize),
    /// Another number in the field `size`.
    #[error("the record says that it has {0} bytes instead of {RECORD_SIZE}: the BPF programs are of another version")]
    Size(u16),
    /// A number that the field does not have.
    #[error("the record's {field} is {number}, which does not exist: the BPF programs are of another version")]
    Number {
        /// The field.
        field: &'static str,
        /// What it holds.
        number: u64,
    },
}

/// Where a field is in its structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in C.
    pub name: &'static str,
    /// Where it begins, in bytes.
    pub offset: usize,
    /// Its size in bytes.
    pub size: usize,
}

/// Reads from the front of bytes that are long enough.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (front, rest) = self.0.split_first_chunk().expect("the caller has checked the length");
        self.0 = rest;
        *front
    }
}

/// What can be a field.
trait Part: Sized {
    const SIZE: usize;
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, Invalid>;
    fn write(&self, into: &mut Vec<u8>);

    fn read_array<const N: usize>(cursor: &mut Cursor<'_>) -> Result<[Self; N], Invalid>
    where
        Self: Copy + Default,
    {
        let mut all = [Self::default(); N];
        for one in &mut all {
            *one = Self::read(cursor)?;
        }
        Ok(all)
    }
}

impl Part for u8 {
    const SIZE: usize = 1;

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, Invalid> {
        Ok(cursor.take::<1>()[0])
    }

    fn write(&self, into: &mut Vec<u8>) {
        into.push(*self);
    }

    /// Bytes are copied at once: most of a record are bytes.
    fn read_array<const N: usize>(cursor: &mut Cursor<'_>) -> Result<[Self; N], Invalid> {
        Ok(cursor.take())
    }
}

macro_rules! integers {
    ($($name:ty)*) => {$(
        impl Part for $name {
            const SIZE: usize = size_of::<$name>();

            fn read(cursor: &mut Cursor<'_>) -> Result<Self, Invalid> {
                Ok(Self::from_le_bytes(cursor.take()))
            }

            fn write(&self, into: &mut Vec<u8>) {
                into.extend(self.to_le_bytes());
            }
        }
    )*};
}

integers! { u16 u32 u64 }

impl<P: Part + Copy + Default, const N: usize> Part for [P; N] {
    const SIZE: usize = P::SIZE * N;

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, Invalid> {
        P::read_array(cursor)
    }

    fn write(&self, into: &mut Vec<u8>) {
        self.iter().for_each(|one| one.write(into));
    }
}

macro_rules! enumeration {
    ($(#[$about:meta])* $name:ident: $number:ty as $field:literal { $($(#[$doc:meta])* $variant:ident = $value:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
        #[serde(rename_all = "kebab-case")]
        pub enum $name {
            $($(#[$doc])* $variant = $value,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its number in `abi.h`.
            pub const fn number(self) -> $number {
                self as $number
            }
        }

        impl TryFrom<$number> for $name {
            type Error = Invalid;

            fn try_from(number: $number) -> Result<Self, Invalid> {
                match number {
                    $($value => Ok(Self::$variant),)*
                    _ => Err(Invalid::Number { field: $field, number: number.into() }),
                }
            }
        }

        impl Part for $name {
            const SIZE: usize = size_of::<$number>();

            fn read(cursor: &mut Cursor<'_>) -> Result<Self, Invalid> {
                <$number>::read(cursor)?.try_into()
            }

            fn write(&self, into: &mut Vec<u8>) {
                self.number().write(into);
            }
        }
    };
}

enumeration! {
    /// Where the BPF programs were asked.
    Hook: u8 as "hook" {
        /// A bpf(2) call begins.
        Bpf = 0,
        /// A program is to be loaded.
        ProgLoad = 1,
        /// A program gets a descriptor; of a load, after the verifier.
        Prog = 2,
        /// A map is to be made.
        MapCreate = 3,
        /// A map gets a descriptor.
        Map = 4,
        /// A token is to be made.
        TokenCreate = 5,
        /// A token is to stand for a command.
        TokenCmd = 6,
        /// A token is to stand for a capability.
        TokenCapable = 7,
        /// A file is to be removed.
        InodeUnlink = 8,
        /// A file is to be renamed.
        InodeRename = 9,
        /// A folder is to be removed.
        InodeRmdir = 10,
        /// A file system is to be unmounted.
        SbUmount = 11,
        /// A mount is to be moved.
        MoveMount = 12,
        /// A process is to be traced, or its memory read.
        Ptrace = 13,
        /// A process is to get a signal.
        TaskKill = 14,
        /// A process is to get limits of resources.
        TaskSetrlimit = 15,
        /// Another policy is to take the place of the one in force.
        Reload = 16,
    }
}

enumeration! {
    /// What became of the call.
    Verdict: u8 as "verdict" {
        /// It went on.
        Allowed = 0,
        /// It went on, as the policy that refuses it only audits.
        WouldDeny = 1,
        /// It failed with EPERM.
        Denied = 2,
    }
}

enumeration! {
    /// Why a call is refused.
    Reason: u16 as "reason" {
        /// It is not.
        NoReason = 0,
        /// No rule takes the call.
        NoRule = 1,
        /// A rule denies it.
        Rule = 2,
        /// The profile lacks the command.
        Cmd = 3,
        /// The profile lacks the program type.
        ProgType = 4,
        /// The profile lacks the attach type.
        AttachType = 5,
        /// The profile lacks the target.
        Target = 6,
        /// The target is a module's.
        TargetOfModule = 7,
        /// There are too many instructions.
        Insns = 8,
        /// The profile lacks the helper.
        Helper = 9,
        /// The profile lacks the kfunc.
        Kfunc = 10,
        /// The kfunc is a module's.
        KfuncOfModule = 11,
        /// The profile lacks the map type.
        MapType = 12,
        /// The map has too many entries.
        MapEntries = 13,
        /// The map is too large.
        MapBytes = 14,
        /// There is no token.
        TokenMissing = 15,
        /// The token must not stand for the capability.
        TokenCap = 16,
        /// The program uses a map that another user made.
        MapOfOther = 17,
        /// The ring of records is full.
        NotRecorded = 18,
        /// Nobody has read the rings for too long.
        NoReader = 19,
        /// The program has no signature.
        Unsigned = 20,
        /// The profile lacks the kind of the keyring.
        Keyring = 21,
        /// The profile lacks the program's tag.
        Tag = 22,
        /// Hard: no program may be attached to the function.
        GuardedFunction = 64,
        /// Hard: a program of type lsm would be replaced.
        ReplacesLsm = 65,
        /// Hard: the map is the guard's.
        OwnMap = 66,
        /// Hard: the program is the guard's.
        OwnProg = 67,
        /// Hard: the link is the guard's.
        OwnLink = 68,
        /// Hard: the bpffs is the guard's.
        OwnBpffs = 69,
        /// Hard: the process is the guard's.
        OwnProcess = 70,
        /// Hard: the process runs a known loader.
        KnownLoader = 71,
        /// A reload: the kernel does not accept the signature.
        ImageSignature = 72,
        /// A reload: its revision is not higher than that in force.
        ImageRevision = 73,
        /// A reload: it is for another kernel.
        ImageKernel = 74,
        /// A reload: it is no policy of this version of the guard.
        ImageFormat = 75,
        /// A reload: it changes what a reload cannot change.
        ImageFixed = 76,
    }
}

impl Reason {
    /// Whether it holds whatever the policy and its mode say.
    pub fn is_hard(self) -> bool {
        self.number() >= 64
    }
}

macro_rules! layout {
    ($(#[$about:meta])* $name:ident, $fields:ident { $($(#[$doc:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[$doc])* pub $field: $kind,)*
        }

        #[doc = concat!("The fields of [`", stringify!($name), "`] in order.")]
        pub const $fields: &[Field] = &{
            let sizes = [$((stringify!($field), <$kind as Part>::SIZE)),*];
            let mut fields = [Field { name: "", offset: 0, size: 0 }; [$(stringify!($field)),*].len()];
            let mut index = 0;
            let mut offset = 0;
            while index < sizes.len() {
                fields[index] = Field { name: sizes[index].0, offset, size: sizes[index].1 };
                offset += sizes[index].1;
                index += 1;
            }
            fields
        };

        impl $name {
            fn read(cursor: &mut Cursor<'_>) -> Result<Self, Invalid> {
                Ok(Self { $($field: Part::read(cursor)?,)* })
            }

            fn write(&self, into: &mut Vec<u8>) {
                $(self.$field.write(into);)*
            }
        }
    };
}

layout! {
    /// What the BPF programs say about one call at one hook.
    Record, RECORD_FIELDS {
        /// Number from 0, of both rings together.
        seq: u64,
        /// CLOCK_BOOTTIME in nanoseconds.
        boot_ns: u64,
        /// Always 256.
        size: u16,
        /// Where it was asked.
        hook: Hook,
        /// What became of it.
        verdict: Verdict,
        /// Why it is refused.
        reason: Reason,
        /// Number of the policy's rule that took the call, from 1; 0 for none.
        rule: u16,
        /// What was refused; its meaning depends on the reason.
        what: u64,
        /// Number of the bpf(2) call, from 1; 0 outside of calls.
        call: u64,
        /// Id of the cgroup in the unified hierarchy.
        cgroup: u64,
        /// Inode of the executable.
        exe_ino: u64,
        /// CLOCK_BOOTTIME in nanoseconds at which the process started.
        start_ns: u64,
        /// Device of the executable, as the kernel has it: major << 20 | minor.
        exe_dev: u32,
        /// Processor.
        cpu: u32,
        /// Command of the call.
        cmd: u32,
        /// Thread in the initial namespace.
        pid: u32,
        /// Process in the initial namespace.
        tgid: u32,
        /// User in the initial namespace.
        uid: u32,
        /// User that logged in; 0xffffffff if none did.
        loginuid: u32,
        /// Session of audit; 0xffffffff if there is none.
        session: u32,
        /// Inode of the user namespace.
        userns: u32,
        /// Inode of the PID namespace.
        pidns: u32,
        /// Records of this ring that were lost before this one.
        lost: u32,
        /// 1 + index of the profile; 0 for none.
        profile: u16,
        /// [`HAS_TOKEN`], [`OF_KERNEL`], [`OF_GUARD`].
        flags: u8,
        /// 1 + index of the known loader that the process runs; 0 for none.
        loader: u8,
        /// Name of the thread, zero-padded.
        comm: [u8; 16],
        /// [`Record::program`] or [`Record::map`], by the hook.
        part: [u8; 128],
    }
}

layout! {
    /// What is known of a program.
    ProgramPart, PROGRAM_FIELDS {
        /// Program type.
        r#type: u32,
        /// Attach type that the load names.
        attach_type: u32,
        /// BTF id of the target; 0 for none.
        target: u32,
        /// Id of the BTF object that the target is in.
        target_btf: u32,
        /// Number of instructions.
        insns: u32,
        /// Id; 0 before the verifier.
        id: u32,
        /// Number of calls of kfuncs.
        kfuncs: u32,
        /// Number of maps that it uses.
        maps: u32,
        /// Helpers, bit per number.
        helpers: [u64; 4],
        /// Name, zero-padded.
        name: [u8; 16],
        /// Digest of its instructions; zeros before the verifier.
        tag: [u8; 8],
        /// The kernel's verdict on a signature: 1 verified; 0 none, or unknown.
        sig: u8,
        /// Kind of the keyring, [`KEYRINGS`] by number.
        keyring_type: u8,
        /// 0.
        reserved: [u8; 2],
        /// Serial number of the keyring.
        keyring: u32,
        /// At a load, BTF ids of the first kfuncs; at hook `prog`, ids of the first maps.
        list: [u32; 8],
    }
}

layout! {
    /// What is known of a map.
    MapPart, MAP_FIELDS {
        /// Map type.
        r#type: u32,
        /// Size of a key in bytes.
        key_size: u32,
        /// Size of a value in bytes.
        value_size: u32,
        /// The most entries.
        max_entries: u32,
        /// Bytes of all entries, as the policy counts them.
        bytes: u64,
        /// `map_flags` of the call.
        flags: u32,
        /// Id; 0 before it is made.
        id: u32,
        /// Name, zero-padded.
        name: [u8; 16],
        /// 0.
        reserved: [u8; 80],
    }
}

const _: () = assert!(end(RECORD_FIELDS) == RECORD_SIZE && end(PROGRAM_FIELDS) == 128 && end(MAP_FIELDS) == 128);

const fn end(fields: &[Field]) -> usize {
    let last = fields[fields.len() - 1];
    last.offset + last.size
}

impl Record {
    /// Returns an allowed record that says nothing else, for those who make records themselves, such as tests.
    pub fn of(seq: u64, hook: Hook) -> Self {
        let mut bytes = [0; RECORD_SIZE];
        bytes[16..18].copy_from_slice(&256_u16.to_le_bytes());
        Self { seq, hook, ..Self::read(&mut Cursor(&bytes)).expect("zeros are numbers of every field") }
    }

    /// Reads the bytes that a ring has.
    ///
    /// # Errors
    ///
    /// [`Invalid`] if they are no record of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Invalid> {
        if bytes.len() != RECORD_SIZE {
            return Err(Invalid::Length(bytes.len()));
        }
        let record = Self::read(&mut Cursor(bytes))?;
        if usize::from(record.size) != RECORD_SIZE { Err(Invalid::Size(record.size)) } else { Ok(record) }
    }

    /// Writes the bytes of a ring, the reverse of [`Record::from_bytes`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(RECORD_SIZE);
        self.write(&mut bytes);
        bytes
    }

    /// Returns the program that it is about.
    pub fn program(&self) -> Option<ProgramPart> {
        let is = matches!(self.hook, Hook::ProgLoad | Hook::Prog);
        is.then(|| ProgramPart::read(&mut Cursor(&self.part)).expect("it has numbers only"))
    }

    /// Returns the map that it is about.
    pub fn map(&self) -> Option<MapPart> {
        let is = matches!(self.hook, Hook::MapCreate | Hook::Map);
        is.then(|| MapPart::read(&mut Cursor(&self.part)).expect("it has numbers only"))
    }
}

impl ProgramPart {
    /// Writes it as [`Record::part`].
    pub fn to_part(&self) -> [u8; 128] {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        bytes.try_into().expect("its size is checked above")
    }
}

impl MapPart {
    /// Writes it as [`Record::part`].
    pub fn to_part(&self) -> [u8; 128] {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        bytes.try_into().expect("its size is checked above")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of hook `bpf` with a different number in each byte.
    fn bytes() -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..=255).collect();
        bytes[16..24].copy_from_slice(&[0, 1, 1, 2, 9, 0, 3, 0]);
        bytes
    }

    #[test]
    fn what_is_read_and_written_again_is_the_same() {
        let record = Record::from_bytes(&bytes()).unwrap();
        assert_eq!(record.to_bytes(), bytes());
        assert_eq!(record.program().unwrap().to_part(), record.part);
        assert_eq!(record.map(), None);
        let map = Record { hook: Hook::Map, ..record };
        assert_eq!(map.map().unwrap().to_part(), map.part);
        assert_eq!(map.program(), None);
    }

    #[test]
    fn fields_are_little_endian_and_where_the_c_has_them() {
        let record = Record::from_bytes(&bytes()).unwrap();
        assert_eq!(record.seq, 0x0706_0504_0302_0100);
        assert_eq!((record.size, record.hook, record.verdict), (256, Hook::ProgLoad, Verdict::Denied));
        assert_eq!((record.reason, record.rule), (Reason::Helper, 3));
        assert_eq!(record.exe_dev, u32::from_le_bytes([64, 65, 66, 67]));
        assert_eq!(record.comm[0], 112);
        let program = record.program().unwrap();
        assert_eq!((program.r#type, program.list[7]), (0x8382_8180, 0xfffe_fdfc));
    }

    #[test]
    fn fields_have_the_names_and_order_of_the_c() {
        let c = include_str!("../../bpf/abi.h");
        let records = [("guard_record", RECORD_FIELDS), ("guard_prog", PROGRAM_FIELDS), ("guard_map", MAP_FIELDS)];
        for (name, fields) in records {
            let body = c.split(&format!("struct {name} {{\n")).nth(1).unwrap().split("\n};").next().unwrap();
            let members = body.split("union {").next().unwrap().split(';').filter_map(|member| {
                let member = member.rsplit("*/").next()?.trim().split('[').next()?;
                member.starts_with("__u").then_some(member).or(member.strip_prefix("char")).map(str::trim)
            });
            let members: Vec<&str> = members.filter_map(|member| member.split(' ').next_back()).collect();
            let fields: Vec<&str> = fields.iter().map(|field| field.name.trim_start_matches("r#")).collect();
            assert_eq!(
                fields.iter().filter(|name| **name != "part").collect::<Vec<_>>(),
                members.iter().collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn numbers_have_the_names_of_the_c() {
        let c = include_str!("../../bpf/abi.h");
        let upper = |name: &str| {
            let parts = name.char_indices().flat_map(|(at, letter)| {
                let gap = (at > 0 && letter.is_uppercase()).then_some('_');
                gap.into_iter().chain([letter.to_ascii_uppercase()])
            });
            parts.collect::<String>()
        };
        let of = |block: &str, prefix: &str| {
            let body = c.split(&format!("enum {block} {{")).nth(1).unwrap().split("};").next().unwrap();
            let without: String = body.split("/*").map(|part| part.rsplit("*/").next().unwrap()).collect();
            let mut next = 0;
            let mut all = Vec::new();
            for item in without.split(',').map(str::trim).filter(|item| !item.is_empty()) {
                let (name, value) = item.split_once(" = ").unwrap_or((item, ""));
                next = if value == "GUARD_HARD" { 64 } else { value.parse().unwrap_or(next) };
                all.push((name, next));
                next += 1;
            }
            all.retain(|(name, _)| !["GUARD_HARD", "GUARD_HOOKS", "GUARD_VERDICTS"].contains(name));
            all.into_iter()
                .map(|(name, value)| (name.strip_prefix(prefix).unwrap().to_owned(), value))
                .collect::<Vec<_>>()
        };
        let hooks: Vec<_> = Hook::ALL.iter().map(|hook| (upper(&format!("{hook:?}")), *hook as u16)).collect();
        assert_eq!(hooks, of("guard_hook", "GUARD_HOOK_"));
        let all: Vec<_> = Verdict::ALL.iter().map(|one| (upper(&format!("{one:?}")), *one as u16)).collect();
        assert_eq!(all, of("guard_verdict", "GUARD_"));
        let all: Vec<_> = Reason::ALL.iter().map(|one| (upper(&format!("{one:?}")), *one as u16)).collect();
        assert_eq!(all, of("guard_reason", "GUARD_"));
    }

    #[test]
    fn other_bytes_are_refused_by_field() {
        let with = |at: usize, byte: u8| {
            let mut bytes = bytes();
            bytes[at] = byte;
            Record::from_bytes(&bytes).unwrap_err().to_string()
        };
        assert_eq!(Record::from_bytes(&[0; 255]).unwrap_err(), Invalid::Length(255));
        assert!(with(17, 2).contains("512 bytes instead of 256"));
        assert!(with(18, 17).contains("hook is 17"));
        assert!(with(19, 3).contains("verdict is 3"));
        assert!(with(20, 23).contains("reason is 23"));
        assert!(with(20, 77).contains("reason is 77"));
    }
}
