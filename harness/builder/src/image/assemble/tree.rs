//! A folder that becomes a root: nothing is made outside of it, whatever symbolic links lie in it.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
};

use super::error::{AssembleError, making};

/// Everyone in the guest may look into every folder, whatever the umask of who built the image.
pub(super) const FOLDER_MODE: u32 = 0o755;

/// As many links as Linux follows on the way to a place (path_resolution(7)).
const LINKS: u32 = 40;

/// The folder of an image that is being made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tree<'a> {
    root: &'a Path,
}

impl<'a> Tree<'a> {
    pub(super) fn of(root: &'a Path) -> Result<Self, AssembleError> {
        set_mode(root, FOLDER_MODE).map_err(making(root))?;
        Ok(Self { root })
    }

    /// Makes a folder and those above it, and returns where it is. Links on the way are followed as the guest would.
    pub(super) fn folder(self, place: &Path) -> Result<PathBuf, AssembleError> {
        let mut at = PathBuf::new();
        let mut links = 0;
        let mut rest: Vec<OsString> = reversed(place);
        while let Some(part) = rest.pop() {
            if part == ".." {
                at.pop();
                continue;
            }
            let path = self.root.join(&at).join(&part);
            match fs::read_link(&path) {
                Ok(target) => {
                    links += 1;
                    if links > LINKS {
                        return Err(making(&path)(rustix::io::Errno::LOOP.into()));
                    }
                    if target.is_absolute() {
                        at.clear();
                    }
                    rest.extend(reversed(&target));
                }
                Err(_) => {
                    make_folder(&path).map_err(making(&path))?;
                    at.push(part);
                }
            }
        }
        Ok(self.root.join(at))
    }

    /// Where a file goes, its folder made; a file or link that is there already is removed.
    pub(super) fn place(self, place: &Path) -> Result<PathBuf, AssembleError> {
        let folder = self.folder(place.parent().unwrap_or(Path::new("")))?;
        let path = folder.join(place.file_name().unwrap_or_default());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(making(&path)(error)),
            _ => Ok(path),
        }
    }

    pub(super) fn copy(self, from: &Path, place: &Path) -> Result<(), AssembleError> {
        let to = self.place(place)?;
        fs::copy(from, &to).map(drop).map_err(making(&to))
    }

    pub(super) fn symlink(self, place: &Path, target: &Path) -> Result<(), AssembleError> {
        let path = self.place(place)?;
        symlink(target, &path).map_err(making(&path))
    }

    /// Writes a text; one that starts with `#!` can be executed.
    pub(super) fn text(self, place: &Path, text: &str) -> Result<(), AssembleError> {
        let path = self.place(place)?;
        let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
        fs::write(&path, text).and_then(|()| set_mode(&path, mode)).map_err(making(&path))
    }
}

/// The parts of a path that lead somewhere, the last one first.
fn reversed(path: &Path) -> Vec<OsString> {
    let meant = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::ParentDir);
    path.components().filter(meant).map(|part| part.as_os_str().to_owned()).rev().collect()
}

fn make_folder(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other.and_then(|()| set_mode(path, FOLDER_MODE)),
    }
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(test: impl FnOnce(Tree<'_>, &Path)) {
        let folder = tempfile::tempdir().unwrap();
        test(Tree::of(folder.path()).unwrap(), folder.path());
    }

    #[test]
    fn a_link_leads_nowhere_outside() {
        tree(|tree, root| {
            for (place, target) in [("abs", "/etc"), ("up", "../../.."), ("lib", "usr/lib")] {
                tree.symlink(Path::new(place), Path::new(target)).unwrap();
            }
            assert_eq!(tree.folder(Path::new("abs/a")).unwrap(), root.join("etc/a"));
            assert_eq!(tree.folder(Path::new("up/b")).unwrap(), root.join("b"));
            assert_eq!(tree.place(Path::new("lib/c/file")).unwrap(), root.join("usr/lib/c/file"));
        });
    }

    #[test]
    fn links_without_end_are_refused() {
        tree(|tree, _| {
            tree.symlink(Path::new("a"), Path::new("b")).unwrap();
            tree.symlink(Path::new("b"), Path::new("a")).unwrap();
            let AssembleError::Make { source, .. } = tree.folder(Path::new("a/x")).unwrap_err() else { panic!() };
            assert_eq!(source.raw_os_error(), Some(rustix::io::Errno::LOOP.raw_os_error()));
        });
    }

    #[test]
    fn a_file_replaces_a_link_and_not_what_it_leads_to() {
        tree(|tree, root| {
            tree.text(Path::new("bin/busybox"), "busybox").unwrap();
            tree.symlink(Path::new("bin/mount"), Path::new("busybox")).unwrap();
            tree.text(Path::new("bin/mount"), "mount").unwrap();
            assert_eq!(fs::read_to_string(root.join("bin/busybox")).unwrap(), "busybox");
            assert_eq!(fs::read_to_string(root.join("bin/mount")).unwrap(), "mount");
        });
    }

    #[test]
    fn a_file_is_no_folder() {
        tree(|tree, _| {
            tree.text(Path::new("a"), "").unwrap();
            assert!(matches!(tree.folder(Path::new("a/b")), Err(AssembleError::Make { .. })));
        });
    }
}
