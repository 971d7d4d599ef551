//! A kernel's manifest: where its source comes from, what it is configured with, how it is started.

mod lineage;
mod source;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use harness_protocol::name::KernelName;
use serde::Deserialize;
use thiserror::Error;

use super::fragment::{self, BadLine, Found, Mismatch, Options, Value};
use crate::file::{self, FileError};
use lineage::lineage;
pub use source::{
    DebianKernel, DebianSource, GitSource, KernelFiles, PackageFiles, PrebuiltSource, Source, TarballSource, TreeSource,
};

/// The name of the kernel of the machine we are on, which no manifest has.
pub const RUNNING: &str = "host";

/// Why a manifest, or a fragment it names, is not usable.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
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
    #[serde(default)]
    default: bool,
    base: Option<KernelName>,
    source: Option<Source>,
    #[serde(default)]
    fragments: Vec<String>,
    objects: Option<u64>,
    #[serde(default)]
    exception: Vec<Exception>,
    #[serde(default)]
    args: Vec<String>,
    memory_mib: Option<u32>,
    lsm: Option<Vec<String>>,
    alike: Option<KernelName>,
    #[serde(default)]
    required: BTreeMap<String, String>,
}

impl File {
    fn read(path: &Path) -> Result<Self, ManifestError> {
        toml::from_str(&file::read_text(path)?)
            .map_err(|error| ManifestError::Syntax { path: path.to_owned(), error: error.into() })
    }

    /// The kernel it is like, if any.
    fn nearest(&self) -> Option<&KernelName> {
        self.alike.as_ref().or(self.base.as_ref())
    }

    /// Whether it says anything about how the kernel is built.
    fn builds(&self) -> bool {
        self.source.is_some() || !self.fragments.is_empty() || self.objects.is_some() || !self.exception.is_empty()
    }
}

const ONLY_STARTED_OTHERWISE: &str = "a kernel with a `base` is started otherwise, not built otherwise: `source`, \
     `fragments`, `objects` and `exception` are its base's";

/// How a manifest came to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// By its name.
    Named,
    /// As the base of another.
    Base,
}

/// A manifest that was read with its fragments, and with its base if it is a variant.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The kernel's name: the file's name without `.toml`.
    pub name: KernelName,
    /// The file.
    pub path: PathBuf,
    /// One line on what this kernel is for.
    pub summary: String,
    /// Whether it is run where nobody says which kernels are.
    pub is_default: bool,
    /// The kernel that this one is a variant of: the same build, started otherwise.
    pub base: Option<KernelName>,
    /// Where it comes from; a relative path in it is relative to the manifest no more.
    pub source: Source,
    /// About how many objects a build compiles, for its progress bar.
    pub objects: Option<u64>,
    /// What its command line has beyond the defaults.
    pub args: Vec<String>,
    /// Memory of a VM in MiB, if it needs another amount than usual.
    pub memory_mib: Option<u32>,
    /// The security modules it starts with, in this order; those of its configuration if `None`.
    pub lsm: Option<Vec<String>>,
    /// The kernels whose snapshots hold for it where it has none of its own, the nearest first.
    pub alike: Vec<KernelName>,
    /// What its configuration must say.
    pub required: Options,
    /// Options that resolve otherwise than the fragments ask.
    pub exceptions: Vec<Exception>,
    /// All fragments, one after the other.
    pub config: String,
    /// What the fragments ask for.
    pub options: Options,
}

impl Manifest {
    /// Reads a manifest with its fragments, and its base.
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        Self::read_as(path, Level::Named)
    }

    fn read_as(path: &Path, level: Level) -> Result<Self, ManifestError> {
        let meaning = |reason: String| ManifestError::Meaning { path: path.to_owned(), reason };
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let name: KernelName = stem.parse().map_err(|error| meaning(format!("{error}")))?;
        if name.as_str() == RUNNING {
            return Err(meaning(format!("`{name}` stands for the running kernel: call the file otherwise")));
        }
        let file = File::read(path)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let nearest = file.nearest().cloned();
        if let Some(stranger) = file.base.iter().find(|base| !of_kernel(folder, base).is_file()) {
            return Err(meaning(format!("there is no kernel `{stranger}`: {stranger}.toml is not in its folder")));
        }
        let mut manifest = match (file.base.clone(), file.source.clone()) {
            (Some(_), _) if file.builds() => return Err(meaning(ONLY_STARTED_OTHERWISE.to_owned())),
            (Some(base), None) if level == Level::Named => {
                Self::variant(name, path, Self::read_as(&of_kernel(folder, &base), Level::Base)?, file)
            }
            (Some(base), None) => return Err(meaning(format!("a base has no base itself: name `{base}` instead"))),
            (None, Some(source)) => Self::of_source(name, path, source.below(folder), file)?,
            _ => return Err(meaning("it must have either a `source` or a `base`".to_owned())),
        };
        manifest.alike = lineage(folder, &manifest.name, nearest.as_ref())?;
        manifest.check().map_err(meaning)?;
        Ok(manifest)
    }

    fn of_source(name: KernelName, path: &Path, source: Source, file: File) -> Result<Self, ManifestError> {
        let (config, options) = read_fragments(path.parent().unwrap_or(Path::new(".")), &file.fragments)?;
        Ok(Self {
            name,
            path: path.to_owned(),
            summary: file.summary,
            is_default: file.default,
            base: None,
            source,
            objects: file.objects,
            args: file.args,
            memory_mib: file.memory_mib,
            lsm: file.lsm,
            alike: Vec::new(),
            required: values(&file.required),
            exceptions: file.exception,
            config,
            options,
        })
    }

    /// The base's build, started as the file says.
    fn variant(name: KernelName, path: &Path, base: Self, file: File) -> Self {
        let mut required = base.required.clone();
        required.extend(values(&file.required));
        Self {
            name,
            path: path.to_owned(),
            summary: file.summary,
            is_default: file.default,
            base: Some(base.name.clone()),
            args: base.args.iter().cloned().chain(file.args).collect(),
            memory_mib: file.memory_mib.or(base.memory_mib),
            lsm: file.lsm.or_else(|| base.lsm.clone()),
            required,
            ..base
        }
    }

    /// The kernel whose build this is: a variant has none of its own.
    pub fn build_name(&self) -> &KernelName {
        self.base.as_ref().unwrap_or(&self.name)
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
        if matches!(self.source, Source::Prebuilt(_)) && !self.options.is_empty() {
            return Err("a prebuilt kernel cannot be configured: say what it must have in `required`".to_owned());
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

/// The text and the options of these fragments, in this order.
fn read_fragments(folder: &Path, names: &[String]) -> Result<(String, Options), ManifestError> {
    let (mut config, mut options) = (String::new(), Options::new());
    for name in names {
        let path = folder.join("fragments").join(name).with_extension("config");
        let text = file::read_text(&path)?;
        options.extend(fragment::parse(&text).map_err(|line| ManifestError::Fragment { path, line })?);
        config.push_str(&text);
        config.push('\n');
    }
    Ok((config, options))
}

/// The manifest of this kernel.
fn of_kernel(folder: &Path, kernel: &KernelName) -> PathBuf {
    folder.join(format!("{kernel}.toml"))
}

fn values(options: &BTreeMap<String, String>) -> Options {
    options.iter().map(|(option, value)| (option.clone(), Value::new(value))).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

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
            format!("[source.prebuilt.debian]\nsuite = 's'\nversion = '1'\npackages = {{ p = '{SUM}' }}"),
            "[source.prebuilt.packages]\nfiles = ['../p.deb']".to_owned(),
            "[source.prebuilt.files]\nvmlinuz = '../v'\nconfig = '../c'".to_owned(),
        ] {
            let fragments = if source.contains("prebuilt") { "" } else { "fragments = ['a']" };
            let (folder, path) = write(&format!("summary = 's'\n{fragments}\n{source}"), "CONFIG_A=y\n");
            let manifest = Manifest::read(&path).unwrap();
            assert_eq!((manifest.name.as_str(), manifest.options.len()), ("9.9", fragments.len().min(1)));
            match manifest.source {
                Source::Tree(tree) => assert_eq!(tree.path, folder.path().join("../linux")),
                Source::Prebuilt(PrebuiltSource::Packages(packages)) => {
                    assert_eq!(packages.files, [folder.path().join("../p.deb")]);
                }
                Source::Prebuilt(PrebuiltSource::Files(files)) => {
                    assert_eq!((files.vmlinuz, files.modules), (folder.path().join("../v"), None));
                }
                _ => {}
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
            ("summary = 's'\n", "", "either a `source` or a `base`"),
            ("summary = 's'\nbase = '9.8'\n", "", "there is no kernel `9.8`"),
            ("summary = 's'\nbase = '9.9'\n", "", "a base has no base itself"),
            ("summary = 's'\nbase = '9.9'\nfragments = ['a']\n", "", "not built otherwise"),
            (
                "summary = 's'\nfragments = ['a']\n[source.prebuilt.files]\nvmlinuz = 'v'\nconfig = 'c'\n",
                "CONFIG_A=y",
                "`required`",
            ),
        ] {
            let message = error(manifest, fragment);
            assert!(message.contains(expected), "{expected}: {message}");
        }
    }

    #[test]
    fn a_variant_is_its_base_started_otherwise() {
        let base = "summary = 's'\nfragments = ['a']\nargs = ['quiet']\nmemory_mib = 300\n\
                    required = { CONFIG_B = 'y' }\n[source.tree]\npath = 'l'\n";
        let (folder, path) = write(base, "CONFIG_A=y\n");
        let variant = folder.path().join("9.9-variant.toml");
        fs::write(&variant, "summary = 'v'\nbase = '9.9'\nargs = ['x=1']\nlsm = ['bpf']\n").unwrap();
        let (base, variant) = (Manifest::read(&path).unwrap(), Manifest::read(&variant).unwrap());
        assert_eq!((variant.build_name().as_str(), base.build_name().as_str()), ("9.9", "9.9"));
        assert_eq!((variant.args, variant.memory_mib), (vec!["quiet".to_owned(), "x=1".to_owned()], Some(300)));
        assert_eq!((variant.lsm, base.lsm), (Some(vec!["bpf".to_owned()]), None));
        assert_eq!((variant.source, variant.required), (base.source, base.required));
        assert_eq!(variant.alike.iter().map(KernelName::as_str).collect::<Vec<_>>(), ["9.9"]);
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
