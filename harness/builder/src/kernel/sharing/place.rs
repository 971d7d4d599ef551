//! Where kernels are shared.

use std::{env, fmt, path::PathBuf, str::FromStr};

use thiserror::Error;

/// The environment variable that names the place to pull kernels from before they are built.
pub const VARIABLE: &str = "BPF_TOKEN_HARNESS_SHARED_KERNELS";

/// Where kernels are shared. Nothing is shared by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A folder: each kernel is a folder in it.
    Folder(PathBuf),
    /// The URL of a server that serves such a folder.
    Http(String),
    /// A repository of an OCI registry: each kernel is a tag in it.
    Registry(Registry),
}

/// A repository of an OCI registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// The host, with its port.
    pub(super) host: String,
    /// The path of the repository.
    pub(super) repository: String,
    /// Whether the connection is encrypted.
    pub(super) is_encrypted: bool,
}

/// A text that names no place.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{text}` is no place for kernels: name a folder, a server as `https://HOST/PATH`, or a repository of a registry as `oci://HOST/PATH` \
     (`oci+http://` without encryption)"
)]
pub struct BadPlace {
    text: String,
}

impl Place {
    /// Returns the place that [`VARIABLE`] names.
    ///
    /// # Errors
    /// [`BadPlace`] if it names none.
    pub fn of_environment() -> Result<Option<Self>, BadPlace> {
        let value = env::var_os(VARIABLE).filter(|value| !value.is_empty());
        value.map(|value| value.to_string_lossy().parse()).transpose()
    }
}

impl FromStr for Place {
    type Err = BadPlace;

    fn from_str(text: &str) -> Result<Self, BadPlace> {
        let bad = || BadPlace { text: text.chars().take(200).collect() };
        let Some((scheme, rest)) = text.split_once("://") else {
            return if text.is_empty() { Err(bad()) } else { Ok(Self::Folder(PathBuf::from(text))) };
        };
        let rest = rest.trim_end_matches('/');
        match scheme {
            "http" | "https" if !rest.is_empty() => Ok(Self::Http(format!("{scheme}://{rest}"))),
            "oci" | "oci+http" => {
                let (host, repository) = rest.split_once('/').ok_or_else(bad)?;
                // As the specification of OCI registries has it, without upper case, and no tag.
                let plain =
                    |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-' | '/');
                let is_host =
                    !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':'));
                let is_repository = repository.len() <= 200
                    && repository.chars().all(plain)
                    && repository.split('/').all(|part| part.starts_with(|c: char| c.is_ascii_alphanumeric()));
                if !(is_host && is_repository) {
                    return Err(bad());
                }
                let (host, repository) = (host.to_owned(), repository.to_owned());
                Ok(Self::Registry(Registry { host, repository, is_encrypted: scheme == "oci" }))
            }
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Http(url) => url.fmt(f),
            Self::Registry(registry) => registry.fmt(f),
        }
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_encrypted { "oci" } else { "oci+http" };
        write!(f, "{scheme}://{}/{}", self.host, self.repository)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_as_it_is_read() {
        for text in [
            "kernels",
            "/srv/kernels",
            "https://h.example/k",
            "oci://h.example/a/kernels",
            "oci+http://localhost:5000/k",
        ] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        assert_eq!("http://h/k/".parse::<Place>().unwrap(), Place::Http("http://h/k".to_owned()));
        assert!(matches!("oci://h:1/k".parse().unwrap(), Place::Registry(Registry { is_encrypted: true, .. })));
    }

    #[test]
    fn what_names_no_place_is_refused() {
        for text in [
            "",
            "ftp://h/k",
            "oci://h",
            "oci:///k",
            "oci://h/",
            "oci://h/K",
            "oci://h/k:tag",
            "oci://h/k@sha256",
            "oci://h/../k",
            "https://",
        ] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
        insta::assert_snapshot!("ftp://h/k".parse::<Place>().unwrap_err(), @"`ftp://h/k` is no place for kernels: name a folder, a server as `https://HOST/PATH`, or a repository of a registry as `oci://HOST/PATH` (`oci+http://` without encryption)");
    }
}
