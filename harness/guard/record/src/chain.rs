//! A log: lines of JSON, each bound to all before it.
//!
//! A line is `{"chain":"<64 digits>","boot":"<8 digits>",...}`. Its chain is the SHA-256 of the chain of the line before, as 32 bytes,
//! and of the line's own bytes from `"boot"` to the closing brace; what is hashed is what stands in the file, so nothing
//! depends on how JSON is written. The first line of a file takes the place of a line before it from `previous`, or 32 zeros.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::line::{Line, Time};

/// The version of the format.
pub const VERSION: u32 = 1;

/// The most bytes of a line, without its end.
pub const LONGEST_LINE: usize = 256 << 10;

/// What a line of the log says besides its chain and its boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schemars", schemars(title = "Line of the guard's log"))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(clippy::large_enum_variant, reason = "nearly all are records")]
pub enum Logged {
    /// A file begins.
    Start(Start),
    /// The guard was asked something.
    Record(Line),
    /// Records did not come.
    Gap(Gap),
    /// What adds up so far.
    Counters(Counters),
    /// A file ends.
    End(End),
}

/// The first line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Version of the format: 1.
    pub version: u32,
    /// Who writes: name and version of the program.
    pub program: String,
    /// Release of the running kernel.
    pub kernel: String,
    /// Boot, by /proc/sys/kernel/random/boot_id; each line has its first eight digits.
    pub boot_id: String,
    /// Number of the guard within the boot: with another one, records count from 0 again.
    pub guard: u64,
    /// Number of the file in the log, from 1.
    pub file: u64,
    /// When the file began.
    pub time: Time,
    /// Number of the record that comes next.
    pub seq: u64,
    /// Records of this guard in the files before.
    pub read: u64,
    /// Records of this guard that the files before say are missing.
    pub lost: u64,
    /// File before this one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub previous: Option<Previous>,
}

/// How the file before ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Previous {
    /// Chain of its last line.
    pub chain: String,
    /// Whether that line is a closing one; without, the daemon was killed or the machine stopped.
    pub closed: bool,
}

/// Records that are missing, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// Number of the first.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// Why.
    pub why: GapReason,
}

/// Why records are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum GapReason {
    /// They did not fit the ring.
    Lost,
    /// They did not come, although the kernel does not count them as lost: another process read them.
    Absent,
    /// They came, and could not be read: the BPF programs are of another version than the daemon.
    Malformed,
    /// The log begins after them.
    Begin,
    /// The daemon died before it wrote them, or another one read them.
    Restart,
}

impl GapReason {
    /// What is to be said about such records: it follows their number.
    pub fn about(self) -> &'static str {
        match self {
            Self::Lost => "did not fit the rings",
            Self::Absent => "did not come although the kernel did not lose them",
            Self::Malformed => "could not be read: the BPF programs are of another version",
            Self::Begin => "are older than the log",
            Self::Restart => "were not written when the daemon before died",
        }
    }
}

/// What adds up: `read` + `lost` = `seq`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Counters {
    /// Number of the record that comes next.
    pub seq: u64,
    /// Records of this guard in the log.
    pub read: u64,
    /// Records of this guard that the log says are missing.
    pub lost: u64,
    /// What the kernel counted when the line was written.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kernel: Option<KernelCounters>,
}

/// The kernel's own counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct KernelCounters {
    /// Calls for which a record was due, lost ones included.
    pub recorded: u64,
    /// Calls that were only counted.
    pub counted: u64,
    /// Records that did not fit the rings.
    pub lost: u64,
}

/// The last line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Why.
    pub why: EndReason,
    /// When.
    pub time: Time,
    /// Lines before this one.
    pub lines: u64,
    /// What adds up.
    pub counters: Counters,
}

/// Why a file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// Another file follows.
    Rotated,
    /// The daemon was asked to end.
    Stopped,
}

/// A chain's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Head([u8; HEAD]);

/// The bytes of SHA-256.
const HEAD: usize = 32;

impl Head {
    /// Returns the value of a line with these bytes after this one.
    pub(crate) fn link(self, body: &[u8]) -> Self {
        Self(Sha256::new().chain_update(self.0).chain_update(body).finalize().into())
    }

    /// Reads 64 lower-case digits.
    pub fn of(text: &str) -> Option<Self> {
        let is_lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let mut bytes = [0; HEAD];
        (is_lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(Self(bytes))
    }

    /// Returns it as 64 lower-case digits.
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }
}

/// The chain of a file that is being written.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    boot: [u8; BOOT_DIGITS],
    head: Head,
}

/// How a line begins; the digits of its chain follow.
const BEGIN: &[u8] = b"{\"chain\":\"";
/// What follows them; the digits of the boot follow.
const BOOT: &[u8] = b"\",\"boot\":\"";
/// How many digits of the boot's id there are.
const BOOT_DIGITS: usize = 8;

impl Chain {
    /// Begins a file, with its first line as text, end included.
    pub fn begin(start: &Start) -> (Self, String) {
        let before = start.previous.as_ref().and_then(|previous| Head::of(&previous.chain)).unwrap_or_default();
        let boot = boot_of(&start.boot_id).into_bytes().try_into().expect("it has eight digits");
        Self { boot, head: before }.then(&Logged::Start(start.clone()))
    }

    /// Returns the next line as text, end included, and the chain after it. The line is not in the chain before it is written.
    pub fn then(&self, logged: &Logged) -> (Self, String) {
        let mut text = Vec::new();
        let next = self.append(logged, &mut text);
        (next, String::from_utf8(text).expect("JSON is UTF-8"))
    }

    /// Appends the next line, end included, to bytes that are to be written. Returns the chain after it.
    pub fn append(&self, logged: &Logged, into: &mut Vec<u8>) -> Self {
        let digits = into.len() + BEGIN.len();
        into.extend_from_slice(BEGIN);
        into.resize(digits + 2 * HEAD, 0);
        into.extend_from_slice(BOOT);
        let body = digits + 2 * HEAD + 2;
        into.extend_from_slice(&self.boot);
        into.extend_from_slice(b"\"");
        let json = into.len();
        serde_json::to_writer(&mut *into, logged).expect("it has texts and numbers only");
        // In place of the brace that begins the object.
        into[json] = b',';
        let head = self.head.link(&into[body..]);
        hex::encode_to_slice(head.0, &mut into[digits..digits + 2 * HEAD]).expect("there is room");
        into.push(b'\n');
        Self { boot: self.boot, head }
    }

    /// Returns the chain of the last line.
    pub fn head(&self) -> Head {
        self.head
    }
}

/// Returns what lines say of a boot: the first eight digits of its id.
pub(crate) fn boot_of(boot_id: &str) -> String {
    let digits = boot_id.chars().filter(char::is_ascii_hexdigit).map(|digit| digit.to_ascii_lowercase());
    format!("{:0>8}", digits.take(8).collect::<String>())
}

/// A line of a file, taken apart.
pub(crate) struct Parts<'t> {
    pub(crate) chain: Head,
    pub(crate) boot: &'t str,
    /// What the chain covers.
    pub(crate) body: &'t str,
    /// What comes after the boot, without the opening brace.
    rest: &'t str,
}

impl<'t> Parts<'t> {
    pub(crate) fn of(line: &'t str) -> Option<Self> {
        let rest = line.strip_prefix("{\"chain\":\"")?;
        let (chain, rest) = rest.split_at_checked(64)?;
        let body = rest.strip_prefix("\",")?;
        let (boot, rest) = body.strip_prefix("\"boot\":\"")?.split_at_checked(8)?;
        Some(Self { chain: Head::of(chain)?, boot, body, rest: rest.strip_prefix("\",")? })
    }

    pub(crate) fn logged(&self) -> Result<Logged, serde_json::Error> {
        serde_json::from_str(&format!("{{{}", self.rest))
    }
}

/// Returns the JSON Schema of a line.
#[cfg(feature = "schemars")]
pub fn schema() -> schemars::Schema {
    use serde_json::{Value, json};

    let mut schema = schemars::schema_for!(Logged);
    let chain = json!({
        "description": "SHA-256 of the chain of the line before, and of this line's bytes from `\"boot\"` to its closing brace.",
        "type": "string",
        "pattern": "^[0-9a-f]{64}$"
    });
    let boot = json!({
        "description": "The first eight digits of the id of the boot.",
        "type": "string",
        "pattern": "^[0-9a-f]{8}$"
    });
    for variant in schema.get_mut("oneOf").and_then(Value::as_array_mut).into_iter().flatten() {
        variant["properties"]["chain"] = chain.clone();
        variant["properties"]["boot"] = boot.clone();
        variant["required"].as_array_mut().expect("a variant names itself").extend([json!("chain"), json!("boot")]);
    }
    schema
}
