//! What a program needs, as running it found out.

use std::collections::BTreeMap;

use harness_uapi::permission::Element;

/// What a program needs on each kernel on which it was run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramNeeds {
    /// Its name.
    pub name: String,
    /// The results by the kernels' names.
    pub kernels: BTreeMap<String, ProgramResult>,
}

/// What running a program on a kernel found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramResult {
    /// It does its work with these elements, and with none of them removed.
    Proved {
        /// Each element, and whether the program fails without it; otherwise it is refused something that it does without.
        elements: BTreeMap<Element, bool>,
        /// Whether it makes a token itself; otherwise one was handed over to it.
        makes_token: bool,
    },
    /// It does its work in no container.
    NotDelegable {
        /// What it is refused in one with every permission.
        why: Vec<String>,
    },
    /// There was no result.
    Unknown {
        /// The reason.
        why: String,
    },
}
