//! A delegation as a front-end's file requests it.

use harness_protocol::mount_option::{MountOption, OPTIONS};
use harness_uapi::{delegation::Delegation, vocabulary::Kind};
use thiserror::Error;

use crate::{
    execution_context::ExecutionContext,
    frontend::{ConfiguredObject, Frontend, OptionDelivery},
    source::Location,
    text::shown,
};

/// One configuration: a unit with its drop-ins, an instance or profile, a mount line, a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The front-end that reads it.
    pub frontend: Frontend,
    /// The unit, instance, profile or mount point; empty if the file does not say.
    pub name: String,
    /// The bpffs it requests, if any.
    pub bpffs: Option<Bpffs>,
    /// The assignments to each option in order; indexed by [`Kind::ALL`].
    pub delegated: [Vec<Assignment>; 4],
    /// What else decides whether a token can be created and used.
    pub execution_context: ExecutionContext,
    /// What the front-end refuses or ignores, in the order of reading.
    pub problems: Vec<Rejection>,
    /// Values that the file does not have: variables of a shell, placeholders of a template.
    pub unknown: Vec<UnknownValue>,
    /// A line of the same file that writes a delegation in a form that is not read.
    pub unread: Option<Location>,
    /// Names that do not belong to an option any more because a comma ended it.
    pub cut_off: Vec<CutOff>,
    /// Comments that suppress findings.
    pub suppressions: Vec<Suppression>,
    /// Every assignment of a unit in the order systemd reads them, whether or not it affects a delegation; at most one more
    /// than [`MOST_WRITTEN`].
    pub written: Vec<Written>,
    /// What selects another manager than the system's, such as `systemd-run --user`.
    pub other_manager: Option<Location>,
    /// The number of elements of all assignments that count against [`MOST_ELEMENTS`].
    elements: usize,
}

/// An assignment as it is written in a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The whole of it.
    pub location: Location,
    /// The section it is in.
    pub section: Section,
    /// The text before `=`.
    pub key: String,
    /// The text after it, trimmed, continued lines joined.
    pub value: String,
}

/// A section of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// A section whose settings start processes, such as `[Service]`.
    Exec,
    /// Another section that systemd knows, such as `[Unit]`.
    Other,
}

/// Where systemd mounts a bpffs (`src/core/namespace.c`, `append_private_bpf`), and the default of the others.
pub(crate) const MOUNT_POINT: &str = "/sys/fs/bpf";

/// The maximum number of assignments of a unit in [`Configuration::written`].
pub const MOST_WRITTEN: usize = 10_000;

/// A bpffs for the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bpffs {
    /// Where it is mounted, in the container.
    pub path: String,
    /// What requests it: `PrivateBPF=yes`, `security.delegate_bpf`, `security.bpffs.path` (or, without a path, the first
    /// option that delegates), or the mount line.
    pub location: Location,
}

/// An assignment to one of the four options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The whole of it: key and value, with all its lines.
    pub location: Location,
    /// The value, without quotes. A value in several pieces, as in continued lines, spans all its lines.
    pub value: Location,
    /// The elements of its list, including those that the front-end drops.
    pub elements: Vec<Element>,
    /// Whether the front-end accepts the assignment at all.
    pub taken: bool,
}

/// An element of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Its location, without separators and quotes.
    pub location: Location,
    /// The text as the front-end reads it, escapes resolved.
    pub text: String,
    /// What it means, in any spelling.
    pub meaning: Meaning,
    /// What the front-end, or the kernel that gets the text, takes it for; `None` if it is ignored or refused.
    pub read_as: Option<Meaning>,
}

/// The meaning of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Everything.
    Any,
    /// The name of this number.
    Name(u32),
    /// A mask.
    Number(u64),
    /// Nothing known.
    Unreadable,
}

/// What a front-end does with something it does not accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The unit, instance or mount does not start.
    Refused,
    /// It is ignored with a warning.
    Ignored,
    /// It is ignored without a warning.
    IgnoredSilently,
    /// It is taken for something else without a warning.
    Misread,
}

/// Something that the front-end does not accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Where.
    pub location: Location,
    /// What it does not accept, and why.
    pub message: String,
    /// What it does instead.
    pub effect: Effect,
    /// The text to write instead, if that is clear.
    pub instead: Option<String>,
    /// Whether it is the name of a setting, and similar to one that delegates.
    pub is_misspelled: bool,
}

/// A variable of a shell, or a placeholder of a template, where a value is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownValue {
    /// Where.
    pub location: Location,
    /// Its text.
    pub text: String,
    /// The option whose value it is, or a part of; `None` if it can stand for any setting.
    pub option: Option<Kind>,
}

/// Names after a comma in mount options. The comma ended their option, and bpffs ignores unknown options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutOff {
    /// All of them.
    pub location: Location,
    /// The option that they were meant for.
    pub option: Kind,
    /// The first of them, with the commas between them.
    pub text: String,
    /// The commas before each of them; none if a name is not known.
    pub commas: Vec<Location>,
}

/// A comment `bpf-token: allow CODE reason`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    /// The comment, from its `#` or `;` to the end of the line.
    pub location: Location,
    /// The code it suppresses.
    pub code: String,
    /// The reason.
    pub reason: String,
    /// The line it applies to: its own if it follows something there, or else the next one that is not a comment.
    pub applies_to: Location,
}

/// An element that the kernel gets as it is and refuses, so that no bpffs is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the kernel refuses `{text}` in {option}")]
pub struct RefusedElement {
    /// Where the first such element is.
    pub location: Location,
    /// Its text.
    pub text: String,
    /// Its mount option.
    pub option: &'static str,
}

impl Configuration {
    /// Returns an empty configuration.
    pub(crate) fn new(frontend: Frontend, name: &str) -> Self {
        Self {
            frontend,
            name: name.to_owned(),
            bpffs: None,
            delegated: Default::default(),
            execution_context: ExecutionContext::default(),
            problems: Vec::new(),
            unknown: Vec::new(),
            unread: None,
            cut_off: Vec::new(),
            suppressions: Vec::new(),
            written: Vec::new(),
            other_manager: None,
            elements: 0,
        }
    }

    /// Returns the assignments to one option, in order.
    pub fn delegated(&self, kind: Kind) -> &[Assignment] {
        &self.delegated[kind as usize]
    }

    /// Whether an option is set, to anything at all.
    pub fn delegates(&self) -> bool {
        let is_set = self.delegated.iter().flatten().any(|assignment| assignment.taken);
        is_set || self.unknown.iter().any(|unknown| unknown.option.is_some())
    }

    /// Whether it delegates something, or tries to.
    pub(crate) fn says_something(&self) -> bool {
        self.delegates() || !self.problems.is_empty() || !self.cut_off.is_empty() || !self.unknown.is_empty()
    }

    /// Whether a bpffs is requested without anything to delegate from it, which only hides the host's (systemd.exec(5),
    /// `PrivateBPF=`).
    pub fn only_hides(&self) -> bool {
        self.frontend.makes == ConfiguredObject::Unit
            && self.bpffs.is_some()
            && !self.delegates()
            && !self.problems.iter().any(|problem| problem.is_misspelled)
            && self.unknown.is_empty()
    }

    /// Returns the masks that are set, if a bpffs is mounted.
    ///
    /// # Errors
    /// [`RefusedElement`] if the kernel refuses an option; then there is no bpffs.
    pub fn delegation(&self) -> Result<Delegation, RefusedElement> {
        let mut masks = [0; 4];
        for kind in Kind::ALL {
            masks[kind as usize] = self.mask(kind)?;
        }
        Ok(Delegation::from_masks(masks))
    }

    fn mask(&self, kind: Kind) -> Result<u64, RefusedElement> {
        let mut taken = self.delegated(kind).iter().filter(|assignment| assignment.taken);
        let refused = |element: &Element| RefusedElement {
            location: element.location.clone(),
            text: element.text.clone(),
            option: OPTIONS[kind as usize],
        };
        match self.frontend.delivery {
            OptionDelivery::Masks => {
                let last = taken.next_back().map(|last| last.elements.as_slice()).unwrap_or_default();
                Ok(last.iter().filter_map(|element| element.read_as).fold(0, |mask, read| read.applied_to(mask)))
            }
            OptionDelivery::Values(_) => taken.next_back().map_or(Ok(0), |last| last.mask().map_err(refused)),
            OptionDelivery::Options => {
                taken.map(Assignment::mask).try_fold(0, |all, mask| mask.map(|mask| all | mask).map_err(refused))
            }
            OptionDelivery::Shown => {
                let read = taken.flat_map(|assignment| &assignment.elements).filter_map(|element| element.read_as);
                Ok(read.fold(0, |mask, read| mask | read.applied_to(0)))
            }
        }
    }

    /// Returns what the front-end passes to the kernel: nothing if no bpffs is requested.
    ///
    /// Options of mount lines are passed as they are; for what the kernel shows, they are those that would set the same.
    pub fn mount_options(&self) -> Vec<MountOption> {
        if self.bpffs.is_none() {
            return Vec::new();
        }
        Kind::ALL.into_iter().flat_map(|kind| self.options_of(kind)).collect()
    }

    fn options_of(&self, kind: Kind) -> Vec<MountOption> {
        let key = OPTIONS[kind as usize];
        let option = |value: String| MountOption { key: key.to_owned(), value };
        let taken = || self.delegated(kind).iter().filter(|assignment| assignment.taken);
        match self.frontend.delivery {
            // systemd refuses nothing, so there is always a mask.
            OptionDelivery::Masks => {
                self.mask(kind).map(|mask| vec![MountOption::numeric(key, mask)]).unwrap_or_default()
            }
            OptionDelivery::Shown => {
                let mask = self.mask(kind).ok().filter(|mask| *mask != 0);
                mask.map(|mask| MountOption::numeric(key, mask)).into_iter().collect()
            }
            OptionDelivery::Values(unset) => {
                let value = taken().next_back().map(Assignment::joined).filter(|value| !value.is_empty());
                value.or_else(|| unset.map(str::to_owned)).map(option).into_iter().collect()
            }
            OptionDelivery::Options => taken().map(|a| option(a.joined())).collect(),
        }
    }

    /// Records an assignment of a unit.
    pub(crate) fn record(&mut self, section: Section, key: &str, value: &str, location: &Location) {
        if self.written.len() <= MOST_WRITTEN {
            let (key, value) = (key.to_owned(), value.to_owned());
            self.written.push(Written { location: location.clone(), section, key, value });
        }
    }

    /// Whether to search for similar names for one more problem.
    pub(crate) fn wants_advice(&self) -> bool {
        self.problems.len() < MOST_ADVICE
    }

    /// Returns how many more elements there may be.
    pub(crate) fn room(&self) -> usize {
        MOST_ELEMENTS.saturating_sub(self.elements)
    }

    /// Adds an assignment to an option.
    pub(crate) fn assign(&mut self, kind: Kind, assignment: Assignment) {
        self.elements += assignment.elements.len();
        self.delegated[kind as usize].push(assignment);
    }

    /// Adds a value that is not known, up to [`MOST_PROBLEMS`].
    pub(crate) fn unknown_value(&mut self, location: Location, text: &str, option: Option<Kind>) {
        if self.unknown.len() < MOST_PROBLEMS {
            self.unknown.push(UnknownValue { location, text: shown(text), option });
        }
    }

    /// Adds a problem, up to [`MOST_PROBLEMS`].
    pub(crate) fn problem(&mut self, location: Location, effect: Effect, message: impl Into<String>) {
        let (message, instead) = (message.into(), None);
        self.push(Rejection { location, message, effect, instead, is_misspelled: false });
    }

    /// Adds a problem, up to [`MOST_PROBLEMS`].
    pub(crate) fn push(&mut self, problem: Rejection) {
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(problem);
        }
    }
}

/// The maximum number of problems that are kept of a configuration.
pub const MOST_PROBLEMS: usize = 1000;
/// The maximum number of them with suggestions.
const MOST_ADVICE: usize = 100;
/// The maximum number of elements of a configuration; more are refused.
pub const MOST_ELEMENTS: usize = 10_000;

impl Assignment {
    /// Returns the mask of a value that the kernel reads, or the element it refuses.
    fn mask(&self) -> Result<u64, &Element> {
        let applied = |mask, element| Element::read_as_some(element).map(|read| read.applied_to(mask));
        self.elements.iter().try_fold(0, applied)
    }

    fn joined(&self) -> String {
        self.elements.iter().map(|element| element.text.as_str()).collect::<Vec<_>>().join(":")
    }
}

impl Element {
    fn read_as_some(&self) -> Result<Meaning, &Self> {
        self.read_as.ok_or(self)
    }
}

impl Meaning {
    /// Applies this element to a mask by the rules of the kernel: a number replaces what was before it.
    pub const fn applied_to(self, mask: u64) -> u64 {
        match self {
            Self::Any => u64::MAX,
            Self::Name(number) if number < 64 => mask | 1 << number,
            Self::Number(number) => number,
            Self::Name(_) | Self::Unreadable => mask,
        }
    }
}
