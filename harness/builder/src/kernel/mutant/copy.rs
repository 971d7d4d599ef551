//! Copies a build tree so that make considers the copy its own work.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use xshell::cmd;

use super::error::MutationError;
use crate::{
    command,
    file::{self, FileError},
    kernel::build::BuildTree,
};

/// Copies a build tree: the source as hard links, the objects as new files that refer to `target` as their folder.
pub(super) fn copy(original: &BuildTree, into: &Path, target: &Path) -> Result<(), MutationError> {
    let cp = |options: &[&str], from: &Path, to: &str| {
        let to = into.join(to);
        command::output(|shell| cmd!(shell, "cp --archive --no-target-directory {options...} {from} {to}")).map(drop)
    };
    if cp(&["--link"], &original.source, "source").is_err() {
        // The source is on another file system than the cache.
        cp(&[], &original.source, "source")?;
    }
    cp(&[], &original.objects, "objects")?;
    relocate(&into.join("objects"), [&original.source, &original.objects], target)
}

/// Rewrites the paths in the commands that make compares: with other paths it would recompile everything.
fn relocate(objects: &Path, [source, old_objects]: [&Path; 2], target: &Path) -> Result<(), MutationError> {
    let shown = |path: &Path| path.display().to_string();
    let [source, new_source] = [shown(source), shown(&target.join("source"))];
    let [old_objects, new_objects] = [shown(old_objects), shown(&target.join("objects"))];
    let moved = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "cmd") || *path == objects.join("Makefile")
    };
    for path in files_below(objects)?.into_iter().filter(moved) {
        let bytes = file::read(&path)?;
        let text = String::from_utf8_lossy(&bytes).replace(&source, &new_source).replace(&old_objects, &new_objects);
        file::write(&path, text)?;
    }
    let link = objects.join("source");
    if link.is_symlink() {
        remove_if_there(&link)?;
        std::os::unix::fs::symlink(&new_source, &link).map_err(FileError::of("link", &link))?;
    }
    Ok(())
}

/// Removes a file. A missing one is not an error.
pub(super) fn remove_if_there(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::of("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Lists all files below a folder without following links; none if it does not exist.
pub(super) fn files_below(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut files = Vec::new();
    if folder.exists() {
        for entry in file::below(folder) {
            let entry = entry?;
            files.extend(entry.file_type().is_file().then(|| entry.into_path()));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_make_compares_is_rewritten() {
        let folder = tempfile::tempdir().unwrap();
        let objects = folder.path().join("objects");
        fs::create_dir_all(objects.join("kernel")).unwrap();
        let files = ["Makefile", "kernel/.token.o.cmd", "kernel/token.o"];
        for name in files {
            fs::write(objects.join(name), "cc -I/old/source/include -o /old/objects/x").unwrap();
        }
        std::os::unix::fs::symlink("/old/source", objects.join("source")).unwrap();
        relocate(&objects, [Path::new("/old/source"), Path::new("/old/objects")], Path::new("/new")).unwrap();
        let texts = files.map(|name| fs::read_to_string(objects.join(name)).unwrap());
        let moved = "cc -I/new/source/include -o /new/objects/x";
        assert_eq!(texts, [moved, moved, "cc -I/old/source/include -o /old/objects/x"]);
        assert_eq!(fs::read_link(objects.join("source")).unwrap(), Path::new("/new/source"));
    }
}
