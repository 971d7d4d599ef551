//! The folder that becomes a root file system: nothing is created outside it, whatever symbolic links it has.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use super::error::{AssembleError, making};
use crate::root_folder;

/// The folder of an image under construction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tree<'a> {
    root: &'a Path,
}

impl<'a> Tree<'a> {
    pub(super) fn of(root: &'a Path) -> Result<Self, AssembleError> {
        set_mode(root, root_folder::MODE).map_err(making(root))?;
        Ok(Self { root })
    }

    /// Creates a folder and its parents, and returns its path. Follows links on the way as the guest would.
    pub(super) fn folder(self, guest_path: &Path) -> Result<PathBuf, AssembleError> {
        root_folder::within(self.root, guest_path).map_err(|(path, error)| making(&path)(error))
    }

    /// Returns the path of a new file, with its folder created and any existing file or link removed.
    pub(super) fn destination(self, guest_path: &Path) -> Result<PathBuf, AssembleError> {
        let folder = self.folder(guest_path.parent().unwrap_or(Path::new("")))?;
        let path = folder.join(guest_path.file_name().unwrap_or_default());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(making(&path)(error)),
            _ => Ok(path),
        }
    }

    /// Copies a file with its permissions.
    pub(super) fn copy(self, mut from: File, guest_path: &Path) -> Result<(), AssembleError> {
        let to = self.destination(guest_path)?;
        let mut copy = || {
            let mut file = File::create_new(&to)?;
            file.set_permissions(from.metadata()?.permissions())?;
            io::copy(&mut from, &mut file)
        };
        copy().map(drop).map_err(making(&to))
    }

    pub(super) fn symlink(self, guest_path: &Path, target: &Path) -> Result<(), AssembleError> {
        let path = self.destination(guest_path)?;
        symlink(target, &path).map_err(making(&path))
    }

    /// Writes a text file; one that starts with `#!` is executable.
    pub(super) fn text(self, guest_path: &Path, text: &str) -> Result<(), AssembleError> {
        let path = self.destination(guest_path)?;
        let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
        fs::write(&path, text).and_then(|()| set_mode(&path, mode)).map_err(making(&path))
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
    fn links_stay_inside_the_root() {
        tree(|tree, root| {
            for (guest_path, target) in [("abs", "/etc"), ("up", "../../.."), ("lib", "usr/lib")] {
                tree.symlink(Path::new(guest_path), Path::new(target)).unwrap();
            }
            assert_eq!(tree.folder(Path::new("abs/a")).unwrap(), root.join("etc/a"));
            assert_eq!(tree.folder(Path::new("up/b")).unwrap(), root.join("b"));
            assert_eq!(tree.destination(Path::new("lib/c/file")).unwrap(), root.join("usr/lib/c/file"));
        });
    }

    #[test]
    fn circular_links_are_refused() {
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
    fn a_file_is_not_used_as_a_folder() {
        tree(|tree, _| {
            tree.text(Path::new("a"), "").unwrap();
            assert!(matches!(tree.folder(Path::new("a/b")), Err(AssembleError::Make { .. })));
        });
    }
}
