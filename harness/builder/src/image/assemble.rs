//! Puts files of packages together as a recipe says.

mod error;
mod tree;

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use walkdir::WalkDir;

pub use self::error::AssembleError;
use self::{
    error::{making, walking},
    tree::Tree,
};
use super::manifest::{Layer, Manifest, Package};
use crate::{mirror, progress::Task};

/// Makes the image of `recipe` in the empty folder `root`. `archives` are its package files, in its order.
///
/// Symbolic links come before packages, so that one of a folder, such as `lib` to `usr/lib`, holds for what is in them;
/// texts come last, and replace what a package has there.
pub(super) fn assemble(recipe: &Manifest, archives: &[PathBuf], root: &Path, task: &Task) -> Result<(), AssembleError> {
    let tree = Tree::of(root)?;
    recipe.folders().try_for_each(|folder| tree.folder(folder).map(drop))?;
    recipe.symlinks().try_for_each(|(place, target)| tree.symlink(place, Path::new(target)))?;
    let mut archives = archives.iter();
    for layer in recipe.layers() {
        take_all(recipe, layer, &mut archives, tree, task)?;
    }
    recipe.texts().try_for_each(|(place, text)| tree.text(place, text))
}

/// Takes from the package files of a layer, the next ones of `archives`, what is wanted of them.
fn take_all<'a>(
    recipe: &Manifest,
    layer: &Layer,
    archives: &mut impl Iterator<Item = &'a PathBuf>,
    tree: Tree<'_>,
    task: &Task,
) -> Result<(), AssembleError> {
    for (package, archive) in layer.packages().iter().zip(archives.by_ref()) {
        task.detail(&package.name);
        take_files(package, archive, tree)?;
        task.advance(1);
    }
    for (name, archive) in layer.pinned().keys().zip(archives) {
        task.detail(name);
        let unpacked = unpack(archive)?;
        take_folder(recipe, archive, unpacked.path(), tree)?;
        task.advance(1);
    }
    Ok(())
}

fn unpack(archive: &Path) -> Result<TempDir, AssembleError> {
    let unpacked = tempfile::tempdir().map_err(making(Path::new("a temporary folder")))?;
    mirror::unpack(archive, unpacked.path())
        .map_err(|source| AssembleError::Unpack { package: archive.to_owned(), source })?;
    Ok(unpacked)
}

/// Takes the wanted files out of a package, and adds its links.
fn take_files(package: &Package, archive: &Path, tree: Tree<'_>) -> Result<(), AssembleError> {
    let unpacked = unpack(archive)?;
    for (file, place) in &package.files {
        let from = unpacked.path().join(file.as_path());
        if !from.is_file() {
            let (package, file) = (package.name.clone(), file.to_string());
            return Err(AssembleError::NoSuchFile { package, file, archive: archive.to_owned() });
        }
        tree.copy(&from, place.as_path())?;
    }
    package.link_places().try_for_each(|(link, target)| tree.symlink(&link, target))
}

/// Takes all of an unpacked package, but for what the recipe leaves out.
fn take_folder(recipe: &Manifest, archive: &Path, unpacked: &Path, tree: Tree<'_>) -> Result<(), AssembleError> {
    let place_of = |path: &Path| path.strip_prefix(unpacked).unwrap_or(path).to_owned();
    let entries = WalkDir::new(unpacked).min_depth(1).into_iter();
    for entry in entries.filter_entry(|entry| !recipe.leaves_out(&place_of(entry.path()))) {
        let entry = entry.map_err(|error| walking(unpacked, error))?;
        let (from, place) = (entry.path(), place_of(entry.path()));
        match entry.file_type() {
            kind if kind.is_dir() => tree.folder(&place).map(drop)?,
            kind if kind.is_file() => tree.copy(from, &place)?,
            kind if kind.is_symlink() => tree.symlink(&place, &fs::read_link(from).map_err(making(from))?)?,
            _ => {
                let (archive, place) = (archive.to_owned(), place.display().to_string());
                return Err(AssembleError::Unusual { archive, place });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, process::Command};

    use super::{tree::FOLDER_MODE, *};
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

    fn recipe(folder: &Path, files: &str) -> Manifest {
        let path = folder.join("test.toml");
        let sum = Sha256::of_parts([]);
        let text = format!(
            "summary = \"s\"\nsuite = \"trixie\"\nfolders = [\"proc\", \"a/b\"]\n\
             [[package]]\nname = \"p\"\nversion = \"1\"\nsha256 = \"{sum}\"\nfiles = {{ {files} }}\nlinks = [\"other\"]\n\
             [symlinks]\n\"bin\" = \"usr/bin\"\n\
             [texts]\n\"etc/motd\" = \"hello\"\n\"etc/run\" = \"#!/bin/sh\"\n"
        );
        fs::write(&path, text).unwrap();
        Manifest::read(&path).unwrap()
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

    #[test]
    fn a_whole_package_is_taken_but_for_what_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        fs::create_dir_all(tree.join("lib/deep")).unwrap();
        fs::create_dir_all(tree.join("usr/share/doc/p")).unwrap();
        fs::write(tree.join("usr/share/doc/p/copyright"), "c").unwrap();
        fs::write(tree.join("lib/deep/library.so"), "l").unwrap();
        fs::create_dir_all(tree.join("etc")).unwrap();
        fs::write(tree.join("etc/motd"), "of the package").unwrap();
        std::os::unix::fs::symlink("/etc/motd", tree.join("usr/share/link")).unwrap();
        let archive = package(folder.path());
        let sum = Sha256::of_parts([]);
        let text = format!(
            "summary = \"s\"\nsuite = \"trixie\"\ninstall = [\"p\"]\nwithout = [\"usr/share/doc\"]\n\
             [symlinks]\nlib = \"usr/lib\"\n[texts]\n\"etc/motd\" = \"of the recipe\"\n\
             [pinned]\np = {{ version = \"1\", sha256 = \"{sum}\" }}\n"
        );
        let path = folder.path().join("whole.toml");
        fs::write(&path, text).unwrap();
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        let task = Progress::silent().task("t", Unit::Things("packages"), None);
        assemble(&Manifest::read(&path).unwrap(), &[archive], &root, &task).unwrap();
        assert_eq!(fs::read_to_string(root.join("usr/lib/deep/library.so")).unwrap(), "l");
        assert_eq!(fs::read_to_string(root.join("etc/motd")).unwrap(), "of the recipe");
        assert_eq!(fs::read_link(root.join("usr/share/link")).unwrap(), Path::new("/etc/motd"));
        assert_eq!(mode(&root.join("usr/bin/tool")), 0o755);
        assert!(!root.join("usr/share/doc").exists() && root.join("lib").is_symlink());
    }
}
