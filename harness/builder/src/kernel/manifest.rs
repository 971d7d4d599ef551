//! A kernel's manifest: where its source comes from, what it is configured with, how it is started.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use harness_model::name::KernelName;
use serde::Deserialize;
use thiserror::Error;

use super::fragment::{self, BadLine, Found, Mismatch, Options, Value};
use crate::digest::Sha256;

/// Why a manifest, or a fragment it names, is not usable.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not a manifest.
    #[error("{}:\n{}", path.display(), .error.to_string().trim_end())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where, and what is wrong there.
        error: Box<toml::de::Error>,
    },
    /// A manifest says something that cannot be.
    #[error("{}: {reason}", path.display())]
    Meaning {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A fragment has a line that is no option.
    #[error("{}: {line}", path.display())]
    Fragment {
        /// The file.
        path: PathBuf,
        /// The line.
        line: BadLine,
    },
}

/// Where a kernel's source comes from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// A Debian package that holds a source tarball, such as `linux-source-6.12`.
    Debian(DebianSource),
    /// A release tarball.
    Tarball(TarballSource),
    /// A revision of a git repository.
    Git(GitSource),
    /// A folder, built as it is now.
    Tree(TreeSource),
}

/// A Debian package that holds a source tarball.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DebianSource {
    /// The package.
    pub package: String,
    /// Its full version; apt fetches exactly this one.
    pub version: String,
    /// The suite it is in, such as `trixie`.
    pub suite: String,
    /// The sum of the package file.
    pub sha256: Sha256,
}

/// A tarball by URL.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TarballSource {
    /// Where it is.
    pub url: String,
    /// Its sum.
    pub sha256: Sha256,
}

/// A git revision.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitSource {
    /// The repository: a URL or a path, as `git fetch` takes it.
    pub url: String,
    /// The full name of the commit.
    pub revision: Revision,
}

/// A folder with a kernel source.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeSource {
    /// The folder; a relative path starts at the manifest's folder.
    pub path: PathBuf,
}

/// The full name of a git commit: a branch or a tag could move.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Revision(String);

/// A text that is not the full name of a commit.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{0}` is not the full name of a commit (40 hexadecimal digits); `git ls-remote URL {0}` tells it")]
pub struct BadRevision(String);

impl Revision {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Revision {
    type Error = BadRevision;

    fn try_from(text: String) -> Result<Self, BadRevision> {
        let full = [40, 64].contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if full { Ok(Self(text.to_ascii_lowercase())) } else { Err(BadRevision(text)) }
    }
}

/// An option that one kernel resolves otherwise than the fragments ask, and why that is right.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// The option, `CONFIG_` included.
    pub option: String,
    /// What it resolves to: a value, `n` if it is off, or `absent` if this kernel has no such option.
    pub value: String,
    /// Why.
    pub reason: String,
}

impl Exception {
    fn explains(&self, mismatch: &Mismatch) -> bool {
        let found = if self.value == "absent" { Found::Absent } else { Found::Value(Value::new(&self.value)) };
        self.option == mismatch.option && found == mismatch.found
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    summary: String,
    source: Source,
    fragments: Vec<String>,
    #[serde(default)]
    objects: Option<u64>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    exception: Vec<Exception>,
}

/// A manifest that was read with its fragments.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The kernel's name: the file's name without `.toml`.
    pub name: KernelName,
    /// The file.
    pub path: PathBuf,
    /// One line on what this kernel is for.
    pub summary: String,
    /// Where its source comes from; a relative path in it is relative to the manifest no more.
    pub source: Source,
    /// About how many objects a build compiles, for its progress bar.
    pub objects: Option<u64>,
    /// What its command line has beyond the defaults.
    pub args: Vec<String>,
    /// Options that resolve otherwise than the fragments ask.
    pub exceptions: Vec<Exception>,
    /// All fragments, one after the other.
    pub config: String,
    /// What the fragments ask for.
    pub options: Options,
}

impl Manifest {
    /// Reads a manifest and its fragments.
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        let meaning = |reason: String| ManifestError::Meaning { path: path.to_owned(), reason };
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let name: KernelName = stem.parse().map_err(|error| meaning(format!("{error}")))?;
        let file: File = toml::from_str(&read(path)?)
            .map_err(|error| ManifestError::Syntax { path: path.to_owned(), error: error.into() })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let (config, options) = read_fragments(folder, &file.fragments)?;
        let manifest = Self {
            name,
            path: path.to_owned(),
            summary: file.summary,
            source: resolved(file.source, folder),
            objects: file.objects,
            args: file.args,
            exceptions: file.exception,
            config,
            options,
        };
        manifest.check().map_err(meaning)?;
        Ok(manifest)
    }

    /// What serde cannot check.
    fn check(&self) -> Result<(), String> {
        for exception in &self.exceptions {
            if !self.options.contains_key(&exception.option) {
                return Err(format!(
                    "the exception for {} is for an option that no fragment asks for",
                    exception.option
                ));
            }
            if exception.reason.trim().is_empty() {
                return Err(format!("the exception for {} gives no reason", exception.option));
            }
        }
        match self.args.iter().find(|arg| arg.is_empty() || arg.contains(char::is_whitespace)) {
            Some(arg) => Err(format!("`{arg}` in args is not one argument of the kernel's command line")),
            None => Ok(()),
        }
    }

    /// The mismatches that no exception explains, and exceptions that explain nothing.
    pub fn unexplained(&self, found: &[Mismatch]) -> Vec<String> {
        let open =
            found.iter().filter(|mismatch| !self.exceptions.iter().any(|exception| exception.explains(mismatch)));
        let idle =
            self.exceptions.iter().filter(|exception| !found.iter().any(|mismatch| exception.explains(mismatch)));
        let idle = idle.map(|e| format!("{}: the exception ({}) does not apply, remove it", e.option, e.value));
        open.map(Mismatch::to_string).chain(idle).collect()
    }
}

fn read(path: &Path) -> Result<String, ManifestError> {
    fs::read_to_string(path).map_err(|source| ManifestError::Read { path: path.to_owned(), source })
}

/// The text and the options of these fragments, in this order.
fn read_fragments(folder: &Path, names: &[String]) -> Result<(String, Options), ManifestError> {
    let (mut config, mut options) = (String::new(), Options::new());
    for name in names {
        let path = folder.join("fragments").join(name).with_extension("config");
        let text = read(&path)?;
        options.extend(fragment::parse(&text).map_err(|line| ManifestError::Fragment { path, line })?);
        config.push_str(&text);
        config.push('\n');
    }
    Ok((config, options))
}

fn resolved(source: Source, folder: &Path) -> Source {
    match source {
        Source::Tree(TreeSource { path }) => Source::Tree(TreeSource { path: folder.join(path) }),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SUM: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn write(manifest: &str, fragment: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("fragments")).unwrap();
        fs::write(folder.path().join("fragments/a.config"), fragment).unwrap();
        let path = folder.path().join("9.9.toml");
        fs::write(&path, manifest).unwrap();
        (folder, path)
    }

    fn error(manifest: &str, fragment: &str) -> String {
        let (_folder, path) = write(manifest, fragment);
        Manifest::read(&path).unwrap_err().to_string()
    }

    #[test]
    fn every_kind_of_source_is_read() {
        for source in [
            format!("[source.debian]\npackage = 'p'\nversion = '1'\nsuite = 's'\nsha256 = '{SUM}'"),
            format!("[source.tarball]\nurl = 'http://h.example/l.tar.xz'\nsha256 = '{SUM}'"),
            format!("[source.git]\nurl = '/srv/linux.git'\nrevision = '{}'", &SUM[..40]),
            "[source.tree]\npath = '../linux'".to_owned(),
        ] {
            let (folder, path) = write(&format!("summary = 's'\nfragments = ['a']\n{source}"), "CONFIG_A=y\n");
            let manifest = Manifest::read(&path).unwrap();
            assert_eq!((manifest.name.as_str(), manifest.options.len()), ("9.9", 1));
            if let Source::Tree(tree) = manifest.source {
                assert_eq!(tree.path, folder.path().join("../linux"));
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let tree = "summary = 's'\nfragments = ['a']\n[source.tree]\npath = 'l'\n";
        for (manifest, fragment, expected) in [
            ("summary = 's'\nfragmentz = []\n", "", "fragmentz"),
            ("summary = 's'\nfragments = []\n[source.tree]\npath = 'l'\nurl = 'x'\n", "", "url"),
            ("summary = 's'\nfragments = []\n[source.tarball]\nurl = 'x'\nsha256 = '12'\n", "", "64 hexadecimal"),
            ("summary = 's'\nfragments = []\n[source.git]\nurl = 'x'\nrevision = 'v6.12'\n", "", "git ls-remote"),
            ("summary = 's'\nfragments = ['b']\n[source.tree]\npath = 'l'\n", "", "fragments/b.config"),
            (tree, "CONFIG_A\n", "fragments/a.config: line 1"),
            (&format!("{tree}[[exception]]\noption = 'CONFIG_B'\nvalue = 'n'\nreason = 'r'\n"), "", "no fragment asks"),
            (
                &format!("{tree}[[exception]]\noption = 'CONFIG_A'\nvalue = 'n'\nreason = ' '\n"),
                "CONFIG_A=y",
                "no reason",
            ),
            (&tree.replace("[source", "args = ['a b']\n[source"), "", "not one argument"),
        ] {
            let message = error(manifest, fragment);
            assert!(message.contains(expected), "{expected}: {message}");
        }
    }

    #[test]
    fn an_exception_explains_one_value_of_one_option() {
        let manifest = "summary = 's'\nfragments = ['a']\n[source.tree]\npath = 'l'\n\
                        [[exception]]\noption = 'CONFIG_A'\nvalue = 'n'\nreason = 'gone'\n";
        let (_folder, path) = write(manifest, "CONFIG_A=y\nCONFIG_B=y\n");
        let manifest = Manifest::read(&path).unwrap();
        let found = |resolved: &str| {
            let resolved = fragment::parse(resolved).unwrap();
            manifest.unexplained(&fragment::mismatches(&manifest.options, &resolved, &BTreeSet::new()))
        };
        assert!(found("CONFIG_B=y\n").is_empty());
        assert_eq!(found(""), ["CONFIG_B: asked for y, resolved to n"]);
        assert_eq!(found("CONFIG_A=m\nCONFIG_B=y\n").len(), 2);
        assert_eq!(found("CONFIG_A=y\nCONFIG_B=y\n"), ["CONFIG_A: the exception (n) does not apply, remove it"]);
    }
}
