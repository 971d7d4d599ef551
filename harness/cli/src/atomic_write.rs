//! Files that are replaced whole: a reader sees the old text or the new one, never half of one.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use harness_builder::file;

/// Looks whether a file can be replaced, and changes nothing.
pub fn check(path: &Path) -> Result<()> {
    match place(path) {
        Destination::File(path) => file::partial(&path).map(drop),
        Destination::Folder => Err(io::Error::from(io::ErrorKind::IsADirectory)),
        Destination::Device => fs::OpenOptions::new().write(true).open(path).map(drop),
    }
    .with_context(|| advice(path))
}

/// Replaces a file. What is no file, such as a pipe or `/dev/null`, is written to.
pub fn write(path: &Path, text: &str) -> Result<()> {
    match place(path) {
        Destination::File(path) => file::replace(&path, text),
        Destination::Folder => Err(io::Error::from(io::ErrorKind::IsADirectory)),
        Destination::Device => {
            fs::OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(text.as_bytes()))
        }
    }
    .with_context(|| advice(path))
}

fn advice(path: &Path) -> String {
    format!("cannot write {}; name a file in a folder that can be written and has space", path.display())
}

/// What there is where a file is to be.
enum Destination {
    /// A file or nothing, links followed: what is replaced is what a link leads to.
    File(PathBuf),
    Folder,
    Device,
}

fn place(path: &Path) -> Destination {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Destination::Folder,
        Ok(found) if !found.is_file() => Destination::Device,
        _ => Destination::File(fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.xml");
        check(&path).unwrap();
        assert!(!path.exists());
        for text in ["a long text", "short"] {
            write(&path, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_stays_and_its_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write(&link, "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn a_device_is_written_and_not_replaced() {
        write(Path::new("/dev/null"), "x").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        let error = format!("{:#}", write(Path::new("/dev/full"), "x").unwrap_err());
        assert!(error.contains("cannot write /dev/full"), "{error}");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named_before_and_after() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().join("none/a.xml"), folder.path().to_owned()] {
            for result in [check(&path), write(&path, "x")] {
                let error = format!("{:#}", result.unwrap_err());
                assert!(error.contains(&path.display().to_string()), "{error}");
            }
        }
    }
}
