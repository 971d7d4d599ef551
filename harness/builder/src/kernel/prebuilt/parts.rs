//! The files of a prebuilt kernel, wherever a distribution puts them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{error::PartsError, package};
use crate::{
    cache::{Area, Cache},
    file::FileError,
    kernel::{
        manifest::{PackageFiles, PrebuiltSource},
        source,
    },
    progress::Progress,
};

/// The paths of a kernel's files.
#[derive(Debug)]
pub(super) struct Parts {
    /// The boot image.
    pub(super) vmlinuz: PathBuf,
    /// The resolved configuration.
    pub(super) config: PathBuf,
    /// The symbols, if it has them.
    pub(super) symbols: Option<PathBuf>,
    /// The folder of its modules.
    pub(super) modules: Option<PathBuf>,
    /// The folder they were unpacked to; removed with this value.
    _unpacked: Option<tempfile::TempDir>,
}

impl Parts {
    /// Fetches and unpacks what is needed.
    pub(super) fn of(
        source: &PrebuiltSource,
        kernel: &str,
        cache: &Cache,
        progress: &Progress,
    ) -> Result<Self, PartsError> {
        let packages = match source {
            PrebuiltSource::Debian(debian) => debian
                .each()
                .map(|package| source::debian_package(&package, kernel, cache, progress))
                .collect::<Result<Vec<_>, _>>()?,
            PrebuiltSource::Packages(PackageFiles { files }) => files.clone(),
            PrebuiltSource::Files(files) => {
                let (vmlinuz, config, modules) = (files.vmlinuz.clone(), files.config.clone(), files.modules.clone());
                return Ok(Self { vmlinuz, config, symbols: None, modules, _unpacked: None });
            }
        };
        let trees = cache.folder(Area::Trees)?;
        let unpacked = tempfile::tempdir_in(&trees).map_err(FileError::of("create a folder in", &trees))?;
        packages.iter().try_for_each(|package| package::unpack(package, unpacked.path()))?;
        let found = Found::in_folder(unpacked.path())?;
        Ok(Self {
            vmlinuz: only(found.images, "a boot image (vmlinuz)")?,
            config: only(found.configs, "a configuration (config)")?,
            symbols: only(found.symbols, "a System.map").ok(),
            modules: only(found.modules, "a folder of modules").ok(),
            _unpacked: Some(unpacked),
        })
    }
}

/// The files found below a folder.
#[derive(Debug, Default)]
struct Found {
    images: Vec<PathBuf>,
    configs: Vec<PathBuf>,
    symbols: Vec<PathBuf>,
    modules: Vec<PathBuf>,
}

impl Found {
    /// Searches `boot`, `lib/modules/*` and `usr/lib/modules/*`, but no deeper folders.
    fn in_folder(root: &Path) -> Result<Self, PartsError> {
        let mut found = Self::default();
        found.look_into(&root.join("boot"))?;
        for modules in ["lib/modules", "usr/lib/modules"].map(|path| root.join(path)) {
            for release in listed(&modules)? {
                found.look_into(&release)?;
                if release.join("modules.builtin").is_file() {
                    found.modules.push(release);
                }
            }
        }
        Ok(found)
    }

    fn look_into(&mut self, folder: &Path) -> Result<(), PartsError> {
        for path in listed(folder)?.into_iter().filter(|path| path.is_file()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let kind = match name.split('-').next().unwrap_or_default() {
                "vmlinuz" => &mut self.images,
                "config" => &mut self.configs,
                "System.map" => &mut self.symbols,
                _ => continue,
            };
            kind.push(path);
        }
        Ok(())
    }
}

/// Lists a folder in a fixed order; returns nothing if it does not exist.
fn listed(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let list = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    match list() {
        Ok(mut paths) => {
            paths.sort();
            Ok(paths)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(FileError::of("list", folder)(error)),
    }
}

fn only(mut paths: Vec<PathBuf>, what: &'static str) -> Result<PathBuf, PartsError> {
    match (paths.pop(), paths.len()) {
        (Some(path), 0) => Ok(path),
        (last, others) => Err(PartsError::Number { what, count: others + usize::from(last.is_some()) }),
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, process::Command};

    use super::*;
    use crate::file;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    #[test]
    fn the_folders_of_every_distribution_are_searched() {
        for (files, image) in [
            (&["boot/vmlinuz-6.1", "boot/config-6.1", "lib/modules/6.1/modules.builtin"][..], "boot/vmlinuz-6.1"),
            (&["usr/lib/modules/7.3/vmlinuz", "usr/lib/modules/7.3/modules.builtin"], "usr/lib/modules/7.3/vmlinuz"),
        ] {
            let folder = tree(files);
            let found = Found::in_folder(folder.path()).unwrap();
            assert_eq!(found.images, [folder.path().join(image)]);
            assert_eq!(found.modules.len(), 1);
        }
    }

    #[test]
    fn packages_of_two_kernels_or_of_none_are_refused() {
        let folder = tree(&["boot/vmlinuz-6.1", "boot/vmlinuz-6.2", "lib/modules/6.1/vmlinuz/deep"]);
        let found = Found::in_folder(folder.path()).unwrap();
        let error = only(found.images, "a boot image").unwrap_err().to_string();
        insta::assert_snapshot!(error, @"the packages have 2 of a boot image, but exactly one is needed; list all packages of one kernel (links in packages do not count)");
        let error = only(found.configs, "a configuration").unwrap_err();
        insta::assert_snapshot!(error, @"the packages have 0 of a configuration, but exactly one is needed; list all packages of one kernel (links in packages do not count)");
    }

    /// Makes a package of a kernel's files, changed by `spoil`; returns what is read from it.
    fn parts_of_package(spoil: impl Fn(&Path)) -> Result<Parts, PartsError> {
        const CONTROL: &str = "Package: p\nVersion: 1\nArchitecture: all\nMaintainer: m\nDescription: d\n";
        let files = ["boot/vmlinuz-6.1", "boot/config-6.1", "boot/System.map-6.1", "lib/modules/6.1/modules.builtin"];
        let tree = tree(&files);
        fs::create_dir(tree.path().join("DEBIAN")).unwrap();
        fs::write(tree.path().join("DEBIAN/control"), CONTROL).unwrap();
        spoil(tree.path());
        let folder = tempfile::tempdir().unwrap();
        let package = folder.path().join("p.deb");
        let built = Command::new("dpkg-deb").arg("--build").arg(tree.path()).arg(&package).output().unwrap();
        assert!(built.status.success(), "{built:?}");
        let source = PrebuiltSource::Packages(PackageFiles { files: vec![package] });
        Parts::of(&source, "6.1", &Cache::at(folder.path().join("cache")).unwrap(), &Progress::silent())
    }

    /// Replaces a file or folder by a link.
    fn replace_by_link(path: &Path, target: &Path) {
        file::remove(path).unwrap();
        symlink(target, path).unwrap();
    }

    #[test]
    fn a_package_of_plain_files_has_all_parts() {
        let parts = parts_of_package(|_| ()).unwrap();
        assert!(parts.symbols.is_some() && parts.modules.is_some());
        assert!(parts.vmlinuz.ends_with("boot/vmlinuz-6.1") && parts.config.ends_with("boot/config-6.1"));
    }

    #[test]
    fn a_link_of_a_package_leads_to_no_file_of_this_machine() {
        let secrets = tree(&["secret", "boot/vmlinuz-6.1", "boot/config-6.1", "modules/6.1/modules.builtin"]);
        for name in ["boot/vmlinuz-6.1", "boot/config-6.1"] {
            let error = parts_of_package(|tree| replace_by_link(&tree.join(name), &secrets.path().join("secret")));
            assert!(matches!(error, Err(PartsError::Number { count: 0, .. })), "{name}: {error:?}");
        }
        let error = parts_of_package(|tree| replace_by_link(&tree.join("boot"), &secrets.path().join("boot")));
        assert!(matches!(error, Err(PartsError::Number { count: 0, .. })), "{error:?}");
        let parts = parts_of_package(|tree| {
            replace_by_link(&tree.join("boot/System.map-6.1"), &secrets.path().join("secret"));
            replace_by_link(&tree.join("lib/modules/6.1/modules.builtin"), &secrets.path().join("secret"));
        });
        let parts = parts.unwrap();
        assert!(parts.symbols.is_none() && parts.modules.is_none(), "{parts:?}");
        for (name, target) in [("lib/modules/6.1", "modules/6.1"), ("lib/modules", "modules")] {
            let parts = parts_of_package(|tree| replace_by_link(&tree.join(name), &secrets.path().join(target)));
            assert!(parts.unwrap().modules.is_none(), "{name}");
        }
    }
}
