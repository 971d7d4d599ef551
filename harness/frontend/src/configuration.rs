//! One delegation as a front-end's file asks for it.

use harness_protocol::mount_option::{MountOption, OPTIONS};
use harness_uapi::{delegation::Delegation, vocabulary::Kind};
use thiserror::Error;

use crate::{
    execution_context::ExecutionContext,
    frontend::{Frontend, OptionDelivery},
    source::Location,
};

/// One configuration: a unit with its drop-ins, an instance or profile, a mount line, a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Who reads it.
    pub frontend: Frontend,
    /// The unit, instance, profile or mount point; empty if the file does not say.
    pub name: String,
    /// The bpffs it asks for, if it does.
    pub bpffs: Option<Bpffs>,
    /// What each option says, in order; by [`Kind::ALL`].
    pub delegated: [Vec<Assignment>; 4],
    /// What else decides whether a token can be made and used.
    pub execution_context: ExecutionContext,
    /// What the front-end refuses or ignores, in the order it was read.
    pub problems: Vec<Rejection>,
    /// What comments allow.
    pub suppressions: Vec<Suppression>,
    /// Every assignment of a unit in the order systemd reads them, with or without a meaning for a delegation; at most one
    /// more than [`MOST_WRITTEN`].
    pub written: Vec<Written>,
    /// What says that another manager than the system's runs it, such as `systemd-run --user`.
    pub other_manager: Option<Location>,
}

/// One assignment as it is written in a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The whole of it.
    pub location: Location,
    /// Where it stands.
    pub section: Section,
    /// What stands before `=`.
    pub key: String,
    /// What stands behind it, without the blanks around it, continued lines joined.
    pub value: String,
}

/// A section of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Whose settings make processes, such as `[Service]`.
    Exec,
    /// Another one that systemd knows, such as `[Unit]`.
    Other,
}

/// Where systemd mounts a bpffs (`src/core/namespace.c`, `append_private_bpf`), and others by default.
pub(crate) const MOUNT_POINT: &str = "/sys/fs/bpf";

/// More assignments of a unit than this are not kept as [`Configuration::written`].
pub const MOST_WRITTEN: usize = 10_000;

/// A bpffs for the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bpffs {
    /// Where it is mounted, in the container.
    pub path: String,
    /// What asks for it: `PrivateBPF=yes`, `security.delegate_bpf`, `security.bpffs.path` or, without a path, the first
    /// option that delegates, the mount line.
    pub location: Location,
}

/// One assignment to one of the four options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The whole of it: key and value, with all its lines.
    pub location: Location,
    /// The value, without what encloses it. A value that is no one piece of text, as in continued lines, has all its lines.
    pub value: Location,
    /// The elements of its list, those the front-end drops included.
    pub elements: Vec<Element>,
    /// Whether the front-end takes the assignment at all.
    pub taken: bool,
}

/// One element of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Where it stands, without separators and quotes.
    pub location: Location,
    /// What the front-end makes of the text there, escapes resolved.
    pub text: String,
    /// What it means to a reader who knows all spellings.
    pub meaning: Meaning,
    /// What the front-end, or the kernel it hands the text to, takes it for; `None` if it passes it over or refuses it.
    pub read_as: Option<Meaning>,
}

/// What an element means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Everything.
    Any,
    /// The name of this number.
    Name(u32),
    /// A mask.
    Number(u64),
    /// Nothing that is known.
    Unreadable,
}

/// What a front-end does about a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The unit, instance or mount does not start.
    Refused,
    /// What stands there is passed over, with a warning.
    Ignored,
    /// It is passed over without a word.
    IgnoredSilently,
    /// It is taken for something else, without a word.
    Misread,
}

/// Something that the front-end does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Where.
    pub location: Location,
    /// What.
    pub message: String,
    /// What follows.
    pub effect: Effect,
    /// What is to stand there instead, if that is plain.
    pub instead: Option<String>,
}

/// A comment `bpf-token: allow CODE reason`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    /// The comment, from its sign to the end of the line.
    pub location: Location,
    /// What is allowed.
    pub code: String,
    /// Why.
    pub reason: String,
    /// The line it is about: its own if it follows something there, or else the next that is no comment.
    pub applies_to: Location,
}

/// Elements that the kernel, which gets them as they are, refuses: no bpffs is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the kernel refuses `{text}` in {option}")]
pub struct RefusedElement {
    /// Where the first one is.
    pub location: Location,
    /// The first one.
    pub text: String,
    /// The mount option it would be part of.
    pub option: &'static str,
}

impl Configuration {
    /// One that says nothing yet.
    pub(crate) fn new(frontend: Frontend, name: &str) -> Self {
        Self {
            frontend,
            name: name.to_owned(),
            bpffs: None,
            delegated: Default::default(),
            execution_context: ExecutionContext::default(),
            problems: Vec::new(),
            suppressions: Vec::new(),
            written: Vec::new(),
            other_manager: None,
        }
    }

    /// What one option says, in order.
    pub fn delegated(&self, kind: Kind) -> &[Assignment] {
        &self.delegated[kind as usize]
    }

    /// The masks that are set, if a bpffs is mounted.
    ///
    /// # Errors
    /// [`RefusedElement`] if the kernel refuses an option, for there is no bpffs then.
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
        match self.frontend.handing {
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

    /// What the front-end hands to the kernel: nothing if no bpffs is asked for.
    ///
    /// Options of mount lines are the kernel's own; for what the kernel shows they are those that make the same again.
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
        match self.frontend.handing {
            // Nothing is refused here, so that there is a mask in any case.
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

    /// Keeps an assignment of a unit.
    pub(crate) fn write_down(&mut self, section: Section, key: &str, value: &str, location: &Location) {
        if self.written.len() <= MOST_WRITTEN {
            let (key, value) = (key.to_owned(), value.to_owned());
            self.written.push(Written { location: location.clone(), section, key, value });
        }
    }

    /// Whether one more problem is worth the search for names that are like a wrong one.
    pub(crate) fn wants_advice(&self) -> bool {
        self.problems.len() < MOST_ADVICE
    }

    /// How many elements there are.
    pub(crate) fn elements(&self) -> usize {
        self.delegated.iter().flatten().map(|assignment| assignment.elements.len()).sum()
    }

    /// Adds a problem, up to [`MOST_PROBLEMS`].
    pub(crate) fn problem(&mut self, location: Location, effect: Effect, message: impl Into<String>) {
        self.push(Rejection { location, message: message.into(), effect, instead: None });
    }

    /// Adds a problem, up to [`MOST_PROBLEMS`].
    pub(crate) fn push(&mut self, problem: Rejection) {
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(problem);
        }
    }
}

/// A configuration has at most this many problems; more are not told.
pub const MOST_PROBLEMS: usize = 1000;
/// So many of them come with suggestions.
const MOST_ADVICE: usize = 100;
/// A configuration delegates by at most this many elements; more are refused.
pub const MOST_ELEMENTS: usize = 10_000;

impl Assignment {
    /// The mask of a value that the kernel reads, or the element it refuses.
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
    /// The mask after this element, if it was that before it, by the rules of the kernel: a number takes the place of what
    /// stood before it.
    pub const fn applied_to(self, mask: u64) -> u64 {
        match self {
            Self::Any => u64::MAX,
            Self::Name(number) if number < 64 => mask | 1 << number,
            Self::Number(number) => number,
            Self::Name(_) | Self::Unreadable => mask,
        }
    }
}
