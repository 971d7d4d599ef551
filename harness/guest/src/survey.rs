//! Which helpers the verifier grants to a kind of program: one tiny program for each helper.
//!
//! The program calls the helper with what is in the registers at its start, and then reads a register that nothing was
//! written to, so that it is refused whatever the helper is. What it is refused for tells the rest
//! (`check_helper_call` in `kernel/bpf/verifier.c`):
//! - First the kernel looks the helper up for this program (`get_func_proto`), and here are the checks of type, attach
//!   type, capabilities and lockdown. If it finds none, it says so in words that end in the helper's name and number.
//!   The words are learnt from the kernel: helper 0 and one far beyond the last are granted to nobody.
//! - Then it may refuse a helper to programs that are not under the GPL, which ours are, and by a condition of the
//!   helper itself (`fn->allowed`: which kernel function the program is attached to): not granted.
//! - It may refuse one that sleeps to a program that does not: granted, for no permission is lacking. So is any
//!   complaint about arguments, and one about the register read after the call.

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

/// Why nothing can be said about a helper.
#[derive(Debug, Error)]
pub(crate) enum SurveyError {
    /// What an earlier survey found cannot be kept or read.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// A file that is to hold what an earlier survey found does not.
    #[error("what an earlier survey found is not what was kept of it")]
    File,
    /// A load that must fail succeeded.
    #[error("a program that reads an unset register after calling helper {0} was loaded")]
    Loaded(u32),
    /// A load failed without the verifier saying why.
    #[error("a program that calls helper {id} was answered {errno} without a word of the verifier")]
    Silent {
        /// Which.
        id: u32,
        /// How.
        errno: Errno,
    },
    /// The verifier grants what nobody has, or says so in words that cannot be told from others.
    #[error("the verifier does not say as expected that there is no helper {id}: {said:?}")]
    Unlearnt {
        /// Which.
        id: u32,
        /// What it says.
        said: String,
    },
}

/// What came of a survey.
pub(crate) type Granted = Result<HelperIds, Errno>;

/// What earlier surveys leave to be asked.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    /// The helpers to ask about: those of the survey, of them those that another one found, and of them those that no
    /// further one found.
    pub(crate) ask: HelperIds,
    /// What those further ones found.
    pub(crate) known: HelperIds,
}

impl Questions {
    /// Of the helpers of a survey, by the files of the earlier ones.
    pub(crate) fn of<'fd>(
        asked: &HelperIds,
        within: Option<BorrowedFd<'_>>,
        beyond: impl Iterator<Item = BorrowedFd<'fd>>,
    ) -> Result<Self, SurveyError> {
        let within = within.map(found).transpose()?;
        let mut known = HelperIds::default();
        for earlier in beyond {
            known = known.with(&found(earlier)?);
        }
        let wanted = |id: &u32| within.as_ref().is_none_or(|ids| ids.contains(*id)) && !known.contains(*id);
        Ok(Self { ask: asked.iter().filter(wanted).collect(), known })
    }
}

/// What a survey found, in a file that another one can be given.
pub(crate) fn kept(found: &HelperIds) -> Result<OwnedFd, SurveyError> {
    let file = memfd_create(c"helpers", MemfdFlags::CLOEXEC).during(|| "memfd_create")?;
    let text = found.to_string();
    let written = pwrite(&file, text.as_bytes(), 0).during(|| "pwrite")?;
    if written == text.len() { Ok(file) } else { Err(SurveyError::File) }
}

/// What [`kept`] wrote. Read from its start wherever its offset is, which all who hold it share.
fn found(file: BorrowedFd<'_>) -> Result<HelperIds, SurveyError> {
    let mut text = vec![0; LONGEST];
    let length = pread(file, &mut text, 0).during(|| "pread")?;
    let text = std::str::from_utf8(&text[..length]).map_err(|_| SurveyError::File)?;
    text.parse().map_err(|_| SurveyError::File)
}

/// More bytes than a list of helpers has.
const LONGEST: usize = 64 * 1024;

/// Which of these helpers are granted, or why no program of the kind is loaded.
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
        if !words.refuse(&loader.complaint(id)?) {
            granted.push(id);
        }
    }
    Ok(Ok(granted.into_iter().collect()))
}

/// `BPF_FUNC_unspec`.
const NO_HELPER: u32 = 0;

/// A helper no kernel will have.
const BEYOND: u32 = i32::MAX as u32;

/// What the kernel says before the name and number of a helper it does not grant.
struct RefusalWords {
    lookup: String,
    range: String,
}

impl RefusalWords {
    fn refuse(&self, log: &str) -> bool {
        let says = |line: &str| {
            line.starts_with(&self.lookup) || line.starts_with(&self.range) || line.starts_with(NOT_IN_THIS_PLACE)
        };
        log.lines().any(says)
    }
}

/// What the kernel says where the helper's own condition (`fn->allowed`) is not met.
const NOT_IN_THIS_PLACE: &str = "helper call is not allowed";

/// A kind of program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// What a load of it says, but for its instructions.
    pub(crate) spec: ProgSpec<'static>,
    /// What a program of the kind may return.
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

    /// What the verifier says about a program that calls this helper.
    fn complaint(&mut self, id: u32) -> Result<String, SurveyError> {
        let Err(errno) = self.load(&[call(id), READ_UNSET, EXIT]) else { return Err(SurveyError::Loaded(id)) };
        match self.log.text() {
            said if said.is_empty() => Err(SurveyError::Silent { id, errno }),
            said => Ok(said),
        }
    }

    fn refusal(&mut self, id: u32) -> Result<String, SurveyError> {
        let said = self.complaint(id)?;
        before_name(&said, id).ok_or(SurveyError::Unlearnt { id, said })
    }
}

/// What the line that ends in `#ID` says before the helper's name.
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
    fn the_words_of_a_refusal_are_learnt_from_one() {
        let lookup = before_name(SAYS, 0).unwrap();
        assert_eq!(lookup, "program of this type cannot use helper ");
        let range = before_name("invalid func unknown#2147483647\n", BEYOND).unwrap();
        let words = RefusalWords { lookup, range };
        assert!(words.refuse("program of this type cannot use helper bpf_skb_load_bytes#26\n"));
        assert!(words.refuse("invalid func unknown#300\n"));
        assert!(words.refuse("helper call is not allowed in probe\n"));
        for granted in ["R1 type=ctx expected=map_ptr\n", "R9 !read_ok\n", "helper call might sleep in a program\n"] {
            assert!(!words.refuse(granted), "{granted}");
        }
    }

    #[test]
    fn a_survey_can_go_on_from_others() {
        let list = |text: &str| text.parse::<HelperIds>().unwrap();
        let (root, less) = (kept(&list("1-4,7")).unwrap(), kept(&list("1-2")).unwrap());
        let all = list("1-9");
        let asked = |within, beyond: &[BorrowedFd<'_>]| {
            let questions = Questions::of(&all, within, beyond.iter().copied()).unwrap();
            (questions.ask.to_string(), questions.known.to_string())
        };
        let texts = |ask: &str, known: &str| (ask.to_owned(), known.to_owned());
        assert_eq!(asked(None, &[]), texts("1-9", ""));
        assert_eq!(asked(Some(root.as_fd()), &[]), texts("1-4,7", ""));
        assert_eq!(asked(Some(root.as_fd()), &[less.as_fd()]), texts("3-4,7", "1-2"));
        // Again: reading leaves the files as they were.
        assert_eq!(asked(Some(root.as_fd()), &[less.as_fd(), root.as_fd()]), texts("", "1-4,7"));
        let (pipe, _writer) = rustix::pipe::pipe().unwrap();
        assert!(Questions::of(&all, Some(pipe.as_fd()), std::iter::empty()).is_err());
    }

    #[test]
    fn words_without_the_helpers_number_are_not_learnt() {
        for text in ["", "R9 !read_ok\n", "helper unspec#1\n", "unspec#0\n"] {
            assert_eq!(before_name(text, 0), None, "{text}");
        }
    }

    #[test]
    fn instructions_are_encoded_as_the_standard_has_them() {
        assert_eq!(bpf::returning(-1)[0].to_le_bytes(), [0xb7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(call(7).to_le_bytes(), [0x85, 0, 0, 0, 7, 0, 0, 0]);
        assert_eq!(READ_UNSET.to_le_bytes(), [0xbf, 0x90, 0, 0, 0, 0, 0, 0]);
    }
}
