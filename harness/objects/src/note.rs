//! What else is to be said of an object.

use std::fmt;

use crate::program::BtfReason;

/// Something about an object that no element of a grant expresses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// libbpf does not know the section of a program: the program, and its section.
    UnknownSection(String, String),
    /// Nothing names what a program is for.
    NoTarget(String),
    /// A program is an operation of no structure.
    NoOperations(String),
    /// A map of maps does not say what is in it.
    NoInner(String),
    /// A map does not say how many elements it may have.
    NoSize(String),
    /// A program does not load without the object's types, for this reason.
    NeedsTypes(String, BtfReason),
    /// A program that only its own file sees.
    Static(String),
    /// A section with code has no program.
    NoFunction(String),
    /// It describes maps in the old way.
    LegacyMaps,
    /// It asks for values of the kernel's configuration.
    Kconfig,
    /// It asks for addresses of the kernel's symbols.
    Addresses,
    /// It has no type information.
    NoTypes,
    /// A map is pinned by its name.
    Pinned(String),
    /// A member of a structure of operations is counted by the object's own types: the structure, and the member.
    OwnCount(String, String),
    /// Only the verifier can tell whether so many programs of types without `CAP_PERFMON` do what takes it.
    Verifier(usize),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSection(program, section) => {
                write!(
                    f,
                    "{program}: libbpf does not know the section `{section}`: whoever loads it names a type for it"
                )
            }
            Self::NoTarget(program) => {
                write!(f, "{program}: its section names nothing to attach to, so whoever loads it has to")
            }
            Self::NoOperations(program) => {
                write!(
                    f,
                    "{program}: no structure of operations has it, so libbpf does not load the object unless told to"
                )
            }
            Self::NoInner(map) => {
                write!(f, "map {map}: its program has to say what the maps in it look like before it is created")
            }
            Self::NoSize(map) => {
                write!(f, "map {map}: its program has to say how many elements it may have before it is created")
            }
            Self::NeedsTypes(program, reason) => write!(f, "{program} takes the object's BTF: {reason}"),
            Self::Static(program) => {
                write!(f, "{program}: a static function in a section of programs; libbpf opens no such object")
            }
            Self::NoFunction(section) => write!(f, "section `{section}` has code, but no symbol of a function"),
            Self::LegacyMaps => write!(f, "maps in a section `maps`: libbpf opens no such object since 1.0"),
            Self::Kconfig => {
                write!(f, "it asks for the kernel's configuration: libbpf reads /boot/config-* or /proc/config.gz")
            }
            Self::Addresses => {
                write!(
                    f,
                    "it asks for addresses of the kernel: libbpf reads /proc/kallsyms, which shows none to a container"
                )
            }
            Self::NoTypes => write!(f, "it has no type information; nothing is known of the fields of its maps"),
            Self::Pinned(map) => {
                write!(
                    f,
                    "map {map}: libbpf takes what is pinned by this name on the bpffs, and otherwise pins it there"
                )
            }
            Self::OwnCount(structure, member) => write!(
                f,
                "{structure}.{member}: its attach type is the member's place in the kernel's own {structure}; \
                 here it is counted by the object's"
            ),
            Self::Verifier(programs) => write!(
                f,
                "{programs} {} of a type that takes no CAP_PERFMON: only the verifier can tell whether it leaks pointers or \
                 reads what it has not written, which takes it",
                if *programs == 1 { "program is" } else { "programs are" }
            ),
        }
    }
}
