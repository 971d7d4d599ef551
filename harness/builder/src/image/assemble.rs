//! Puts files of packages together as a recipe says.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use thiserror::Error;

use super::recipe::{Package, Recipe};
use crate::{
    command::{self, CommandError},
    progress::Task,
};

/// Everyone in the guest may look into every folder, whatever the umask of who built the image.
const FOLDER_MODE: u32 = 0o755;

/// Why packages could not be put together.
#[derive(Debug, Error)]
pub enum AssembleError {
    /// A package file could not be unpacked.
    #[error("cannot unpack {}", package.display())]
    Unpack {
        /// The package file.
        package: PathBuf,
        /// What the program said.
        source: CommandError,
    },
    /// A package has no such file.
    #[error("{package} has no file {file}: `dpkg-deb --contents {}` lists what it has", archive.display())]
    NoSuchFile {
        /// The package.
        package: String,
        /// What the recipe wants of it.
        file: String,
        /// The package file.
        archive: PathBuf,
    },
    /// A file operation failed.
    #[error("cannot make {}", path.display())]
    Make {
        /// What was to be made.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn making(path: &Path) -> impl FnOnce(io::Error) -> AssembleError {
    move |source| AssembleError::Make { path: path.to_owned(), source }
}

/// Makes the image of `recipe` in the empty folder `root`. `archives` are its package files, in its order.
pub(super) fn assemble(recipe: &Recipe, archives: &[PathBuf], root: &Path, task: &Task) -> Result<(), AssembleError> {
    open_to_all(root)?;
    for folder in recipe.folders() {
        make_folder(root, folder)?;
    }
    for (package, archive) in recipe.packages().iter().zip(archives) {
        task.detail(&package.name);
        take(package, archive, root)?;
        task.advance(1);
    }
    for (place, target) in recipe.symlinks() {
        make_symlink(root, place, Path::new(target))?;
    }
    for (place, text) in recipe.texts() {
        write_text(root, place, text)?;
    }
    Ok(())
}

fn open_to_all(folder: &Path) -> Result<(), AssembleError> {
    fs::set_permissions(folder, fs::Permissions::from_mode(FOLDER_MODE)).map_err(making(folder))
}

/// Makes a folder and those above it, up to the root.
fn make_folder(root: &Path, folder: &Path) -> Result<(), AssembleError> {
    let mut path = root.to_owned();
    for part in folder {
        path.push(part);
        if !path.is_dir() {
            fs::create_dir(&path).map_err(making(&path))?;
            open_to_all(&path)?;
        }
    }
    Ok(())
}

fn make_folder_of(root: &Path, place: &Path) -> Result<(), AssembleError> {
    place.parent().map_or(Ok(()), |folder| make_folder(root, folder))
}

/// Takes the wanted files out of a package, and adds its links.
fn take(package: &Package, archive: &Path, root: &Path) -> Result<(), AssembleError> {
    let unpacked = tempfile::tempdir().map_err(making(Path::new("a temporary folder")))?;
    let mut dpkg = Command::new("dpkg-deb");
    command::output(dpkg.arg("--extract").arg(archive).arg(unpacked.path()))
        .map_err(|source| AssembleError::Unpack { package: archive.to_owned(), source })?;
    for (file, place) in &package.files {
        let (from, to) = (unpacked.path().join(file.as_path()), root.join(place.as_path()));
        if !from.is_file() {
            let (package, file) = (package.name.clone(), file.to_string());
            return Err(AssembleError::NoSuchFile { package, file, archive: archive.to_owned() });
        }
        make_folder_of(root, place.as_path())?;
        fs::copy(&from, &to).map_err(making(&to))?;
    }
    package.link_places().try_for_each(|(link, target)| make_symlink(root, &link, target))
}

fn make_symlink(root: &Path, place: &Path, target: &Path) -> Result<(), AssembleError> {
    make_folder_of(root, place)?;
    let path = root.join(place);
    symlink(target, &path).map_err(making(&path))
}

fn write_text(root: &Path, place: &Path, text: &str) -> Result<(), AssembleError> {
    make_folder_of(root, place)?;
    let path = root.join(place);
    fs::write(&path, text).map_err(making(&path))?;
    let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(making(&path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        digest::Sha256,
        progress::{Progress, Unit},
    };

    /// A package with one executable and one data file.
    fn package(folder: &Path) -> PathBuf {
        let tree = folder.join("tree");
        for (file, text) in [
            ("DEBIAN/control", "Package: p\nVersion: 1\nArchitecture: all\nMaintainer: m\nDescription: d\n"),
            ("usr/bin/tool", "#!/bin/sh\n"),
            ("usr/share/data", "d"),
        ] {
            fs::create_dir_all(tree.join(file).parent().unwrap()).unwrap();
            fs::write(tree.join(file), text).unwrap();
        }
        fs::set_permissions(tree.join("usr/bin/tool"), fs::Permissions::from_mode(0o755)).unwrap();
        let archive = folder.join("p.deb");
        let built = Command::new("dpkg-deb").arg("--build").arg(&tree).arg(&archive).output().unwrap();
        assert!(built.status.success(), "{built:?}");
        archive
    }

    fn recipe(folder: &Path, files: &str) -> Recipe {
        let path = folder.join("test.toml");
        let sum = Sha256::of_parts([]);
        let text = format!(
            "summary = \"s\"\nsuite = \"trixie\"\nfolders = [\"proc\", \"a/b\"]\n\
             [[package]]\nname = \"p\"\nversion = \"1\"\nsha256 = \"{sum}\"\nfiles = {{ {files} }}\nlinks = [\"other\"]\n\
             [symlinks]\n\"bin\" = \"usr/bin\"\n\
             [texts]\n\"etc/motd\" = \"hello\"\n\"etc/run\" = \"#!/bin/sh\"\n"
        );
        fs::write(&path, text).unwrap();
        Recipe::read(&path).unwrap()
    }

    fn assembled(files: &str) -> (tempfile::TempDir, Result<(), AssembleError>) {
        let folder = tempfile::tempdir().unwrap();
        let (archive, recipe) = (package(folder.path()), recipe(folder.path(), files));
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        let task = Progress::silent().task("t", Unit::Things("packages"), None);
        let result = assemble(&recipe, &[archive], &root, &task);
        (folder, result)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn an_image_holds_what_its_recipe_says_and_nothing_else() {
        let (folder, result) = assembled("\"usr/bin/tool\" = \"usr/bin/program\"");
        result.unwrap();
        let root = folder.path().join("root");
        assert_eq!(mode(&root.join("usr/bin/program")), 0o755);
        assert_eq!(fs::read_link(root.join("usr/bin/other")).unwrap(), Path::new("program"));
        assert_eq!(fs::read_to_string(root.join("bin/other")).unwrap(), "#!/bin/sh\n");
        assert_eq!((mode(&root.join("etc/motd")), mode(&root.join("etc/run"))), (0o644, 0o755));
        assert!(root.join("proc").is_dir() && root.join("a/b").is_dir());
        assert!(!root.join("usr/share").exists(), "more was taken than asked for");
    }

    #[test]
    fn every_folder_is_open_to_the_guest_s_users() {
        let (folder, result) = assembled("\"usr/bin/tool\" = \"deep/er/program\"");
        result.unwrap();
        for path in ["root", "root/a", "root/a/b", "root/deep", "root/deep/er", "root/etc"] {
            assert_eq!(mode(&folder.path().join(path)), FOLDER_MODE, "{path}");
        }
    }

    #[test]
    fn a_file_the_package_lacks_is_named() {
        let (_folder, result) = assembled("\"usr/bin/nothing\" = \"x\"");
        let message = result.unwrap_err().to_string();
        assert!(message.starts_with("p has no file usr/bin/nothing: `dpkg-deb --contents"), "{message}");
    }

    #[test]
    fn a_broken_package_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = recipe(folder.path(), "\"usr/bin/tool\" = \"x\"");
        let archive = folder.path().join("cut-short.deb");
        fs::write(&archive, "!<arch>\n").unwrap();
        let task = Progress::silent().task("t", Unit::Things("packages"), None);
        let error = assemble(&recipe, &[archive], &folder.path().join("."), &task).unwrap_err();
        assert!(
            matches!(error, AssembleError::Unpack { .. }) && error.to_string().contains("cut-short.deb"),
            "{error}"
        );
    }
}
