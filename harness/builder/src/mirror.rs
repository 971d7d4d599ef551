//! The Debian mirror this machine uses, and packages fetched from it without changing the machine's own apt.

mod archive;
mod kernel_package;
pub(crate) mod pinned;
#[cfg(test)]
pub(crate) use archive::sample;
mod snapshot;
mod unpacked;

use std::{env, fmt, fs, str::FromStr};

use thiserror::Error;
use xshell::cmd;

use crate::command::{self, CommandError};
pub(crate) use archive::lists_of;
pub use archive::{Archive, ArchiveError, Package};
pub use kernel_package::{KernelPackage, numbers};
pub use snapshot::SNAPSHOT_VARIABLE;
pub use unpacked::UnpackError;
pub(crate) use unpacked::{Unpacking, open_plain, unpack, unpack_archive, unpack_plain, unpack_wanted};

/// The environment variable that overrides the mirror.
pub const MIRROR_VARIABLE: &str = "BPF_TOKEN_HARNESS_MIRROR";

/// Why the Debian mirror is not known.
#[derive(Debug, Error)]
pub enum MirrorError {
    /// apt has no Debian archive configured.
    #[error(
        "this machine's apt has no Debian archive configured; set {MIRROR_VARIABLE} to the URL of one: the folder with \
         `dists` and `pool`"
    )]
    Unknown,
    /// The override is not a URL.
    #[error(
        "{MIRROR_VARIABLE} is set to `{value}`, which is not a URL for apt: it must start with http://, https:// or file:/"
    )]
    BadOverride {
        /// Its value.
        value: String,
    },
    /// apt does not report its archives.
    #[error("cannot get this machine's mirror from apt; set {MIRROR_VARIABLE} to name one")]
    Apt(#[from] CommandError),
}

/// The URL of a Debian archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror(String);

impl Mirror {
    /// Returns the mirror the environment names, or else the one in this machine's apt configuration.
    pub fn of_this_machine() -> Result<Self, MirrorError> {
        if let Some(value) = env::var_os(MIRROR_VARIABLE).filter(|value| !value.is_empty()) {
            return value.to_string_lossy().parse();
        }
        let format = "$(CREATED_BY)\t$(RELEASE)\t$(REPO_URI)";
        // Without --no-release-info, apt lists nothing before the first `apt-get update`.
        let targets = command::output(|shell| {
            cmd!(shell, "apt-get indextargets --no-release-info --format {format}").env("LC_ALL", "C")
        })?;
        let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        configured(&targets, &os_release).ok_or(MirrorError::Unknown)
    }

    /// Returns the mirror at a URL.
    pub(crate) fn of_url(url: &str) -> Self {
        Self(url.trim_end_matches('/').to_owned())
    }

    /// The URL, without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Mirror {
    type Err = MirrorError;

    /// Checks the URL of a mirror that a person named.
    fn from_str(url: &str) -> Result<Self, MirrorError> {
        if is_fetchable(url) { Ok(Self::of_url(url)) } else { Err(MirrorError::BadOverride { value: url.to_owned() }) }
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Reports whether apt can fetch from this URL without a person changing a disk.
fn is_fetchable(url: &str) -> bool {
    ["http://", "https://", "file:/", "mirror://", "mirror+"].iter().any(|scheme| url.starts_with(scheme))
        && !url.contains(char::is_whitespace)
}

/// Returns the main archive among the index files apt is configured to fetch: `kind<TAB>release<TAB>URL`, one per line.
/// apt prints the same for one-line and deb822 sources.
fn configured(targets: &str, os_release: &str) -> Option<Mirror> {
    let value = |key: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.map(|value| value.trim_matches('"')).unwrap_or_default()
    };
    if value("ID") != "debian" {
        return None;
    }
    // The security and update archives have other release names, such as `bookworm-security`.
    let main = [value("VERSION_CODENAME"), "stable", "oldstable", "testing", "unstable", "sid"];
    targets.lines().find_map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
        ["Packages", release, url] if main.contains(&release) && is_fetchable(url) => Some(Mirror::of_url(url)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOKWORM: &str = "PRETTY_NAME=\"Debian\"\nID=debian\nVERSION_CODENAME=bookworm\n";

    #[test]
    fn the_main_archive_is_found_among_others() {
        let targets = "Packages\tnodistro\thttps://vendor.example/node/\n\
                       Packages\tbookworm-security\thttp://mirror.example/debian-security/\n\
                       DEP-11\tbookworm\thttp://wrong.example/debian/\n\
                       Packages\tbookworm\tcdrom://[Debian]/\n\
                       Packages\tbookworm\thttp://mirror.example/debian/\n";
        assert_eq!(configured(targets, BOOKWORM).unwrap().as_str(), "http://mirror.example/debian");
        let stable = "Packages\tstable\tfile:/srv/debian\n";
        assert_eq!(configured(stable, BOOKWORM).unwrap().as_str(), "file:/srv/debian");
    }

    #[test]
    fn another_distribution_has_no_debian_mirror() {
        let targets = "Packages\tnoble\thttp://mirror.example/ubuntu/\n";
        assert_eq!(configured(targets, "ID=ubuntu\nVERSION_CODENAME=noble\n"), None);
        assert_eq!(configured(targets, ""), None);
        assert_eq!(configured("", BOOKWORM), None);
    }

    #[test]
    fn an_override_must_be_a_url() {
        assert_eq!("http://m.example/debian/".parse::<Mirror>().unwrap().as_str(), "http://m.example/debian");
        for value in ["mirror.example", "ftp://x", "http://a b"] {
            assert!(matches!(value.parse::<Mirror>(), Err(MirrorError::BadOverride { .. })), "{value}");
        }
        let error = "/srv/debian".parse::<Mirror>().unwrap_err();
        insta::assert_snapshot!(error, @"BPF_TOKEN_HARNESS_MIRROR is set to `/srv/debian`, which is not a URL for apt: it must start with http://, https:// or file:/");
    }
}
