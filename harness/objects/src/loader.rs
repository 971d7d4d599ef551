//! The libraries that load objects, as far as they request different things of a kernel.

mod found;

use std::{fmt, str::FromStr};

use thiserror::Error;

pub(crate) use found::found;

/// A library that loads objects, and its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Loader {
    /// The library.
    pub library: Library,
    /// The version, which decides about sections and tokens; everything else is as in [`Library::modelled`].
    pub version: LoaderVersion,
}

/// A library that loads objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Library {
    /// libbpf, which makes trial loads first and passes some attach types only if a probe succeeds (`src/libbpf.c`).
    Libbpf,
    /// The Go module `github.com/cilium/ebpf`: no trial load; always the attach type of the section, since 0.21 also of
    /// `xdp` (`elf_sections.go`, its pull request 1919); sections without a target match by prefix (`matchSectionName`
    /// in `elf_reader.go`). If the kernel refuses the BTF, it goes on without (`btf/feature.go`).
    CiliumEbpf,
    /// The Rust crate `aya`: no trial load; always the attach type of the section, except for `sk_skb`
    /// (`src/programs`); sections that it does not know make it refuse the object (`ProgramSection::from_str` in
    /// `src/obj.rs` of `aya-obj`). If the kernel refuses the BTF, it goes on without (`EbpfLoader::load`).
    Aya,
}

/// The first two numbers of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoaderVersion {
    /// The first number.
    pub major: u16,
    /// The second number.
    pub minor: u16,
}

/// Why a text is not a loader.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{0}` is not a loader; write libbpf, libbpf-MAJOR.MINOR, cilium-ebpf or aya")]
pub struct LoaderError(String);

impl Library {
    /// Every library.
    pub const ALL: [Self; 3] = [Self::Libbpf, Self::CiliumEbpf, Self::Aya];

    /// Its name on command lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Libbpf => "libbpf",
            Self::CiliumEbpf => "cilium-ebpf",
            Self::Aya => "aya",
        }
    }

    /// The version whose requests are modelled.
    pub const fn modelled(self) -> LoaderVersion {
        let (major, minor) = match self {
            Self::Libbpf => (1, 7),
            Self::CiliumEbpf => (0, 22),
            Self::Aya => (0, 16),
        };
        LoaderVersion { major, minor }
    }

    /// The first version that passes tokens; `None` if no version does.
    ///
    /// libbpf: `bpf_token_path` in `src/libbpf.h` of 1.4.0, absent from 1.3. cilium/ebpf: its release notes of 0.22.0, and
    /// `internal/sys/token.go`. aya: the sources of 0.16.0 mention no token.
    pub const fn first_with_tokens(self) -> Option<LoaderVersion> {
        match self {
            Self::Libbpf => Some(LoaderVersion { major: 1, minor: 4 }),
            Self::CiliumEbpf => Some(LoaderVersion { major: 0, minor: 22 }),
            Self::Aya => None,
        }
    }
}

impl Loader {
    /// libbpf in the version that is modelled.
    pub const LIBBPF: Self = Self { library: Library::Libbpf, version: Library::Libbpf.modelled() };

    /// A library in the version that is modelled.
    pub const fn newest(library: Library) -> Self {
        Self { library, version: library.modelled() }
    }

    /// Whether it passes a token.
    pub fn passes_tokens(self) -> bool {
        self.library.first_with_tokens().is_some_and(|first| self.version >= first)
    }
}

impl fmt::Display for LoaderVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CiliumEbpf => "cilium/ebpf",
            other => other.name(),
        })
    }
}

impl fmt::Display for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.library, self.version)
    }
}

impl FromStr for LoaderVersion {
    type Err = ();

    /// Reads `1.7`, and more numbers behind it.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut numbers = text.split('.').map(|number| number.parse().map_err(drop));
        let mut next = || numbers.next().ok_or(())?;
        let version = Self { major: next()?, minor: next()? };
        if numbers.all(|number: Result<u16, ()>| number.is_ok()) { Ok(version) } else { Err(()) }
    }
}

impl FromStr for Loader {
    type Err = LoaderError;

    /// Reads `NAME` or `NAME-VERSION`.
    fn from_str(text: &str) -> Result<Self, LoaderError> {
        let wrong = || LoaderError(text.chars().take(60).collect());
        let of = |library: Library| Some((library, text.strip_prefix(library.name())?));
        let (library, rest) = Library::ALL.into_iter().find_map(of).ok_or_else(wrong)?;
        match rest.strip_prefix('-') {
            Some(version) => Ok(Self { library, version: version.parse().map_err(|()| wrong())? }),
            None if rest.is_empty() => Ok(Self::newest(library)),
            None => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loader_has_a_name_and_maybe_a_version() {
        let shown = |text: &str| text.parse::<Loader>().map(|loader| loader.to_string());
        for (text, expected) in [
            ("libbpf", "libbpf 1.7"),
            ("libbpf-1.4", "libbpf 1.4"),
            ("libbpf-1.4.7", "libbpf 1.4"),
            ("cilium-ebpf", "cilium/ebpf 0.22"),
            ("aya", "aya 0.16"),
        ] {
            assert_eq!(shown(text), Ok(expected.to_owned()));
        }
        for wrong in ["", "libbpf-", "libbpf1.4", "libbpf-1", "libbpf-1.x", "libbpf-1.4.x", "bcc"] {
            assert_eq!(shown(wrong), Err(LoaderError(wrong.to_owned())), "{wrong}");
        }
    }

    #[test]
    fn tokens_came_with_a_version() {
        let passes = |text: &str| text.parse::<Loader>().unwrap().passes_tokens();
        assert!(passes("libbpf") && passes("libbpf-1.4") && passes("cilium-ebpf-0.22"));
        assert!(!passes("libbpf-1.3") && !passes("libbpf-0.8") && !passes("cilium-ebpf-0.21") && !passes("aya"));
    }
}
