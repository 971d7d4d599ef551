//! Files that are read by their path: each input is written to a fresh file, or to the same file of one folder.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use tempfile::TempDir;

/// A folder of this process, and what fills it.
pub struct Folder(OnceLock<TempDir>, fn(&Path));

impl Folder {
    /// A folder that `fill` fills when it is first used.
    pub const fn new(fill: fn(&Path)) -> Self {
        Self(OnceLock::new(), fill)
    }

    /// Writes an input to a file of the folder.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let folder = self.0.get_or_init(|| {
            let folder = tempfile::tempdir().expect("a folder can be made");
            self.1(folder.path());
            folder
        });
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("a file can be written");
        path
    }
}

/// Links folders of the repository into a folder.
pub fn link(folder: &Path, what: &str, names: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(what);
    for name in names {
        std::os::unix::fs::symlink(root.join(name), folder.join(name)).expect("a link can be made");
    }
}

/// Checks that nothing but plain files and folders is in a folder, and empties it.
///
/// # Panics
/// If there is anything else.
pub fn check_plain(folder: &Path) {
    for entry in fs::read_dir(folder).expect("it can be read") {
        let entry = entry.expect("it can be read");
        let kind = entry.file_type().expect("it has a kind");
        if kind.is_dir() {
            check_plain(&entry.path());
            fs::remove_dir(entry.path()).expect("it is empty");
        } else {
            assert!(kind.is_file(), "{entry:?}");
            fs::remove_file(entry.path()).expect("it can be removed");
        }
    }
}
