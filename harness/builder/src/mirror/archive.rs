//! One suite of a Debian archive, read by apt with a state folder of its own: apt checks the signatures, and the
//! machine's sources and lists stay unchanged.

mod closure;
#[cfg(test)]
pub(crate) mod sample;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;
use xshell::{Cmd, Shell, cmd};

use super::{KernelPackage, MIRROR_VARIABLE, Mirror, numbers, snapshot};
use crate::{
    cache::{Area, CACHE_VARIABLE, Cache, CacheError, Lock},
    command::{self, CommandError},
    digest::Sha256,
    file::{self, FileError},
    progress::{Progress, Unit},
};

/// The signing keys of the Debian archive, from the package `debian-archive-keyring`.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The space that the lists of a suite take while they are unpacked, rounded up.
const NEEDED_MIB: u64 = 100;

/// Why a package is not available.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The keys to check signatures with are not installed.
    #[error("{KEYRING} is missing, so signatures cannot be checked; install the package debian-archive-keyring")]
    NoKeyring,
    /// The lists could not be fetched, or their signature is wrong.
    #[error(
        "cannot read the package lists of {suite} from {mirror}; check the network, or set {MIRROR_VARIABLE} to another mirror"
    )]
    Lists {
        /// The suite.
        suite: String,
        /// The archive.
        mirror: Mirror,
        /// The error of apt.
        source: Box<CommandError>,
    },
    /// The archive does not have the pinned version, or no longer has it.
    #[error("{mirror} has no {package} in {suite}; {}", listed(.available))]
    NoSuchVersion {
        /// The requested package.
        package: Package,
        /// The suite.
        suite: String,
        /// The archive.
        mirror: Mirror,
        /// The versions it has, newest first; for a kernel without any, the packages of other kernels of the series.
        available: Vec<String>,
    },
    /// A download failed.
    #[error("cannot download {package} from {mirror}; try again, or set {MIRROR_VARIABLE} to another mirror")]
    Download {
        /// The requested package.
        package: Package,
        /// The archive.
        mirror: Mirror,
        /// The error of apt.
        source: Box<CommandError>,
    },
    /// apt does not report the versions of a package.
    #[error("cannot get the versions of {name} from apt")]
    Query {
        /// The package.
        name: String,
        /// The error of apt.
        source: Box<CommandError>,
    },
    /// Packages cannot be installed together.
    #[error("cannot resolve the dependencies of {names} in {suite}; check the names")]
    Closure {
        /// The packages.
        names: String,
        /// The suite.
        suite: String,
        /// The error of apt.
        source: Box<CommandError>,
    },
    /// The lists do not have the sum of a package.
    #[error("the package lists of {suite} have no SHA-256 sum for {package}")]
    NoSum {
        /// The package.
        package: Package,
        /// The suite.
        suite: String,
    },
    /// The private state folder could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no room for the package lists.
    #[error(
        "{} has {free_mib} MiB left, but package lists take up to {NEEDED_MIB} MiB: free some space, or set \
         {CACHE_VARIABLE} to a folder on a larger disk",
        path.display()
    )]
    NoRoom {
        /// The folder of the lists.
        path: PathBuf,
        /// The free space there, in MiB.
        free_mib: u64,
    },
    /// A cache operation failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// Checks for enough space. apt 2.6 does not fail on a full disk: it waits forever for the process that unpacks its
/// lists.
fn check_room(folder: &Path, needed_mib: u64) -> Result<(), ArchiveError> {
    let disk = rustix::fs::statvfs(folder).map_err(|error| FileError::of("write", folder)(error.into()))?;
    let free_mib = disk.f_bavail.saturating_mul(disk.f_frsize) >> 20;
    if free_mib >= needed_mib { Ok(()) } else { Err(ArchiveError::NoRoom { path: folder.to_owned(), free_mib }) }
}

fn listed(available: &[String]) -> String {
    if available.is_empty() { "it has no version of it".to_owned() } else { format!("it has {}", available.join(", ")) }
}

/// A package at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its full Debian version.
    pub version: String,
}

impl std::fmt::Display for Package {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.name, self.version)
    }
}

/// Returns how the names of a suite's lists in the cache start; the sum of the mirror's URL follows.
pub(crate) fn lists_of(suite: &str) -> String {
    format!("apt-{suite}-")
}

/// A suite of an archive, with up-to-date lists. Only one process at a time can use it.
#[derive(Debug)]
pub struct Archive {
    mirror: Mirror,
    suite: String,
    state: PathBuf,
    _lock: Lock,
}

impl Archive {
    /// Fetches the lists of a suite and checks their signature.
    pub fn open(cache: &Cache, mirror: Mirror, suite: &str, progress: &Progress) -> Result<Self, ArchiveError> {
        if !Path::new(KEYRING).exists() {
            return Err(ArchiveError::NoKeyring);
        }
        let of_mirror = Sha256::of_parts([mirror.as_str().as_bytes()]).short();
        let lock = cache.entry(Area::Downloads, &format!("{}{of_mirror}", lists_of(suite)))?.lock(progress)?;
        let archive = Self { mirror, suite: suite.to_owned(), state: lock.entry().path(), _lock: lock };
        archive.write_state()?;
        check_room(&archive.state, NEEDED_MIB)?;
        let task = progress.task(&format!("package lists of {suite}"), Unit::Things("files"), None);
        let apt = command::written(|shell| archive.apt(shell, "apt-get").args(["--error-on=any", "update"]));
        let update = apt.and_then(|mut apt| command::stream(&mut apt, |_| task.advance(1)));
        update.map_err(|error| ArchiveError::Lists {
            suite: suite.to_owned(),
            mirror: archive.mirror.clone(),
            source: error.into(),
        })?;
        task.finish("up to date");
        Ok(archive)
    }

    /// The suite.
    pub fn suite(&self) -> &str {
        &self.suite
    }

    /// Returns the versions of a package in this suite, newest first.
    pub fn versions(&self, name: &str) -> Result<Vec<String>, ArchiveError> {
        Ok(madison(&self.query("madison", name, name)?, name))
    }

    /// Returns the packages with the same part of kernels of the same series and flavour, newest first.
    pub fn siblings(&self, name: &str) -> Result<Vec<KernelPackage>, ArchiveError> {
        let Some(package) = KernelPackage::of(name) else { return Ok(Vec::new()) };
        let listing = self.query("pkgnames", &package.series_prefix(), name)?;
        let mut siblings: Vec<_> =
            listing.lines().filter_map(KernelPackage::of).filter(|other| package.is_sibling(other)).collect();
        siblings.sort_by_cached_key(|package| std::cmp::Reverse(numbers(&package.release)));
        Ok(siblings)
    }

    /// Queries apt's cache about a package.
    fn query(&self, verb: &str, about: &str, name: &str) -> Result<String, ArchiveError> {
        let answer = command::output(|shell| self.apt(shell, "apt-cache").args([verb, about]));
        answer.map_err(|error| ArchiveError::Query { name: name.to_owned(), source: error.into() })
    }

    /// Errors if the suite does not have this version of a package.
    fn check_version(&self, package: &Package) -> Result<(), ArchiveError> {
        let mut available = self.versions(&package.name)?;
        if available.contains(&package.version) {
            return Ok(());
        }
        if available.is_empty() {
            available = self.siblings(&package.name)?.iter().map(KernelPackage::to_string).collect();
        }
        let (suite, mirror) = (self.suite.clone(), self.mirror.clone());
        Err(ArchiveError::NoSuchVersion { package: package.clone(), suite, mirror, available })
    }

    /// Downloads a pinned package into a folder and returns the file's path: from the snapshot archive that the
    /// environment names, if the suite no longer has that version. The caller checks the sum.
    pub(crate) fn download_pinned(
        &self,
        package: &Package,
        sha256: Sha256,
        into: &Path,
        progress: &Progress,
    ) -> Result<PathBuf, ArchiveError> {
        self.download(package, into, progress).or_else(|error| match error {
            ArchiveError::NoSuchVersion { .. } => {
                snapshot::find(&package.name, &package.version, sha256, into, progress).ok_or(error)
            }
            _ => Err(error),
        })
    }

    /// Downloads a package into a folder and returns the file's path.
    pub fn download(&self, package: &Package, into: &Path, progress: &Progress) -> Result<PathBuf, ArchiveError> {
        self.check_version(package)?;
        let task = progress.task(&format!("download {package}"), Unit::Things("%"), Some(100));
        let fail = |error: CommandError| ArchiveError::Download {
            package: package.clone(),
            mirror: self.mirror.clone(),
            source: error.into(),
        };
        let apt = command::written(|shell| {
            shell.change_dir(into);
            self.apt(shell, "apt-get").args(["-o", "APT::Status-Fd=1", "download", &package.to_string()])
        });
        let stream = |mut apt| command::stream(&mut apt, |line| task.set(percent(line).unwrap_or_default()));
        apt.and_then(stream).map_err(fail)?;
        task.finish("done");
        Ok(only_file(into).map_err(FileError::of("write", into))?)
    }

    /// Downloads packages into a folder in one go, which takes much less time than one after the other; returns the files'
    /// paths, in no order. If the suite lacks one of them, none is downloaded, and the error does not say which it is.
    pub(crate) fn download_all(
        &self,
        packages: &[Package],
        into: &Path,
        progress: &Progress,
    ) -> Result<Vec<PathBuf>, CommandError> {
        let task = progress.task(
            &format!("download {} packages of {}", packages.len(), self.suite),
            Unit::Things("%"),
            Some(100),
        );
        let mut apt = command::written(|shell| {
            shell.change_dir(into);
            let names = packages.iter().map(Package::to_string);
            self.apt(shell, "apt-get").args(["-o", "APT::Status-Fd=1", "download"]).args(names)
        })?;
        command::stream(&mut apt, |line| task.set(percent(line).unwrap_or_default()))?;
        task.finish("done");
        let listing =
            fs::read_dir(into).map(|listing| listing.filter_map(Result::ok).map(|entry| entry.path()).collect());
        Ok(listing.unwrap_or_default())
    }

    fn write_state(&self) -> Result<(), ArchiveError> {
        let source = format!("deb [signed-by={KEYRING} target=Packages] {} {} main\n", self.mirror, self.suite);
        for path in ["lists/partial", "archives/partial"].map(|folder| self.state.join(folder)) {
            fs::create_dir_all(&path).map_err(FileError::of("write", &path))?;
        }
        file::write(&self.state.join("sources.list"), source)?;
        Ok(file::write(&self.state.join("status"), "")?)
    }

    /// Makes an apt command that uses the private state. The machine's settings apply, such as its proxy, except for
    /// sources and preferences.
    fn apt<'s>(&self, shell: &'s Shell, program: &str) -> Cmd<'s> {
        let state = |file: &str| self.state.join(file).display().to_string();
        let options = [
            ("Dir::State", state("")),
            ("Dir::State::status", state("status")),
            ("Dir::State::lists", state("lists")),
            ("Dir::Cache", state("")),
            ("Dir::Etc::sourcelist", state("sources.list")),
            ("Dir::Etc::sourceparts", "-".to_owned()),
            ("Dir::Etc::preferences", "-".to_owned()),
            ("Dir::Etc::preferencesparts", "-".to_owned()),
            ("Acquire::Languages", "none".to_owned()),
            // A mirror may be a dated copy, whose lists have expired.
            ("Acquire::Check-Valid-Until", "false".to_owned()),
            ("Acquire::Retries", "3".to_owned()),
            // The cache folder need not be readable by apt's own user.
            ("APT::Sandbox::User", "root".to_owned()),
        ];
        let options = options.iter().flat_map(|(key, value)| ["-o".to_owned(), format!("{key}={value}")]);
        cmd!(shell, "{program} {options...}").env("LC_ALL", "C")
    }
}

/// Reads the versions that `apt-cache madison` prints, newest first: `name | version | source`.
fn madison(listing: &str, name: &str) -> Vec<String> {
    let mut versions: Vec<String> = Vec::new();
    for line in listing.lines() {
        let mut fields = line.split('|').map(str::trim);
        if let (Some(found), Some(version)) = (fields.next(), fields.next())
            && found == name
            && !versions.iter().any(|known| known == version)
        {
            versions.push(version.to_owned());
        }
    }
    versions
}

/// Reads the progress of a download from a line that apt writes to its status fd: `dlstatus:NUMBER:PERCENT:TEXT`.
fn percent(line: &str) -> Option<u64> {
    let percent = line.strip_prefix("dlstatus:")?.split(':').nth(1)?;
    percent.parse::<f64>().ok().map(|percent| percent as u64)
}

/// Returns the only file in a folder.
fn only_file(folder: &Path) -> io::Result<PathBuf> {
    let mut files = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    match (files.pop(), files.is_empty()) {
        (Some(file), true) => Ok(file.path()),
        _ => Err(io::Error::other("apt did not download exactly one file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_one_package_are_read_once_each() {
        let listing = " linux-source-6.12 | 6.12.107-1 | http://m.example/debian trixie/main amd64 Packages\n \
                       linux-source-6.12 | 6.12.94-1 | http://m.example/debian trixie/main amd64 Packages\n \
                       linux-source-6.12 | 6.12.107-1 | http://m.example/debian trixie/main Sources\n \
                       linux-source-6.12-x | 9 | x\n";
        assert_eq!(madison(listing, "linux-source-6.12"), ["6.12.107-1", "6.12.94-1"]);
        assert!(madison("", "x").is_empty());
    }

    #[test]
    fn a_full_disk_is_an_error_before_apt_hangs() {
        let folder = tempfile::tempdir().unwrap();
        check_room(folder.path(), 0).unwrap();
        assert!(matches!(check_room(folder.path(), u64::MAX), Err(ArchiveError::NoRoom { .. })));
        let error = ArchiveError::NoRoom { path: "/cache/downloads".into(), free_mib: 12 };
        insta::assert_snapshot!(error, @"/cache/downloads has 12 MiB left, but package lists take up to 100 MiB: free some space, or set BPF_TOKEN_HARNESS_CACHE to a folder on a larger disk");
    }

    #[test]
    fn a_status_line_has_the_progress() {
        assert_eq!(percent("dlstatus:1:33.3333:Retrieving file 1 of 1"), Some(33));
        assert_eq!(percent("Get:1 http://m.example trixie InRelease"), None);
    }

    #[test]
    fn a_missing_version_lists_the_available_ones() {
        let error = |available| ArchiveError::NoSuchVersion {
            package: Package { name: "p".into(), version: "1".into() },
            suite: "trixie".into(),
            mirror: Mirror::of_url("http://m.example/debian/"),
            available,
        };
        let listed = |available: &[&str]| error(available.iter().map(|text| (*text).to_owned()).collect()).to_string();
        insta::assert_snapshot!(listed(&["3", "2"]), @"http://m.example/debian has no p=1 in trixie; it has 3, 2");
        insta::assert_snapshot!(listed(&[]), @"http://m.example/debian has no p=1 in trixie; it has no version of it");
    }

    #[test]
    fn a_folder_with_more_than_one_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(only_file(folder.path()).is_err());
        fs::write(folder.path().join("a.deb"), "").unwrap();
        assert_eq!(only_file(folder.path()).unwrap(), folder.path().join("a.deb"));
        fs::write(folder.path().join("b.deb"), "").unwrap();
        assert!(only_file(folder.path()).is_err());
    }
}
