//! Which helpers the verifier grants to a kind of program: one tiny program per helper.
//!
//! The program calls the helper with the registers it starts with, and then reads a register that was never written. So
//! it is always refused, and the reason shows whether the helper was granted (`check_helper_call` in
//! `kernel/bpf/verifier.c`):
//! - The kernel first looks the helper up for this program (`get_func_proto`); this is where it checks type, attach
//!   type, capabilities and lockdown. A failed look-up gives a message that ends in the helper's name and number.
//!   The wording is learned from the kernel: it grants helper 0 and one far beyond the last to nobody.
//! - Then it may refuse a helper to programs that are not under the GPL (ours are), and by a condition of the helper
//!   itself (`fn->allowed`: the kernel function that the program is attached to): not granted.
//! - It may refuse a sleeping helper to a program that does not sleep: granted, because no permission is missing. So
//!   is any message about arguments, and one about the register read after the call.

use std::os::fd::{BorrowedFd, OwnedFd};

use harness_protocol::{errno::Errno, plan::HelperIds};
use rustix::{
    fs::{MemfdFlags, memfd_create},
    io::{pread, pwrite},
};
use thiserror::Error;

use crate::{
    bpf::{
        self, ProgSpec, Token,
        verify::{self, Log},
    },
    error::{During, SysError},
};

/// Why a survey of helpers failed.
#[derive(Debug, Error)]
pub(crate) enum SurveyError {
    /// The results of an earlier survey cannot be stored or read.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// A file does not hold the results of an earlier survey.
    #[error("the file of an earlier survey is malformed")]
    File,
    /// A load succeeded that must fail.
    #[error("the verifier accepted a program that reads an unset register after calling helper {0}")]
    Loaded(u32),
    /// A load failed without a message from the verifier.
    #[error("loading a program that calls helper {id} failed with {errno} and no message from the verifier")]
    Silent {
        /// The helper.
        id: u32,
        /// The errno.
        errno: Errno,
    },
    /// The verifier grants a helper that does not exist, or refuses it with an unexpected message.
    #[error("the verifier refuses helper {id}, which does not exist, with an unexpected message: {said:?}")]
    UnexpectedRefusal {
        /// The helper.
        id: u32,
        /// The message.
        said: String,
    },
}

/// The result of a survey: the helpers granted, or the errno with which no program of the kind loads.
pub(crate) type Granted = Result<HelperIds, Errno>;

/// What remains to be asked after earlier surveys.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    /// The helpers to ask about: those of the survey that the `within` survey found, without those that a `beyond`
    /// survey found.
    pub(crate) ask: HelperIds,
    /// The helpers that the `beyond` surveys found.
    pub(crate) known: HelperIds,
}

impl Questions {
    /// Computes what remains of `asked`, from the files of earlier surveys.
    pub(crate) fn of<'fd>(
        asked: &HelperIds,
        within: Option<BorrowedFd<'_>>,
        beyond: impl Iterator<Item = BorrowedFd<'fd>>,
    ) -> Result<Self, SurveyError> {
        let within = within.map(from_file).transpose()?;
        let mut known = HelperIds::default();
        for earlier in beyond {
            known = known.with(&from_file(earlier)?);
        }
        let wanted = |id: &u32| within.as_ref().is_none_or(|ids| ids.contains(*id)) && !known.contains(*id);
        Ok(Self { ask: asked.iter().filter(wanted).collect(), known })
    }
}

/// Stores what a survey found in a file, for another survey.
pub(crate) fn to_file(found: &HelperIds) -> Result<OwnedFd, SurveyError> {
    let file = memfd_create(c"helpers", MemfdFlags::CLOEXEC).during(|| "memfd_create")?;
    let text = found.to_string();
    let written = pwrite(&file, text.as_bytes(), 0).during(|| "pwrite")?;
    if written == text.len() { Ok(file) } else { Err(SurveyError::File) }
}

/// Reads what [`to_file`] wrote, from the start: the file offset is shared by all holders.
fn from_file(file: BorrowedFd<'_>) -> Result<HelperIds, SurveyError> {
    let mut text = vec![0; LONGEST];
    let length = pread(file, &mut text, 0).during(|| "pread")?;
    let text = std::str::from_utf8(&text[..length]).map_err(|_| SurveyError::File)?;
    text.parse().map_err(|_| SurveyError::File)
}

/// More bytes than any list of helpers has.
const LONGEST: usize = 64 * 1024;

/// Returns which of these helpers are granted, or why no program of the kind loads.
pub(crate) fn helpers(kind: Kind, ids: &HelperIds, token: Token<'_>) -> Result<Granted, SurveyError> {
    let mut loader = Loader { kind, token, log: Log::new() };
    if let Err(errno) = loader.load(&bpf::returning(kind.returns)) {
        return Ok(Err(errno));
    }
    if ids.is_empty() {
        return Ok(Ok(HelperIds::default()));
    }
    let words = RefusalWords { lookup: loader.refusal(NO_HELPER)?, range: loader.refusal(BEYOND)? };
    let mut granted = Vec::new();
    for id in ids.iter() {
        let message = loader.message(id)?;
        if message.is_some_and(|text| !words.refuse(id, &text)) {
            granted.push(id);
        }
    }
    Ok(Ok(granted.into_iter().collect()))
}

/// `BPF_FUNC_unspec`.
const NO_HELPER: u32 = 0;

/// A helper that no kernel will have.
const BEYOND: u32 = i32::MAX as u32;

/// The verifier's message before the name and number of a helper it does not grant; `None` where a security module does not
/// even let a program with such a helper come to the verifier.
struct RefusalWords {
    lookup: Option<String>,
    range: Option<String>,
}

impl RefusalWords {
    fn refuse(&self, id: u32, log: &str) -> bool {
        let number = format!("#{id}");
        let begins = |line: &str, words: &Option<String>| match words {
            Some(words) => line.starts_with(words),
            // The verifier shows the instruction itself with the same number at its end.
            None => line.ends_with(&number) && !line.contains(CALL),
        };
        let says =
            |line: &str| begins(line, &self.lookup) || begins(line, &self.range) || line.starts_with(CONDITION_UNMET);
        log.lines().any(says)
    }
}

/// How the verifier shows a call (`print_bpf_insn`, `kernel/bpf/disasm.c`).
const CALL: &str = "(85) call ";

/// The message where a helper's own condition (`fn->allowed`) is not met.
const CONDITION_UNMET: &str = "helper call is not allowed";

/// A kind of program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// How it is loaded, except for its instructions.
    pub(crate) spec: ProgSpec<'static>,
    /// A value that a program of the kind may return.
    pub(crate) returns: i32,
}

struct Loader<'a> {
    kind: Kind,
    token: Token<'a>,
    log: Log,
}

impl Loader<'_> {
    fn load(&mut self, instructions: &[u64]) -> Result<(), Errno> {
        let spec = ProgSpec { body: instructions, ..self.kind.spec };
        verify::load(spec, self.token, &mut self.log).map(drop)
    }

    /// Returns the verifier's message about a program that calls this helper; `None` if a security module refused the
    /// program before, as it did not refuse one without a call.
    fn message(&mut self, id: u32) -> Result<Option<String>, SurveyError> {
        let Err(errno) = self.load(&[call(id), READ_UNSET, EXIT]) else { return Err(SurveyError::Loaded(id)) };
        match self.log.text() {
            said if said.is_empty() && errno == Errno::EPERM => Ok(None),
            said if said.is_empty() => Err(SurveyError::Silent { id, errno }),
            said => Ok(Some(said)),
        }
    }

    fn refusal(&mut self, id: u32) -> Result<Option<String>, SurveyError> {
        let Some(said) = self.message(id)? else { return Ok(None) };
        before_name(&said, id).map(Some).ok_or(SurveyError::UnexpectedRefusal { id, said })
    }
}

/// Returns the part before the helper's name of a line that ends in `#ID`.
fn before_name(log: &str, id: u32) -> Option<String> {
    let number = format!("#{id}");
    let line = log.lines().find_map(|line| line.strip_suffix(&number))?;
    let (words, _name) = line.rsplit_once(' ')?;
    Some(format!("{words} "))
}

/// `r0 = r9`, which is unset (`BPF_ALU64 | BPF_MOV | BPF_X`, RFC 9669).
const READ_UNSET: u64 = 0xbf | 9 << 12;
/// `BPF_JMP | BPF_EXIT`.
const EXIT: u64 = 0x95;

/// `BPF_JMP | BPF_CALL` of a helper.
fn call(id: u32) -> u64 {
    0x85 | u64::from(id) << 32
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    const SAYS: &str = "program of this type cannot use helper unspec#0\nprocessed 1 insns (limit 1000000)\n";

    #[test]
    fn the_wording_of_a_refusal_is_learned_from_one() {
        let lookup = before_name(SAYS, 0).unwrap();
        assert_eq!(lookup, "program of this type cannot use helper ");
        let range = before_name("invalid func unknown#2147483647\n", BEYOND).unwrap();
        let words = RefusalWords { lookup: Some(lookup), range: Some(range) };
        assert!(words.refuse(26, "program of this type cannot use helper bpf_skb_load_bytes#26\n"));
        assert!(words.refuse(300, "invalid func unknown#300\n"));
        assert!(words.refuse(5, "helper call is not allowed in probe\n"));
        for granted in ["R1 type=ctx expected=map_ptr\n", "R9 !read_ok\n", "helper call might sleep in a program\n"] {
            assert!(!words.refuse(5, granted), "{granted}");
        }
    }

    #[test]
    fn a_survey_can_build_on_others() {
        let list = |text: &str| text.parse::<HelperIds>().unwrap();
        let (root, less) = (to_file(&list("1-4,7")).unwrap(), to_file(&list("1-2")).unwrap());
        let all = list("1-9");
        let asked = |within, beyond: &[BorrowedFd<'_>]| {
            let questions = Questions::of(&all, within, beyond.iter().copied()).unwrap();
            (questions.ask.to_string(), questions.known.to_string())
        };
        let texts = |ask: &str, known: &str| (ask.to_owned(), known.to_owned());
        assert_eq!(asked(None, &[]), texts("1-9", ""));
        assert_eq!(asked(Some(root.as_fd()), &[]), texts("1-4,7", ""));
        assert_eq!(asked(Some(root.as_fd()), &[less.as_fd()]), texts("3-4,7", "1-2"));
        // Again: reading leaves the files unchanged.
        assert_eq!(asked(Some(root.as_fd()), &[less.as_fd(), root.as_fd()]), texts("", "1-4,7"));
        let (pipe, _writer) = rustix::pipe::pipe().unwrap();
        assert!(Questions::of(&all, Some(pipe.as_fd()), std::iter::empty()).is_err());
    }

    #[test]
    fn messages_without_the_helpers_number_are_not_learned() {
        for text in ["", "R9 !read_ok\n", "helper unspec#1\n", "unspec#0\n"] {
            assert_eq!(before_name(text, 0), None, "{text}");
        }
    }

    #[test]
    fn where_a_security_module_refuses_unknown_helpers_the_number_tells_a_refusal() {
        let words = RefusalWords { lookup: None, range: None };
        assert!(words.refuse(26, "program of this type cannot use helper bpf_skb_load_bytes#26\n"));
        let granted = "0: R1=ctx() R10=fp0\n0: (85) call bpf_ktime_get_ns#5\n1: (bf) r0 = r9\nR9 !read_ok\n";
        assert!(!words.refuse(5, granted));
    }

    #[test]
    fn errors_name_the_helper_and_what_is_wrong() {
        let errors = [
            SurveyError::File,
            SurveyError::Loaded(7),
            SurveyError::Silent { id: 7, errno: Errno::EPERM },
            SurveyError::UnexpectedRefusal { id: NO_HELPER, said: "R9 !read_ok\n".to_owned() },
        ];
        insta::assert_snapshot!(errors.map(|error| error.to_string()).join("\n"), @r#"
        the file of an earlier survey is malformed
        the verifier accepted a program that reads an unset register after calling helper 7
        loading a program that calls helper 7 failed with EPERM and no message from the verifier
        the verifier refuses helper 0, which does not exist, with an unexpected message: "R9 !read_ok\n"
        "#);
    }

    #[test]
    fn instructions_are_encoded_as_rfc_9669_has_them() {
        assert_eq!(bpf::returning(-1)[0].to_le_bytes(), [0xb7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(call(7).to_le_bytes(), [0x85, 0, 0, 0, 7, 0, 0, 0]);
        assert_eq!(READ_UNSET.to_le_bytes(), [0xbf, 0x90, 0, 0, 0, 0, 0, 0]);
    }
}
