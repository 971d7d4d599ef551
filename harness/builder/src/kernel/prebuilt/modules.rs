//! The modules of a kernel that a guest needs before it can do anything, and those that scenarios need.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use thiserror::Error;
use walkdir::WalkDir;

use super::{
    compression::{self, DecompressionError},
    elf::{Elf, ElfError},
};
use crate::file::{self, FileError};

/// What the way to the shared root folder takes: the bus, the port of the agent, and the file system.
const NEEDED: [&str; 4] = ["virtio_pci", "virtio_console", "9pnet_virtio", "9p"];

/// What scenarios attach programs to, and what a program type hangs on; a kernel may lack any of it.
const WANTED: [&str; 9] =
    ["dummy", "veth", "netkit", "tun", "sch_ingress", "cls_bpf", "act_bpf", "nf_defrag_ipv4", "rc_loopback"];

/// Why there are no modules to load.
#[derive(Debug, Error)]
pub enum ModulesError {
    /// A guest without it does not get to its root folder.
    #[error(
        "it has no module `{name}`, without which a guest does not reach its root folder in {}; Debian's cloud flavour \
         lacks 9p, the plain one has it",
        folder.display()
    )]
    Missing {
        /// The module.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// A file or folder cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A module cannot be unpacked.
    #[error("{}: {source}", path.display())]
    Compressed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: DecompressionError,
    },
    /// A module is none.
    #[error("{}: {source}", path.display())]
    Elf {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ElfError,
    },
}

/// A module, ready to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Module {
    /// Its name, as the kernel knows it: with `_` where its file may have `-`.
    pub(super) name: String,
    /// What `finit_module(2)` takes.
    pub(super) contents: Vec<u8>,
}

/// The modules to load, those first that others depend on; every byte of it follows from the folder's contents.
pub(super) fn to_load(folder: &Path) -> Result<Vec<Module>, ModulesError> {
    let mut loader = Loader { tree: Tree::of(folder)?, done: BTreeSet::new(), order: Vec::new() };
    NEEDED.iter().try_for_each(|name| loader.add(name))?;
    for name in WANTED {
        if loader.tree.files.contains_key(name) {
            loader.add(name)?;
        }
    }
    Ok(loader.order)
}

/// The module files of a kernel by name, and what is built in.
struct Tree {
    folder: PathBuf,
    files: BTreeMap<String, PathBuf>,
    built_in: BTreeSet<String>,
}

impl Tree {
    fn of(folder: &Path) -> Result<Self, ModulesError> {
        let listed = folder.join("modules.builtin");
        let text = file::read_text(&listed)?;
        let mut files = BTreeMap::new();
        // A link, such as that to the headers, is not followed.
        for entry in WalkDir::new(folder) {
            let entry = entry.map_err(|error| FileError::walking("read", folder, error))?;
            if let Some(name) = name_of(entry.path()).filter(|_| entry.file_type().is_file()) {
                files.insert(name, entry.into_path());
            }
        }
        let built_in = text.lines().filter_map(|line| name_of(Path::new(line))).collect();
        Ok(Self { folder: folder.to_owned(), files, built_in })
    }
}

/// The name of the module in a file, if the file is called like one: `kernel/net/9p/9pnet.ko.xz`.
fn name_of(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let (name, rest) = file.split_once(".ko")?;
    matches!(rest, "" | ".xz" | ".zst" | ".gz").then(|| name.replace('-', "_"))
}

struct Loader {
    tree: Tree,
    done: BTreeSet<String>,
    order: Vec<Module>,
}

impl Loader {
    /// Puts a module behind all that it depends on.
    fn add(&mut self, name: &str) -> Result<(), ModulesError> {
        if self.tree.built_in.contains(name) || !self.done.insert(name.to_owned()) {
            return Ok(());
        }
        let missing = || ModulesError::Missing { name: name.to_owned(), folder: self.tree.folder.clone() };
        let path = self.tree.files.get(name).ok_or_else(missing)?.clone();
        let contents = compression::decompressed(file::read(&path)?)
            .map_err(|source| ModulesError::Compressed { path: path.clone(), source })?;
        for other in dependencies(&contents).map_err(|source| ModulesError::Elf { path, source })? {
            self.add(&other)?;
        }
        self.order.push(Module { name: name.to_owned(), contents });
        Ok(())
    }
}

/// What a module says it depends on: `depends=` among the texts of its `.modinfo` section (`scripts/mod/modpost.c`).
/// Packages come without `modules.dep`, which is made of this when they are installed.
fn dependencies(module: &[u8]) -> Result<Vec<String>, ElfError> {
    let info = Elf::of(module)?.section(".modinfo")?.unwrap_or_default();
    let texts = info.split(|byte| *byte == 0).filter_map(|text| std::str::from_utf8(text).ok());
    let listed = texts.filter_map(|text| text.strip_prefix("depends=")).flat_map(|names| names.split(','));
    Ok(listed.filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect())
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;

    use super::*;
    use crate::kernel::prebuilt::elf::tests::elf;

    /// A module file that depends on others.
    pub(in crate::kernel::prebuilt) fn module(depends: &str) -> Vec<u8> {
        elf(&[(".modinfo", format!("license=GPL\0depends={depends}\0name=x\0").as_bytes())])
    }

    /// A folder of modules: file, contents.
    fn folder(files: &[(&str, Vec<u8>)], built_in: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("modules.builtin"), built_in).unwrap();
        for (name, contents) in files {
            let path = folder.path().join("kernel").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, contents).unwrap();
        }
        folder
    }

    fn names(folder: &Path) -> Vec<String> {
        to_load(folder).unwrap().into_iter().map(|module| module.name).collect()
    }

    #[test]
    fn what_others_depend_on_is_loaded_first_and_what_is_built_in_is_not() {
        let folder = folder(
            &[
                ("fs/9p/9p.ko", module("9pnet,netfs")),
                ("fs/netfs.ko", module("")),
                ("net/9pnet.ko", module("")),
                ("net/9pnet_virtio.ko", module("9pnet,virtio")),
                ("drivers/rc/rc-loopback.ko", module("rc-core")),
                ("drivers/rc/rc-core.ko", module("")),
                ("drivers/other.ko", module("nowhere")),
            ],
            "kernel/drivers/virtio/virtio_pci.ko\nkernel/drivers/char/virtio_console.ko\nkernel/drivers/virtio/virtio.ko\n",
        );
        assert_eq!(names(folder.path()), ["9pnet", "9pnet_virtio", "netfs", "9p", "rc_core", "rc_loopback"]);
        assert_eq!(to_load(folder.path()).unwrap(), to_load(folder.path()).unwrap());
    }

    #[test]
    fn a_kernel_that_cannot_reach_its_root_is_refused() {
        let built_in = "virtio_pci.ko\nvirtio_console.ko\n9pnet_virtio.ko\n";
        let error = to_load(folder(&[], built_in).path()).unwrap_err().to_string();
        assert!(error.contains("no module `9p`") && error.contains("cloud"), "{error}");
        let lacking = folder(&[("9p.ko", module("9pnet"))], built_in);
        assert!(to_load(lacking.path()).unwrap_err().to_string().contains("`9pnet`"));
        assert!(matches!(to_load(Path::new("/nowhere")), Err(ModulesError::File(_))));
    }

    #[test]
    fn a_damaged_module_is_named() {
        let built_in = "virtio_pci.ko\nvirtio_console.ko\n9pnet_virtio.ko\n";
        for (file, contents) in [("9p.ko", &b"no elf"[..]), ("9p.ko.xz", b"\xfd7zXZ\0damaged")] {
            let error = to_load(folder(&[(file, contents.to_vec())], built_in).path()).unwrap_err().to_string();
            assert!(error.contains(file), "{error}");
        }
    }

    #[test]
    fn a_module_is_known_by_its_file() {
        for (file, name) in [("9p.ko", Some("9p")), ("a/rc-core.ko.xz", Some("rc_core")), ("x.ko.zst", Some("x"))] {
            assert_eq!(name_of(Path::new(file)).as_deref(), name);
        }
        for other in ["modules.dep", "vmlinuz", "x.ko.debug", "x.koala"] {
            assert_eq!(name_of(Path::new(other)), None, "{other}");
        }
    }
}
