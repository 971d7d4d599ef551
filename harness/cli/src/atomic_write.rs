//! Replaces files atomically: a reader sees the old text or the new one, never a part.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use harness_builder::file;

/// Checks that a file can be replaced, without changing it.
pub fn check(path: &Path) -> Result<()> {
    match destination(path) {
        Destination::File(path) => file::partial(&path).map(drop),
        Destination::Folder => Err(io::Error::from(io::ErrorKind::IsADirectory)),
        Destination::Device => fs::OpenOptions::new().write(true).open(path).map(drop),
    }
    .with_context(|| advice(path))
}

/// Replaces a file. Anything else, such as a pipe or `/dev/null`, is written to.
pub fn write(path: &Path, text: &str) -> Result<()> {
    match destination(path) {
        Destination::File(path) => file::replace(&path, text),
        Destination::Folder => Err(io::Error::from(io::ErrorKind::IsADirectory)),
        Destination::Device => {
            fs::OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(text.as_bytes()))
        }
    }
    .with_context(|| advice(path))
}

fn advice(path: &Path) -> String {
    format!("cannot write {}; name a file in a writable directory with free space", path.display())
}

/// What a path leads to.
enum Destination {
    /// A file or nothing, with links resolved: the target of a link is replaced.
    File(PathBuf),
    Folder,
    Device,
}

fn destination(path: &Path) -> Destination {
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
    fn a_file_is_replaced_without_leftovers() {
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
        insta::assert_snapshot!(error, @r#"cannot write /dev/full; name a file in a writable directory with free space: No space left on device (os error 28)"#);
    }

    #[test]
    fn errors_name_the_file_that_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut text = String::new();
        for path in [folder.path().join("none/a.xml"), folder.path().to_owned()] {
            let error = format!("{:#}", check(&path).unwrap_err());
            assert_eq!(error, format!("{:#}", write(&path, "x").unwrap_err()));
            text += &error.replace(&folder.path().display().to_string(), "FOLDER");
            text.push('\n');
        }
        insta::assert_snapshot!(text, @r#"
        cannot write FOLDER/none/a.xml; name a file in a writable directory with free space: No such file or directory (os error 2)
        cannot write FOLDER; name a file in a writable directory with free space: is a directory
        "#);
    }
}
