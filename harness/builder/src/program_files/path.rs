//! Paths of the host as a guest gets them.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

/// Returns the absolute path by which a file was asked for, without `.` and `..`; where a `..` follows a link, so that leaving
/// it out would name another file, the place where the file really is.
pub(super) fn asked(path: &Path, real: &Path) -> io::Result<PathBuf> {
    let mut shorter = PathBuf::new();
    for part in std::path::absolute(path)?.components() {
        match part {
            Component::ParentDir => drop(shorter.pop()),
            part => shorter.push(part),
        }
    }
    let same = fs::canonicalize(&shorter).is_ok_and(|found| found == real);
    Ok(if same { shorter } else { real.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_is_shortened_only_if_it_still_leads_to_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::write(top.join("a/file"), "").unwrap();
        symlink("a/b", top.join("link")).unwrap();
        let asked = |path: &str| {
            let path = top.join(path);
            asked(&path, &path.canonicalize().unwrap()).unwrap().strip_prefix(&top).unwrap().to_owned()
        };
        assert_eq!(asked("a/b/../file"), Path::new("a/file"));
        assert_eq!(asked("./a/./file"), Path::new("a/file"));
        assert_eq!(asked("link/../file"), Path::new("a/file"), "`..` leaves what the link leads to");
        assert_eq!(asked("link"), Path::new("link"));
    }
}
