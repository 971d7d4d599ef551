//! Programs of this machine.

use std::{
    env,
    ffi::OsStr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Returns the program of this name in the first of the folders of `path` that has one; `path` is written like the variable
/// `PATH`.
pub fn find_program(path: &OsStr, name: &str) -> Option<PathBuf> {
    env::split_paths(path).map(|folder| folder.join(name)).find(|file| is_program(file))
}

/// Whether a path leads to a file that somebody may execute.
pub fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_first_file_that_can_be_executed_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let [plain, empty, good] = ["plain", "empty", "good"].map(|name| folder.path().join(name));
        [&plain, &empty, &good].into_iter().for_each(|folder| fs::create_dir(folder).unwrap());
        fs::write(plain.join("tool"), "").unwrap();
        fs::write(good.join("tool"), "").unwrap();
        fs::set_permissions(good.join("tool"), fs::Permissions::from_mode(0o755)).unwrap();
        let path = env::join_paths([&plain, &empty, &good]).unwrap();
        assert_eq!(find_program(&path, "tool"), Some(good.join("tool")));
        assert_eq!(find_program(&path, "other"), None);
        assert!(!is_program(&plain.join("tool")) && !is_program(&good));
    }
}
