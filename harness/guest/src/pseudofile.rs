//! The kernel's text files in `/proc`, `/sys` and the like: read whole, written in one call.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags};

use crate::error::{During, SysError};

/// The longest file read here, in bytes; `/proc/self/mountinfo` of a busy system comes closest.
const LONGEST: usize = 4 * 1024 * 1024;

/// Opens a file for reading.
pub(crate) fn open(path: &str) -> Result<OwnedFd, SysError> {
    open_at(CWD, path, OFlags::RDONLY)
}

/// Opens a file below a directory.
pub(crate) fn open_at(folder: impl AsFd, path: &str, flags: OFlags) -> Result<OwnedFd, SysError> {
    rustix::fs::openat(folder, path, flags | OFlags::CLOEXEC, Mode::empty()).during(|| format!("open {path}"))
}

/// Opens a directory below another directory.
pub(crate) fn open_folder(folder: impl AsFd, path: &str) -> Result<OwnedFd, SysError> {
    open_at(folder, path, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Lists a directory, each name with its file type; errors call the directory `what`.
pub(crate) fn entries(of: impl AsFd, what: &str) -> Result<Vec<(String, FileType)>, SysError> {
    let mut found = Vec::new();
    for entry in Dir::read_from(of).during(|| format!("open {what}"))? {
        let entry = entry.during(|| format!("read {what}"))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            found.push((name, entry.file_type()));
        }
    }
    Ok(found)
}

/// Lists the directories in a directory.
pub(crate) fn folders(of: impl AsFd, what: &str) -> Result<Vec<String>, SysError> {
    let entries = entries(of, what)?.into_iter().filter(|(_, kind)| *kind == FileType::Directory);
    Ok(entries.map(|(name, _)| name).collect())
}

/// Reads a file.
pub(crate) fn read(path: &str) -> Result<String, SysError> {
    read_at(CWD, path)
}

/// Reads a file below a directory.
pub(crate) fn read_at(folder: impl AsFd, path: &str) -> Result<String, SysError> {
    let file = open_at(folder, path, OFlags::RDONLY)?;
    let mut bytes = Vec::with_capacity(4096);
    while bytes.len() < LONGEST {
        bytes.reserve(4096);
        let read =
            rustix::io::read(&file, rustix::buffer::spare_capacity(&mut bytes)).during(|| format!("read {path}"))?;
        if read == 0 {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Writes a file in a single `write(2)`, as kernel settings require.
pub(crate) fn write(path: &str, text: &str) -> Result<(), SysError> {
    write_at(CWD, path, text)
}

/// Writes a file below a directory in a single `write(2)`.
pub(crate) fn write_at(folder: impl AsFd, path: &str, text: &str) -> Result<(), SysError> {
    let file = open_at(folder, path, OFlags::WRONLY)?;
    rustix::io::write(&file, text.as_bytes()).during(|| format!("write {path}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_whole_files_and_names_missing_ones() {
        assert!(read("/proc/self/mountinfo").unwrap().ends_with('\n'));
        assert_eq!(read("/proc/no-such").unwrap_err().to_string(), "open /proc/no-such: ENOENT");
        assert_eq!(write("/proc/no-such", "1").unwrap_err().to_string(), "open /proc/no-such: ENOENT");
    }
}
