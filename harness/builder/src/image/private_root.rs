//! The root folder of one guest: a copy of an image that it may write to.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use thiserror::Error;
use walkdir::{DirEntry, WalkDir};

use super::Image;
use crate::{file, guest_program::GuestProgram};

/// The path of the guest program in the guest.
pub const GUEST_PROGRAM: &str = "/usr/bin/bpf-token-guest";

/// The path where `vmtest`'s init script finds the guest agent.
const AGENT: &str = "usr/bin/qemu-ga";
/// The path of init, the same program, as the first process.
const INIT: &str = "usr/bin/init";

/// The mount options of the root.
///
/// `cache=loose` lets the guest cache what it read: with `vmtest`'s `cache=mmap` it reads a program again over 9p for
/// each start (Documentation/filesystems/9p.rst). Nobody else writes to the folder while the guest runs. 512,000 bytes
/// is the largest message of the virtio transport (net/9p/trans_virtio.c).
const ROOT_FLAGS: &str = "rootflags=trans=virtio,cache=loose,msize=512000";

/// The kernel argument that makes the guest's init start a shell on the console.
pub const SHELL_ARGUMENT: &str = "harness.shell";

/// A copy could not be made.
#[derive(Debug, Error)]
#[error("cannot copy {} to {} for the guest", from.display(), to.display())]
pub struct CopyError {
    from: PathBuf,
    to: PathBuf,
    source: io::Error,
}

/// The root folder of one guest. Dropping this value does not remove the folder: its creator does.
#[derive(Debug)]
pub struct PrivateRoot {
    path: PathBuf,
}

impl PrivateRoot {
    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Image {
    /// Returns the kernel arguments for a [`PrivateRoot`] of this image, to follow those of `vmtest`.
    pub fn kernel_arguments(&self) -> Vec<String> {
        let (init, arguments) = match &self.boot {
            Some(boot) => (boot.init.to_string(), boot.arguments.as_slice()),
            None => (INIT.to_owned(), [].as_slice()),
        };
        [ROOT_FLAGS.to_owned(), format!("init=/{init}")].into_iter().chain(arguments.iter().cloned()).collect()
    }

    /// Returns the command that starts the guest program in a guest of this image; its arguments follow.
    pub fn guest_command(&self) -> String {
        match self.boot.as_ref().and_then(|boot| boot.wrapper.as_ref()) {
            Some(wrapper) => format!("/{wrapper} {GUEST_PROGRAM}"),
            None => GUEST_PROGRAM.to_owned(),
        }
    }

    /// Copies this image to `into`, which must not exist, for programs in it that run without a VM.
    ///
    /// # Errors
    /// [`CopyError`] if it cannot be copied.
    pub fn copy(&self, into: &Path) -> Result<(), CopyError> {
        copy(&self.folder, into)
    }

    /// Copies this image to `into`, which must not exist, and adds the guest programs.
    ///
    /// Clones files where the file system supports it, and copies them elsewhere. Never makes hard links: a guest that
    /// writes to its `bash` would write to that of every guest.
    pub fn private_copy(&self, program: &GuestProgram, into: &Path) -> Result<PrivateRoot, CopyError> {
        copy(&self.folder, into)?;
        copy(&program.path(), &into.join(GUEST_PROGRAM.trim_start_matches('/')))?;
        copy(&program.init(), &into.join(AGENT))?;
        if self.boot.is_none() {
            let init = into.join(INIT);
            symlink("qemu-ga", &init).map_err(|source| CopyError { from: into.join(AGENT), to: init, source })?;
        }
        Ok(PrivateRoot { path: into.to_owned() })
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), CopyError> {
    for entry in WalkDir::new(from).follow_root_links(false) {
        let entry = entry.map_err(|error| {
            let (path, source) = file::walked(from, error);
            let to = to.join(path.strip_prefix(from).unwrap_or(&path));
            CopyError { from: path, to, source }
        })?;
        let name = entry.path().strip_prefix(from).unwrap_or(entry.path());
        // A trailing slash would make the path a folder.
        let target = if entry.depth() == 0 { to.to_owned() } else { to.join(name) };
        copy_one(&entry, &target).map_err(|source| CopyError { from: entry.path().to_owned(), to: target, source })?;
    }
    Ok(())
}

fn copy_one(entry: &DirEntry, to: &Path) -> io::Result<()> {
    match entry.file_type() {
        kind if kind.is_symlink() => symlink(fs::read_link(entry.path())?, to),
        kind if kind.is_file() => fs::copy(entry.path(), to).map(drop),
        _ => fs::create_dir(to).and_then(|()| fs::set_permissions(to, entry.metadata()?.permissions())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{super::Boot, *};

    fn image(folder: &Path) -> Image {
        let root = folder.join("image");
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::write(root.join("usr/bin/bash"), "bash").unwrap();
        fs::set_permissions(root.join("usr/bin/bash"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("usr/bin", root.join("bin")).unwrap();
        symlink("/nowhere", root.join("dangling")).unwrap();
        Image { name: "test".parse().unwrap(), key: "k".into(), folder: root, boot: None, replaced: Vec::new() }
    }

    fn program(folder: &Path) -> GuestProgram {
        let programs = folder.join("programs");
        fs::create_dir(&programs).unwrap();
        fs::write(programs.join("harness-guest"), "guest").unwrap();
        fs::write(programs.join("harness-init"), "agent").unwrap();
        GuestProgram::in_folder(programs).unwrap()
    }

    #[test]
    fn a_copy_has_the_image_and_the_guest_programs() {
        let folder = tempfile::tempdir().unwrap();
        let root = image(folder.path()).private_copy(&program(folder.path()), &folder.path().join("copy")).unwrap();
        let read = |path: &str| fs::read_to_string(root.path().join(path)).unwrap();
        assert_eq!(read("bin/bash"), "bash");
        assert_eq!(read(GUEST_PROGRAM.trim_start_matches('/')), "guest");
        assert_eq!((read("usr/bin/qemu-ga"), read("usr/bin/init")), ("agent".into(), "agent".into()));
        assert_eq!(fs::read_link(root.path().join("dangling")).unwrap(), Path::new("/nowhere"));
        let mode = fs::metadata(root.path().join("usr/bin/bash")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
    }

    #[test]
    fn an_images_own_init_is_started_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let minimal = image(folder.path());
        assert_eq!(minimal.kernel_arguments()[1..], ["init=/usr/bin/init"]);
        assert_eq!(minimal.guest_command(), GUEST_PROGRAM);
        let path = |text: &str| text.to_owned().try_into().unwrap();
        let (init, arguments) = (path("sbin/init"), vec!["quiet".to_owned()]);
        let boot = Some(Boot { init, arguments, wrapper: Some(path("usr/bin/apart")) });
        let own = Image { boot, ..minimal };
        assert_eq!(own.kernel_arguments()[1..], ["init=/sbin/init", "quiet"]);
        assert_eq!(own.guest_command(), "/usr/bin/apart /usr/bin/bpf-token-guest");
        let root = own.private_copy(&program(folder.path()), &folder.path().join("copy")).unwrap();
        assert!(!root.path().join("usr/bin/init").exists() && root.path().join("usr/bin/qemu-ga").exists());
    }

    #[test]
    fn writing_to_a_copy_leaves_the_image_and_the_programs_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let (image, program) = (image(folder.path()), program(folder.path()));
        let root = image.private_copy(&program, &folder.path().join("copy")).unwrap();
        for path in ["usr/bin/bash", "usr/bin/bpf-token-guest", "usr/bin/qemu-ga"] {
            fs::write(root.path().join(path), "overwritten").unwrap();
        }
        fs::remove_dir_all(root.path()).unwrap();
        assert_eq!(fs::read_to_string(image.folder.join("usr/bin/bash")).unwrap(), "bash");
        assert_eq!(fs::read_to_string(program.path()).unwrap(), "guest");
        assert_eq!(fs::read_to_string(program.init()).unwrap(), "agent");
    }

    #[test]
    fn an_existing_folder_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let (image, program) = (image(folder.path()), program(folder.path()));
        let error = image.private_copy(&program, folder.path()).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AlreadyExists);
        let message = error.to_string().replace(folder.path().to_str().unwrap(), "/FOLDER");
        insta::assert_snapshot!(message, @"cannot copy /FOLDER/image to /FOLDER for the guest");
    }
}
