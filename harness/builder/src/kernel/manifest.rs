//! Kernel manifests: where a kernel's source comes from, how it is configured, and how it is started.

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
use crate::{
    file::{self, FileError, TomlError},
    pins::Repinned,
};
use lineage::lineage;
pub use source::{
    DebianKernel, DebianSource, GitSource, KernelFiles, PackageFiles, PrebuiltSource, Source, TarballSource, TreeSource,
};

/// The name of the kernel this machine runs, which no manifest can have.
pub const RUNNING: &str = "host";

/// Why a manifest, or a fragment it names, is not valid.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not a manifest.
    #[error(transparent)]
    Syntax(#[from] TomlError),
    /// A manifest contradicts itself.
    #[error("{}: {reason}", path.display())]
    Meaning {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A line of a fragment is not an option.
    #[error("{}: {line}", path.display())]
    Fragment {
        /// The file.
        path: PathBuf,
        /// The line.
        line: BadLine,
    },
}

/// An option that one kernel resolves to another value than the fragments ask for, and why that is right.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// The option, `CONFIG_` included.
    pub option: String,
    /// The resolved value; `n` if it is off, or `absent` if this kernel has no such option.
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
    prebuilt: Option<KernelName>,
    #[serde(default)]
    required: BTreeMap<String, String>,
}

impl File {
    fn read(path: &Path) -> Result<Self, ManifestError> {
        Ok(file::parse_toml(path, &file::read_text(path)?)?)
    }

    /// The nearest kernel whose snapshots it inherits, if any.
    fn nearest(&self) -> Option<&KernelName> {
        self.alike.as_ref().or(self.base.as_ref())
    }

    /// Reports whether it says how the kernel is built.
    fn builds(&self) -> bool {
        self.source.is_some() || !self.fragments.is_empty() || self.objects.is_some() || !self.exception.is_empty()
    }
}

const VARIANT_BUILDS: &str = "a kernel with a `base` uses the build of its base: remove `source`, `fragments`, `objects` \
     and `exception`";

/// A manifest with its fragments, and with its base if it is a variant.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The kernel's name: the file's name without `.toml`.
    pub name: KernelName,
    /// The file.
    pub path: PathBuf,
    /// What this kernel is for, in one line.
    pub summary: String,
    /// Whether it runs if the user names no kernel.
    pub is_default: bool,
    /// The kernel that this one is a variant of: the same build, started differently.
    pub base: Option<KernelName>,
    /// Where it comes from. Relative paths are already joined to the manifest's folder.
    pub source: Source,
    /// The pins of the file that `source` does not have, because they have left the mirror.
    pub replaced: Vec<Repinned>,
    /// The approximate number of objects that a build compiles, for its progress bar.
    pub objects: Option<u64>,
    /// The arguments of its command line beyond the defaults.
    pub args: Vec<String>,
    /// The memory of a VM in MiB, if it differs from the default.
    pub memory_mib: Option<u32>,
    /// The security modules it starts with, in this order; `None` for those of its configuration.
    pub lsm: Option<Vec<String>>,
    /// The prebuilt kernel that takes the place of this one for who will not wait for its build: a distribution's build of the
    /// same release.
    pub prebuilt: Option<KernelName>,
    /// The kernels whose snapshots it inherits if it has none of its own, the nearest first.
    pub alike: Vec<KernelName>,
    /// The options that its configuration must have.
    pub required: Options,
    /// The options that resolve to other values than the fragments ask for.
    pub exceptions: Vec<Exception>,
    /// The text of all fragments.
    pub config: String,
    /// The options that the fragments ask for.
    pub options: Options,
}

impl Manifest {
    /// Reads a manifest with its fragments and its base.
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        let meaning = |reason: String| ManifestError::Meaning { path: path.to_owned(), reason };
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let name: KernelName = stem.parse().map_err(|error| meaning(format!("{error}")))?;
        if name.as_str() == RUNNING {
            return Err(meaning(format!("`{name}` stands for the running kernel: rename the file")));
        }
        let file = File::read(path)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let nearest = file.nearest().cloned();
        if let Some(missing) = file.base.iter().find(|base| !of_kernel(folder, base).is_file()) {
            return Err(meaning(missing_kernel(missing)));
        }
        let mut manifest = match (file.base.clone(), file.source.clone()) {
            (Some(_), _) if file.builds() => return Err(meaning(VARIANT_BUILDS.to_owned())),
            (Some(base), _) => {
                let base_path = of_kernel(folder, &base);
                if let Some(further) = File::read(&base_path)?.base {
                    return Err(meaning(format!("`{base}` is a variant itself: use its base `{further}`")));
                }
                Self::variant(name, path, Self::read(&base_path)?, file)
            }
            (None, Some(source)) => Self::of_source(name, path, source.below(folder), file)?,
            _ => return Err(meaning("a kernel needs either a `source` or a `base`".to_owned())),
        };
        manifest.alike = lineage(folder, &manifest.name, nearest.as_ref())?;
        if let Some(prebuilt) = &manifest.prebuilt {
            check_prebuilt(folder, prebuilt, &manifest.source)?.map_err(meaning)?;
        }
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
            replaced: Vec::new(),
            objects: file.objects,
            args: file.args,
            memory_mib: file.memory_mib,
            lsm: file.lsm,
            prebuilt: file.prebuilt,
            alike: Vec::new(),
            required: values(&file.required),
            exceptions: file.exception,
            config,
            options,
        })
    }

    /// Returns the build of the base, started as the file says.
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
            prebuilt: file.prebuilt,
            required,
            ..base
        }
    }

    /// Returns the name of the kernel whose build this is: for a variant, its base.
    pub fn build_name(&self) -> &KernelName {
        self.base.as_ref().unwrap_or(&self.name)
    }

    /// Checks what serde cannot.
    fn check(&self) -> Result<(), String> {
        for exception in &self.exceptions {
            if !self.options.contains_key(&exception.option) {
                return Err(format!(
                    "the exception for {} does nothing: no fragment asks for this option",
                    exception.option
                ));
            }
            if exception.reason.trim().is_empty() {
                return Err(format!("the exception for {} needs a reason", exception.option));
            }
        }
        if matches!(self.source, Source::Prebuilt(_)) && !self.options.is_empty() {
            return Err("a prebuilt kernel cannot be configured: replace `fragments` by `required`".to_owned());
        }
        match self.args.iter().find(|arg| arg.is_empty() || arg.contains(char::is_whitespace)) {
            Some(arg) => Err(format!("`{arg}` in `args` is not exactly one argument: write one per element")),
            None => Ok(()),
        }
    }

    /// Returns the mismatches that no exception explains, and the exceptions that explain nothing.
    pub fn unexplained(&self, found: &[Mismatch]) -> Vec<String> {
        let open =
            found.iter().filter(|mismatch| !self.exceptions.iter().any(|exception| exception.explains(mismatch)));
        let idle =
            self.exceptions.iter().filter(|exception| !found.iter().any(|mismatch| exception.explains(mismatch)));
        let idle = idle.map(|e| format!("{}: the exception ({}) does not apply; remove it", e.option, e.value));
        open.map(Mismatch::to_string).chain(idle).collect()
    }
}

/// Reads the text and the options of fragments, in this order.
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

/// Returns the path of a kernel's manifest.
fn of_kernel(folder: &Path, kernel: &KernelName) -> PathBuf {
    folder.join(format!("{kernel}.toml"))
}

/// Checks that a kernel can take the place of one from this source: that it is prebuilt, and the other one is not.
fn check_prebuilt(folder: &Path, prebuilt: &KernelName, of: &Source) -> Result<Result<(), String>, ManifestError> {
    let path = of_kernel(folder, prebuilt);
    if !path.is_file() {
        return Ok(Err(missing_kernel(prebuilt)));
    }
    Ok(match (of, File::read(&path)?.source) {
        (Source::Prebuilt(_), _) => {
            Err("a prebuilt kernel needs no other one in its place: remove `prebuilt`".to_owned())
        }
        (_, Some(Source::Prebuilt(_))) => Ok(()),
        _ => Err(format!("`{prebuilt}` is not prebuilt: name a kernel with `[source.prebuilt…]`")),
    })
}

fn missing_kernel(kernel: &KernelName) -> String {
    format!("there is no kernel `{kernel}`: {kernel}.toml is not in this folder")
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
    fn a_variant_is_its_base_started_differently() {
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
    fn only_a_prebuilt_kernel_takes_the_place_of_one_that_is_compiled() {
        let read = |prebuilt: &str| {
            let manifest = format!("summary = 's'\nprebuilt = '{prebuilt}'\n[source.tree]\npath = 'l'\n");
            let (folder, path) = write(&manifest, "");
            let debian = format!(
                "summary = 's'\n[source.prebuilt.debian]\nsuite = 's'\nversion = '1'\npackages = {{ p = '{SUM}' }}\n"
            );
            fs::write(folder.path().join("9.9-debian.toml"), &debian).unwrap();
            fs::write(folder.path().join("9.9-odd.toml"), format!("prebuilt = '9.9-debian'\n{debian}")).unwrap();
            let path = if prebuilt == "9.9-odd" { folder.path().join("9.9-odd.toml") } else { path };
            let read = Manifest::read(&path).map(|manifest| manifest.prebuilt.map(|name| name.to_string()));
            read.map_err(|error| error.to_string().replace(folder.path().to_str().unwrap(), "KERNELS"))
        };
        assert_eq!(read("9.9-debian").unwrap().as_deref(), Some("9.9-debian"));
        let errors = ["9.9", "9.8-debian", "9.9-odd"].map(|name| read(name).unwrap_err());
        insta::assert_snapshot!(errors.join("\n"), @"
        KERNELS/9.9.toml: `9.9` is not prebuilt: name a kernel with `[source.prebuilt…]`
        KERNELS/9.9.toml: there is no kernel `9.8-debian`: 9.8-debian.toml is not in this folder
        KERNELS/9.9-odd.toml: a prebuilt kernel needs no other one in its place: remove `prebuilt`
        ");
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
        assert_eq!(found(""), ["CONFIG_B: requested y, resolved to n"]);
        assert_eq!(found("CONFIG_A=m\nCONFIG_B=y\n").len(), 2);
        assert_eq!(found("CONFIG_A=y\nCONFIG_B=y\n"), ["CONFIG_A: the exception (n) does not apply; remove it"]);
    }
}
