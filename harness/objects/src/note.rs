//! Notes about an object.

use std::fmt;

use crate::{
    loader::{Library, Loader},
    program::BtfReason,
};

/// A fact about an object that no element of a grant expresses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// The loader does not know a program's section: the program, and its section.
    UnknownSection(String, String, Loader),
    /// A program's section names no attach target.
    NoTarget(String),
    /// No `struct_ops` map uses a `struct_ops` program.
    NoOperations(String),
    /// A map of maps does not define its inner map.
    NoInner(String),
    /// A map does not define its maximum number of elements: the map, and the number that is assumed.
    NoSize(String, u32),
    /// A program does not load without the object's BTF, for this reason.
    NeedsTypes(String, BtfReason),
    /// A program is a static function.
    Static(String),
    /// A code section has no function symbol.
    NoFunction(String),
    /// The object defines maps in the legacy way.
    LegacyMaps,
    /// The object reads Kconfig values.
    Kconfig,
    /// The object uses addresses of kernel symbols.
    Addresses,
    /// The object has no BTF.
    NoTypes,
    /// A map is pinned by name.
    Pinned(String),
    /// The index of a `struct_ops` member comes from the object's own BTF: the structure, and the member.
    OwnCount(String, String),
    /// Only the verifier knows whether this many programs, whose types do not require `CAP_PERFMON`, require it after all.
    Verifier(usize),
}

impl Note {
    /// Whether the library refuses to open the object, whatever the program does.
    pub const fn prevents_opening(&self) -> bool {
        match self {
            Self::Static(_) | Self::LegacyMaps => true,
            Self::UnknownSection(_, _, loader) => matches!(loader.library, Library::Aya),
            _ => false,
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSection(program, section, loader) => {
                write!(f, "{program}: {} does not know the section `{section}`, ", loader.library)?;
                match loader.library {
                    Library::Aya => write!(f, "and refuses to open the object"),
                    _ => write!(f, "so the loader has to set the program's type"),
                }
            }
            Self::NoTarget(program) => {
                write!(f, "{program}: its section names no attach target, so the loader has to set one")
            }
            Self::NoOperations(program) => {
                write!(
                    f,
                    "{program}: no struct_ops map uses it; libbpf does not load the object unless the loader disables the program \
                     or assigns it to a map"
                )
            }
            Self::NoInner(map) => {
                write!(f, "map {map}: the loader has to define its inner map before it is created")
            }
            Self::NoSize(map, assumed) => {
                write!(
                    f,
                    "map {map}: the loader has to set max_entries before it is created; {assumed} is assumed \
                     (`--set {map}.max_entries=NUMBER` sets another)"
                )
            }
            Self::NeedsTypes(program, reason) => write!(f, "{program} needs the object's BTF: {reason}"),
            Self::Static(program) => {
                write!(f, "{program}: a static function in a program section; libbpf refuses to open the object")
            }
            Self::NoFunction(section) => write!(f, "section `{section}` has code but no function symbol"),
            Self::LegacyMaps => {
                write!(f, "maps in the legacy section `maps`: libbpf refuses to open the object since 1.0")
            }
            Self::Kconfig => {
                write!(f, "it reads the kernel's configuration: the loader needs /boot/config-* or /proc/config.gz")
            }
            Self::Addresses => {
                write!(
                    f,
                    "it uses addresses of kernel symbols: the loader reads /proc/kallsyms, which hides addresses from containers"
                )
            }
            Self::NoTypes => write!(f, "it has no BTF, so special fields in its maps' values are not known"),
            Self::Pinned(map) => {
                write!(
                    f,
                    "map {map}: libbpf reuses a map pinned under this name on the bpffs, or else pins this one there"
                )
            }
            Self::OwnCount(structure, member) => write!(
                f,
                "{structure}.{member}: its attach type is the member's index in the kernel's own {structure}; \
                 here the index comes from the object's BTF"
            ),
            Self::Verifier(1) => write!(
                f,
                "1 program is of a type that does not require CAP_PERFMON; the verifier still requires it if the program \
                 leaks pointers, reads uninitialized stack, or (since 7.3) calls a kernel function marked KF_PERFMON"
            ),
            Self::Verifier(programs) => write!(
                f,
                "{programs} programs are of types that do not require CAP_PERFMON; the verifier still requires it if they \
                 leak pointers, read uninitialized stack, or (since 7.3) call a kernel function marked KF_PERFMON"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_note_is_a_sentence_for_people() {
        let name = || "filter".to_owned();
        let reasons = [
            BtfReason::Callback,
            BtfReason::Extension,
            BtfReason::OwnObjects,
            BtfReason::AbnormalReturn,
            BtfReason::SpecialFields,
            BtfReason::StructOps,
        ];
        let notes = [
            Note::UnknownSection(name(), "xdp/mine".to_owned(), Loader::LIBBPF),
            Note::UnknownSection(name(), "xdp/mine".to_owned(), Loader::newest(Library::Aya)),
            Note::NoTarget(name()),
            Note::NoOperations(name()),
            Note::NoInner(name()),
            Note::NoSize(name(), 4096),
            Note::Static(name()),
            Note::NoFunction("xdp".to_owned()),
            Note::LegacyMaps,
            Note::Kconfig,
            Note::Addresses,
            Note::NoTypes,
            Note::Pinned(name()),
            Note::OwnCount("tcp_congestion_ops".to_owned(), "ssthresh".to_owned()),
            Note::Verifier(1),
            Note::Verifier(2),
        ];
        let typed = reasons.map(|reason| Note::NeedsTypes(name(), reason));
        let texts: Vec<String> = notes.iter().chain(&typed).map(ToString::to_string).collect();
        insta::assert_snapshot!(texts.join("\n"));
    }
}
