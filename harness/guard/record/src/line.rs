//! One record as JSON, with names for numbers.

use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::{
    layout::{HAS_TOKEN, Hook, KEYRINGS, LISTED, MapPart, OF_GUARD, OF_KERNEL, ProgramPart, Reason, Record, Verdict},
    names::{Kind, Names},
};

/// The most bytes of a path; the rest of a longer one is left out.
const LONGEST_PATH: usize = 4096;

/// The most bytes of a name that is no path.
const LONGEST_NAME: usize = 128;

/// What the guard was asked at one hook, and what it answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Number that the kernel gave the record, from 0; one that is missing was lost.
    pub seq: u64,
    /// When it was.
    pub time: Time,
    /// Where the guard was asked.
    pub hook: Hook,
    /// What became of the call.
    pub verdict: Verdict,
    /// Why it is refused.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Reason>,
    /// What was refused; also if it is allowed, the capability at the hook `token-capable`, and the revision at `reload`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub what: Option<What>,
    /// Number of the rule in the policy's file that took the call, from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rule: Option<u16>,
    /// Profile that the rule names: its index, and its name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub profile: Option<Named>,
    /// Number of the bpf(2) call, from 1; what several hooks say about one call has one number.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub call: Option<u64>,
    /// Command of the call.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub command: Option<Named>,
    /// The program, map or call came with a token.
    #[serde(skip_serializing_if = "is_false", default)]
    pub token: bool,
    /// A BPF program made the call.
    #[serde(skip_serializing_if = "is_false", default)]
    pub of_kernel: bool,
    /// The guard itself made the call, for its own work.
    #[serde(skip_serializing_if = "is_false", default)]
    pub of_guard: bool,
    /// Who made the call.
    pub who: Who,
    /// The program that it is about.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub program: Option<Program>,
    /// The map that it is about.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub map: Option<Map>,
    /// Records that the same ring had lost before this one.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub lost: u32,
}

/// A point in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Time {
    /// Nanoseconds since the machine booted, sleep included (CLOCK_BOOTTIME).
    pub boot_ns: u64,
    /// The same by the wall clock, in RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub utc: Option<String>,
}

/// A number, and its name if there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// The number.
    pub number: u64,
    /// The name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
}

/// What was refused: a number whose kind the reason determines, and its name if there is one.
pub type What = Named;

/// Who made a call; numbers are those of the initial namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Who {
    /// Thread.
    pub pid: u32,
    /// Process.
    pub tgid: u32,
    /// When the process started, in nanoseconds since boot; with its number unique within a boot.
    pub start_ns: u64,
    /// User.
    pub uid: u32,
    /// User that logged in.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub loginuid: Option<u32>,
    /// Session of audit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub session: Option<u32>,
    /// Id of the cgroup in the unified hierarchy.
    pub cgroup: u64,
    /// Inode of the user namespace.
    pub userns: u32,
    /// Inode of the PID namespace.
    pub pidns: u32,
    /// Name of the thread, which it chooses itself.
    pub comm: String,
    /// Known loader of the policy that the process runs: its index, and its name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub loader: Option<Named>,
    /// Executable of the process.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exe: Option<Executable>,
}

/// A file that is executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Executable {
    /// Its device as `major:minor`.
    pub dev: String,
    /// Its inode.
    pub ino: u64,
    /// Its path, if the process was still there when the record was read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path: Option<String>,
}

/// A program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Program type.
    pub r#type: Named,
    /// Attach type that the load names; many types of programs leave it 0.
    pub attach_type: Named,
    /// Function that it is to be attached to: its BTF id, and its name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target: Option<Named>,
    /// Id of the BTF object that the target is in.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target_btf: Option<u32>,
    /// Number of instructions.
    pub insns: u32,
    /// Name that its loader gave it.
    pub name: String,
    /// Id, once it is verified.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<u32>,
    /// Digest of its instructions, once it is verified.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tag: Option<String>,
    /// Helpers that it calls.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub helpers: Vec<Named>,
    /// How many calls of kfuncs it has.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub kfunc_calls: u32,
    /// The first kfuncs by BTF id, of a load.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub kfuncs: Vec<Named>,
    /// How many maps it uses.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub map_count: u32,
    /// Ids of the first of them, once it is verified.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub maps: Vec<u32>,
    /// What the kernel says about its signature.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub signature: Option<Signature>,
}

/// A signature that the kernel has checked. Linux 6.18 reports it at the hook `prog-load` only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// The kernel's verdict (`enum bpf_sig_verdict`): 1, `verified`.
    pub verdict: Named,
    /// Kind of the keyring: `builtin`, `secondary`, `platform`, or `user` for one that the loading user named.
    pub keyring_type: Named,
    /// Serial number of the keyring, or the number of a system's keyring.
    pub keyring: u32,
}

/// A map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Map {
    /// Map type.
    pub r#type: Named,
    /// Name that its maker gave it.
    pub name: String,
    /// Id, once it is made.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<u32>,
    /// Size of a key in bytes.
    pub key_size: u32,
    /// Size of a value in bytes.
    pub value_size: u32,
    /// The most entries.
    pub max_entries: u32,
    /// Bytes of all entries, as the policy counts them.
    pub bytes: u64,
    /// Flags of the call that makes it.
    pub flags: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

impl Time {
    /// Returns the time since boot in both forms, the wall clock's if `epoch_ns`, the time of the boot in nanoseconds since
    /// 1970, is known.
    pub fn of(boot_ns: u64, epoch_ns: Option<u64>) -> Self {
        let since = epoch_ns.and_then(|epoch| epoch.checked_add(boot_ns));
        let utc = since.map(|ns| humantime::format_rfc3339_nanos(UNIX_EPOCH + Duration::from_nanos(ns)).to_string());
        Self { boot_ns, utc }
    }
}

impl Line {
    /// Puts a record into words. Texts that the caller chose are cut to a length, so that a line has at most
    /// [`LONGEST_LINE`](crate::LONGEST_LINE) bytes.
    pub fn of(record: &Record, names: &impl Names) -> Self {
        let names = Namer(names);
        let flag = |bit| record.flags & bit != 0;
        let is_refused = record.reason != Reason::NoReason;
        let line = Self {
            seq: record.seq,
            time: names.time(record.boot_ns),
            hook: record.hook,
            verdict: record.verdict,
            reason: is_refused.then_some(record.reason),
            what: names.what(record),
            rule: some(record.rule),
            profile: record.profile.checked_sub(1).map(|index| names.named(Kind::Profile, index)),
            call: some(record.call),
            command: (record.call != 0).then(|| names.named(Kind::Command, record.cmd)),
            token: flag(HAS_TOKEN),
            of_kernel: flag(OF_KERNEL),
            of_guard: flag(OF_GUARD),
            who: names.who(record),
            program: record.program().map(|program| names.program(record.hook, &program)),
            map: record.map().map(|map| names.map(&map)),
            lost: record.lost,
        };
        names.0.see(record);
        line
    }
}

/// Returns the number unless it is 0, which stands for none.
fn some<N: PartialEq + Default>(number: N) -> Option<N> {
    (number != N::default()).then_some(number)
}

/// Returns the number unless it is the kernel's -1, which stands for unset.
fn set(number: u32) -> Option<u32> {
    (number != u32::MAX).then_some(number)
}

/// Returns the text before the first zero byte.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn cut(mut text: String, longest: usize) -> String {
    text.truncate(text.floor_char_boundary(longest));
    text
}

/// Asks for names.
struct Namer<'n, N>(&'n N);

impl<N: Names> Namer<'_, N> {
    fn time(&self, boot_ns: u64) -> Time {
        Time::of(boot_ns, self.0.epoch_ns())
    }

    fn named(&self, kind: Kind, number: impl Into<u64>) -> Named {
        let number = number.into();
        Named { number, name: self.0.name(kind, number).map(|name| cut(name, LONGEST_NAME)) }
    }

    fn function(&self, btf: Option<u32>, id: u32) -> Named {
        Named { number: id.into(), name: self.0.function(btf, id).map(|name| cut(name, LONGEST_NAME)) }
    }

    fn what(&self, record: &Record) -> Option<What> {
        let function = |btf| u32::try_from(record.what).map_or(plain(record.what), |id| self.function(btf, id));
        Some(match record.reason {
            Reason::NoReason if record.hook == Hook::TokenCapable => self.named(Kind::Capability, record.what),
            Reason::NoReason if record.hook == Hook::Reload => plain(record.what),
            Reason::NoReason
            | Reason::ImageKernel
            | Reason::ImageFixed
            | Reason::NoRule
            | Reason::Rule
            | Reason::TokenMissing
            | Reason::NotRecorded
            | Reason::Unsigned
            | Reason::Tag => return None,
            Reason::Keyring => keyring(record.what),
            Reason::Cmd => self.named(Kind::Command, record.what),
            Reason::ProgType => self.named(Kind::ProgramType, record.what),
            Reason::AttachType => self.named(Kind::AttachType, record.what),
            Reason::Helper => self.named(Kind::Helper, record.what),
            Reason::MapType => self.named(Kind::MapType, record.what),
            Reason::TokenCap => self.named(Kind::Capability, record.what),
            Reason::Target | Reason::Kfunc | Reason::GuardedFunction => function(None),
            Reason::TargetOfModule => function(record.program().map(|program| program.target_btf)),
            Reason::Insns
            | Reason::KfuncOfModule
            | Reason::MapEntries
            | Reason::MapBytes
            | Reason::MapOfOther
            | Reason::NoReader
            | Reason::ReplacesLsm
            | Reason::OwnMap
            | Reason::OwnProg
            | Reason::OwnLink
            | Reason::OwnBpffs
            | Reason::OwnProcess
            | Reason::KnownLoader
            | Reason::ImageSignature
            | Reason::ImageRevision
            | Reason::ImageFormat => plain(record.what),
        })
    }

    fn who(&self, record: &Record) -> Who {
        let dev = || format!("{}:{}", record.exe_dev >> 20, record.exe_dev & 0xf_ffff);
        let path = || self.0.executable(record).map(|path| cut(path, LONGEST_PATH));
        let exe = || Executable { dev: dev(), ino: record.exe_ino, path: path() };
        Who {
            pid: record.pid,
            tgid: record.tgid,
            start_ns: record.start_ns,
            uid: record.uid,
            loginuid: set(record.loginuid),
            session: set(record.session),
            cgroup: record.cgroup,
            userns: record.userns,
            pidns: record.pidns,
            comm: text(&record.comm),
            loader: record.loader.checked_sub(1).map(|index| self.named(Kind::Loader, index)),
            exe: (record.exe_ino != 0).then(exe),
        }
    }

    fn program(&self, hook: Hook, program: &ProgramPart) -> Program {
        let first = |number: u32| &program.list[..LISTED.min(number as usize)];
        let (kfuncs, maps) = match hook {
            Hook::ProgLoad => (first(program.kfuncs), &[][..]),
            _ => (&[][..], first(program.maps)),
        };
        let bits = (0..256_u32).filter(|bit| program.helpers[*bit as usize / 64] >> (bit % 64) & 1 == 1);
        let signature = || Signature {
            verdict: Named { number: program.sig.into(), name: (program.sig == 1).then(|| "verified".to_owned()) },
            keyring_type: keyring(program.keyring_type.into()),
            keyring: program.keyring,
        };
        Program {
            r#type: self.named(Kind::ProgramType, program.r#type),
            attach_type: self.named(Kind::AttachType, program.attach_type),
            target: some(program.target).map(|id| self.function(some(program.target_btf), id)),
            target_btf: some(program.target_btf),
            insns: program.insns,
            name: text(&program.name),
            id: some(program.id),
            tag: some(program.tag).map(hex::encode),
            helpers: bits.map(|bit| self.named(Kind::Helper, bit)).collect(),
            kfunc_calls: program.kfuncs,
            kfuncs: kfuncs.iter().map(|id| self.function(None, *id)).collect(),
            map_count: program.maps,
            maps: maps.to_vec(),
            signature: (program.sig != 0).then(signature),
        }
    }

    fn map(&self, map: &MapPart) -> Map {
        Map {
            r#type: self.named(Kind::MapType, map.r#type),
            name: text(&map.name),
            id: some(map.id),
            key_size: map.key_size,
            value_size: map.value_size,
            max_entries: map.max_entries,
            bytes: map.bytes,
            flags: map.flags,
        }
    }
}

/// A kind of keyring.
fn keyring(number: u64) -> Named {
    let name = usize::try_from(number).ok().and_then(|index| KEYRINGS.get(index));
    Named { number, name: name.map(|name| (*name).to_owned()) }
}

fn plain(number: u64) -> Named {
    Named { number, name: None }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::names::NoNames;

    struct Known;

    impl Names for Known {
        fn name(&self, kind: Kind, number: u64) -> Option<String> {
            (number != 9).then(|| format!("{kind:?}-{number}"))
        }

        fn function(&self, btf: Option<u32>, id: u32) -> Option<String> {
            Some(format!("f{id}@{btf:?}"))
        }

        fn executable(&self, _: &Record) -> Option<String> {
            Some("/ä".repeat(4096))
        }

        fn epoch_ns(&self) -> Option<u64> {
            Some(1_800_000_000_000_000_000)
        }
    }

    fn load() -> Record {
        let part = ProgramPart {
            r#type: 6,
            attach_type: 37,
            target: 70,
            target_btf: 1,
            insns: 12,
            id: 0,
            kfuncs: 2,
            maps: 1,
            helpers: [1 << 6 | 1 << 9, 0, 0, 1 << 63],
            name: *b"probe\0\0\0\0\0\0\0\0\0\0\0",
            tag: [0; 8],
            sig: 1,
            keyring_type: 4,
            reserved: [0; 2],
            keyring: 3,
            list: [80, 81, 99, 99, 99, 99, 99, 99],
        };
        Record {
            boot_ns: 1_500_000_000,
            verdict: Verdict::Denied,
            reason: Reason::Helper,
            rule: 3,
            profile: 1,
            what: 36,
            call: 5,
            cmd: 5,
            exe_dev: 8 << 20 | 1,
            exe_ino: 7,
            loginuid: u32::MAX,
            session: 4,
            flags: HAS_TOKEN | OF_KERNEL,
            loader: 2,
            comm: *b"a\xff\n\"\0ignored\0\0\0\0",
            part: part.to_part(),
            ..Record::of(17, Hook::ProgLoad)
        }
    }

    #[test]
    fn a_refused_load_has_all_names() {
        let line = serde_json::to_value(Line::of(&load(), &Known)).unwrap();
        assert_eq!(line["time"], json!({"boot_ns": 1_500_000_000, "utc": "2027-01-15T08:00:01.500000000Z"}));
        assert_eq!(
            (&line["hook"], &line["verdict"], &line["reason"]),
            (&json!("prog-load"), &json!("denied"), &json!("helper"))
        );
        assert_eq!(line["what"], json!({"number": 36, "name": "Helper-36"}));
        assert_eq!(line["profile"], json!({"number": 0, "name": "Profile-0"}));
        assert_eq!((&line["token"], &line["of_kernel"], &line["of_guard"]), (&json!(true), &json!(true), &Value::Null));
        assert_eq!(line["who"]["comm"], "a\u{fffd}\n\"");
        assert_eq!((&line["who"]["loginuid"], &line["who"]["session"]), (&Value::Null, &json!(4)));
        assert_eq!(line["who"]["exe"]["dev"], "8:1");
        assert_eq!(line["who"]["loader"], json!({"number": 1, "name": "Loader-1"}));
        assert!(line["who"]["exe"]["path"].as_str().unwrap().len() <= LONGEST_PATH);
        let program = &line["program"];
        assert_eq!(program["target"], json!({"number": 70, "name": "f70@Some(1)"}));
        assert_eq!(program["helpers"][1], json!({"number": 9}));
        assert_eq!(program["helpers"][2], json!({"number": 255, "name": "Helper-255"}));
        assert_eq!(program["kfuncs"], json!([{"number": 80, "name": "f80@None"}, {"number": 81, "name": "f81@None"}]));
        assert_eq!((&program["maps"], &program["map_count"]), (&Value::Null, &json!(1)));
        assert_eq!(
            program["signature"],
            json!({
                "verdict": {"number": 1, "name": "verified"}, "keyring_type": {"number": 4, "name": "user"}, "keyring": 3
            })
        );
    }

    #[test]
    fn a_capability_is_shown_whether_it_is_allowed_or_not() {
        for reason in [Reason::NoReason, Reason::TokenCap] {
            let record = Record { reason, what: 12, ..Record::of(1, Hook::TokenCapable) };
            let what = Line::of(&record, &Known).what.unwrap();
            assert_eq!((what.number, what.name.as_deref()), (12, Some("Capability-12")));
        }
        assert_eq!(Line::of(&Record::of(1, Hook::TokenCmd), &Known).what, None);
    }

    #[test]
    fn a_refused_keyring_has_a_name() {
        let what = |what| Line::of(&Record { reason: Reason::Keyring, what, ..load() }, &Known).what.unwrap();
        assert_eq!((what(2).number, what(2).name.as_deref(), what(9).name), (2, Some("secondary"), None));
    }

    #[test]
    fn a_line_is_read_back_and_nothing_unknown_is() {
        let line = Line::of(&load(), &Known);
        let text = serde_json::to_string(&line).unwrap();
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line);
        let longer = text.replacen('{', "{\"more\":1,", 1);
        assert!(serde_json::from_str::<Line>(&longer).unwrap_err().to_string().contains("unknown field `more`"));
    }

    #[test]
    fn numbers_without_names_stay_numbers() {
        let line = serde_json::to_value(Line::of(&load(), &NoNames)).unwrap();
        assert_eq!(line["time"], json!({"boot_ns": 1_500_000_000}));
        assert_eq!(line["what"], json!({"number": 36}));
        assert_eq!(line["program"]["type"], json!({"number": 6}));
        assert_eq!(line["who"]["exe"], json!({"dev": "8:1", "ino": 7}));
    }

    #[test]
    fn no_record_makes_a_line_longer_than_the_limit() {
        struct Long;
        impl Names for Long {
            fn name(&self, _: Kind, _: u64) -> Option<String> {
                Some("\u{1}".repeat(10_000))
            }
            fn function(&self, _: Option<u32>, _: u32) -> Option<String> {
                self.name(Kind::Helper, 0)
            }
            fn executable(&self, _: &Record) -> Option<String> {
                self.name(Kind::Helper, 0)
            }
        }
        let mut part = load().program().unwrap();
        part.helpers = [u64::MAX; 4];
        part.kfuncs = u32::MAX;
        part.name = [1; 16];
        let record = Record { part: part.to_part(), comm: [1; 16], seq: u64::MAX, ..load() };
        let line = serde_json::to_string(&Line::of(&record, &Long)).unwrap();
        assert!(line.len() > 50_000, "{}", line.len());
        assert!(line.len() + 1000 < crate::LONGEST_LINE, "{}", line.len());
    }
}
