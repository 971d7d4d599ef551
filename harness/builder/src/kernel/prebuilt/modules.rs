//! The kernel modules that a guest needs to reach its root, and those that scenarios need.

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

/// The modules that the shared root folder needs: the bus, the agent's port, and the file system.
const NEEDED: [&str; 4] = ["virtio_pci", "virtio_console", "9pnet_virtio", "9p"];

/// The modules that scenarios attach programs to, and that program types need; a kernel may lack any of them.
const WANTED: [&str; 9] =
    ["dummy", "veth", "netkit", "tun", "sch_ingress", "cls_bpf", "act_bpf", "nf_defrag_ipv4", "rc_loopback"];

/// Why the modules cannot be loaded.
#[derive(Debug, Error)]
pub enum ModulesError {
    /// A guest cannot reach its root folder without this module.
    #[error(
        "{} has no module `{name}`, which a guest needs to reach its root folder; Debian's cloud flavour lacks 9p, the \
         standard flavour has it",
        folder.display()
    )]
    Missing {
        /// The module.
        name: String,
        /// The folder that was searched.
        folder: PathBuf,
    },
    /// A file or folder cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A module cannot be decompressed.
    #[error("cannot decompress the module {}", path.display())]
    Compressed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: DecompressionError,
    },
    /// A file is not a module.
    #[error("cannot read the module {}", path.display())]
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
    /// Its name in the kernel: with `_` where its file may have `-`.
    pub(super) name: String,
    /// The bytes for `finit_module(2)`.
    pub(super) contents: Vec<u8>,
}

/// Returns the modules to load, each after its dependencies. The result depends only on the folder's contents.
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

/// The module files of a kernel by name, and the names of built-in modules.
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
        // Links, such as the one to the headers, are not followed.
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

/// Returns the name of a file's module, if the file is named like one: `kernel/net/9p/9pnet.ko.xz`.
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
    /// Adds a module after its dependencies.
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

/// Reads the dependencies of a module: `depends=` in its `.modinfo` section (`scripts/mod/modpost.c`). Packages have no
/// `modules.dep`, which is generated from this at installation.
fn dependencies(module: &[u8]) -> Result<Vec<String>, ElfError> {
    let info = Elf::of(module)?.section(".modinfo")?.unwrap_or_default();
    let texts = info.split(|byte| *byte == 0).filter_map(|text| std::str::from_utf8(text).ok());
    let listed = texts.filter_map(|text| text.strip_prefix("depends=")).flat_map(|names| names.split(','));
    Ok(listed.filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect())
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;

    use harness_fixtures::chain;

    use super::*;
    use crate::kernel::prebuilt::elf::tests::elf;

    /// Makes a module file that depends on others.
    pub(in crate::kernel::prebuilt) fn module(depends: &str) -> Vec<u8> {
        elf(&[(".modinfo", format!("license=GPL\0depends={depends}\0name=x\0").as_bytes())])
    }

    /// Makes a folder of modules, from paths and contents.
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
    fn dependencies_are_loaded_first_and_built_in_modules_are_not() {
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
        let none = folder(&[], built_in);
        let error = to_load(none.path()).unwrap_err().to_string().replace(none.path().to_str().unwrap(), "/MODULES");
        insta::assert_snapshot!(error, @"/MODULES has no module `9p`, which a guest needs to reach its root folder; Debian's cloud flavour lacks 9p, the standard flavour has it");
        let lacking = folder(&[("9p.ko", module("9pnet"))], built_in);
        assert!(matches!(to_load(lacking.path()), Err(ModulesError::Missing { name, .. }) if name == "9pnet"));
        assert!(matches!(to_load(&none.path().join("missing")), Err(ModulesError::File(_))));
    }

    #[test]
    fn a_damaged_module_is_named() {
        let built_in = "virtio_pci.ko\nvirtio_console.ko\n9pnet_virtio.ko\n";
        let message = |file: &str, contents: &[u8]| {
            let modules = folder(&[(file, contents.to_vec())], built_in);
            chain(&to_load(modules.path()).unwrap_err()).replace(modules.path().to_str().unwrap(), "/MODULES")
        };
        insta::assert_snapshot!(message("9p.ko", b"no elf"), @r"
        cannot read the module /MODULES/kernel/9p.ko
        caused by: it is not an ELF file for x86-64, or it is damaged
        caused by: Invalid ELF header size or alignment
        ");
        insta::assert_snapshot!(message("9p.ko.xz", b"\xfd7zXZ\0damaged"), @r"
        cannot decompress the module /MODULES/kernel/9p.ko.xz
        caused by: the xz data is damaged
        caused by: lzma data error
        ");
    }

    #[test]
    fn the_name_of_a_module_follows_from_its_file() {
        for (file, name) in [("9p.ko", Some("9p")), ("a/rc-core.ko.xz", Some("rc_core")), ("x.ko.zst", Some("x"))] {
            assert_eq!(name_of(Path::new(file)).as_deref(), name);
        }
        for other in ["modules.dep", "vmlinuz", "x.ko.debug", "x.koala"] {
            assert_eq!(name_of(Path::new(other)), None, "{other}");
        }
    }
}
