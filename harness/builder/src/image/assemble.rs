//! Assembles an image from the files of packages.

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

/// Makes the image of `manifest` in the empty folder `root`. `archives` are its package files, in the order of the
/// manifest.
///
/// Symbolic links come before packages, so that one of a folder, such as `lib` to `usr/lib`, applies to their files.
/// Texts come last, and replace files of packages.
pub(super) fn assemble(
    manifest: &Manifest,
    archives: &[PathBuf],
    root: &Path,
    task: &Task,
) -> Result<(), AssembleError> {
    let tree = Tree::of(root)?;
    manifest.folders().try_for_each(|folder| tree.folder(folder).map(drop))?;
    manifest.symlinks().try_for_each(|(guest_path, target)| tree.symlink(guest_path, Path::new(target)))?;
    let mut archives = archives.iter();
    for layer in manifest.layers() {
        take_all(manifest, layer, &mut archives, tree, task)?;
    }
    manifest.texts().try_for_each(|(guest_path, text)| tree.text(guest_path, text))
}

/// Takes what a layer wants from its package files, which are the next ones of `archives`.
fn take_all<'a>(
    manifest: &Manifest,
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
        take_folder(manifest, archive, unpacked.path(), tree)?;
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

/// Takes the wanted files from a package, and adds its links.
fn take_files(package: &Package, archive: &Path, tree: Tree<'_>) -> Result<(), AssembleError> {
    let unpacked = unpack(archive)?;
    for (file, guest_path) in &package.files {
        let from = mirror::open_plain(unpacked.path(), file.as_path()).map_err(|source| {
            let (package, file) = (package.name.clone(), file.to_string());
            AssembleError::NoSuchFile { package, file, archive: archive.to_owned(), source }
        })?;
        tree.copy(from, guest_path.as_path())?;
    }
    package.link_paths().try_for_each(|(link, target)| tree.symlink(&link, target))
}

/// Takes all files of an unpacked package, except those that the manifest leaves out.
fn take_folder(manifest: &Manifest, archive: &Path, unpacked: &Path, tree: Tree<'_>) -> Result<(), AssembleError> {
    let path_of = |path: &Path| path.strip_prefix(unpacked).unwrap_or(path).to_owned();
    let entries = WalkDir::new(unpacked).min_depth(1).into_iter();
    for entry in entries.filter_entry(|entry| !manifest.leaves_out(&path_of(entry.path()))) {
        let entry = entry.map_err(|error| walking(unpacked, error))?;
        let (from, guest_path) = (entry.path(), path_of(entry.path()));
        match entry.file_type() {
            kind if kind.is_dir() => tree.folder(&guest_path).map(drop)?,
            kind if kind.is_file() => {
                tree.copy(mirror::open_plain(unpacked, &guest_path).map_err(making(from))?, &guest_path)?;
            }
            kind if kind.is_symlink() => tree.symlink(&guest_path, &fs::read_link(from).map_err(making(from))?)?,
            _ => {
                let (archive, guest_path) = (archive.to_owned(), guest_path.display().to_string());
                return Err(AssembleError::Unusual { archive, guest_path });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, process::Command};

    use super::*;
    use crate::{
        digest::Sha256,
        file,
        progress::{Progress, Unit},
    };

    /// Makes a package with one executable and one data file.
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
        build(folder)
    }

    /// Makes the package of the files in `tree`.
    fn build(folder: &Path) -> PathBuf {
        let archive = folder.join("p.deb");
        let built = Command::new("dpkg-deb").arg("--build").arg(folder.join("tree")).arg(&archive).output().unwrap();
        assert!(built.status.success(), "{built:?}");
        archive
    }

    fn manifest(folder: &Path, files: &str) -> Manifest {
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
        let (archive, manifest) = (package(folder.path()), manifest(folder.path(), files));
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        let task = Progress::silent().task("t", Unit::Things("packages"), None);
        let result = assemble(&manifest, &[archive], &root, &task);
        (folder, result)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn an_image_has_what_its_manifest_names_and_nothing_else() {
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
    fn every_user_of_the_guest_can_read_every_folder() {
        let (folder, result) = assembled("\"usr/bin/tool\" = \"deep/er/program\"");
        result.unwrap();
        for path in ["root", "root/a", "root/a/b", "root/deep", "root/deep/er", "root/etc"] {
            assert_eq!(mode(&folder.path().join(path)), crate::root_folder::MODE, "{path}");
        }
    }

    #[test]
    fn a_file_the_package_lacks_is_named() {
        let (folder, result) = assembled("\"usr/bin/nothing\" = \"x\"");
        let message = result.unwrap_err().to_string().replace(folder.path().to_str().unwrap(), "/FOLDER");
        insta::assert_snapshot!(message, @"p has no plain file usr/bin/nothing (links are not followed); `dpkg-deb --contents /FOLDER/p.deb` lists its files");
    }

    #[test]
    fn a_link_of_the_package_leads_to_no_file_of_this_machine() {
        let secret = tempfile::NamedTempFile::new().unwrap();
        let (shared, name) = (secret.path().parent().unwrap(), secret.path().file_name().unwrap().to_str().unwrap());
        for (link, target, wanted) in
            [("usr/bin/tool", secret.path(), "usr/bin/tool".to_owned()), ("usr/bin", shared, format!("usr/bin/{name}"))]
        {
            let folder = tempfile::tempdir().unwrap();
            package(folder.path());
            let path = folder.path().join("tree").join(link);
            file::remove(&path).unwrap();
            std::os::unix::fs::symlink(target, path).unwrap();
            let (archive, manifest) =
                (build(folder.path()), manifest(folder.path(), &format!("{wanted:?} = \"taken\"")));
            let root = folder.path().join("root");
            fs::create_dir(&root).unwrap();
            let task = Progress::silent().task("t", Unit::Things("packages"), None);
            let result = assemble(&manifest, &[archive], &root, &task);
            assert!(matches!(result, Err(AssembleError::NoSuchFile { .. })), "{link}: {result:?}");
        }
    }

    #[test]
    fn a_broken_package_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = manifest(folder.path(), "\"usr/bin/tool\" = \"x\"");
        let archive = folder.path().join("cut-short.deb");
        fs::write(&archive, "!<arch>\n").unwrap();
        let task = Progress::silent().task("t", Unit::Things("packages"), None);
        let error = assemble(&manifest, &[archive], &folder.path().join("."), &task).unwrap_err();
        let message = error.to_string().replace(folder.path().to_str().unwrap(), "/FOLDER");
        insta::assert_snapshot!(message, @"cannot unpack /FOLDER/cut-short.deb");
    }

    #[test]
    fn a_whole_package_is_taken_except_for_what_is_left_out() {
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
             [symlinks]\nlib = \"usr/lib\"\n[texts]\n\"etc/motd\" = \"of the manifest\"\n\
             [pinned]\np = {{ version = \"1\", sha256 = \"{sum}\" }}\n"
        );
        let path = folder.path().join("whole.toml");
        fs::write(&path, text).unwrap();
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        let task = Progress::silent().task("t", Unit::Things("packages"), None);
        assemble(&Manifest::read(&path).unwrap(), &[archive], &root, &task).unwrap();
        assert_eq!(fs::read_to_string(root.join("usr/lib/deep/library.so")).unwrap(), "l");
        assert_eq!(fs::read_to_string(root.join("etc/motd")).unwrap(), "of the manifest");
        assert_eq!(fs::read_link(root.join("usr/share/link")).unwrap(), Path::new("/etc/motd"));
        assert_eq!(mode(&root.join("usr/bin/tool")), 0o755);
        assert!(!root.join("usr/share/doc").exists() && root.join("lib").is_symlink());
    }
}
