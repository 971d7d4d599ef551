//! Why the files of a program cannot be collected.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{LARGEST, MOST};

/// Why the files of a program cannot be collected.
#[derive(Debug, Error)]
pub enum ProgramFilesError {
    /// A file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A named program is neither an ELF file nor a script.
    #[error("{} is not a program: neither an ELF file nor a script that starts with #!", .0.display())]
    NotAProgram(PathBuf),
    /// Something that must be a file is a folder or device.
    #[error("{} is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// An ELF file is damaged.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A program is for another machine.
    #[error("{} is for another machine, {machine}; guests run programs for x86-64", path.display())]
    Machine {
        /// The file.
        path: PathBuf,
        /// For which: its class and the number of its machine.
        machine: String,
    },
    /// The program that starts another cannot be used.
    #[error("{} is started by {}", script.display(), interpreter.display())]
    Interpreter {
        /// The program that is started.
        script: PathBuf,
        /// The one that starts it.
        interpreter: PathBuf,
        /// Why not.
        source: Box<ProgramFilesError>,
    },
    /// `env` would not find an interpreter.
    #[error("{} is started by `{name}`, which is in none of the usual folders for programs; write its path behind #!", script.display())]
    NotInPath {
        /// The script.
        script: PathBuf,
        /// The interpreter's name.
        name: String,
    },
    /// An interpreter is a script, and so on.
    #[error("{} is a script whose interpreter is a script, and so on: too often for the kernel", .0.display())]
    Nested(PathBuf),
    /// A library is missing.
    #[error("the library {name} is missing on this machine; {} needs it", needed_by.display())]
    Library {
        /// Its name.
        name: String,
        /// The program or library that needs it.
        needed_by: PathBuf,
    },
    /// A file would be covered by a mount in the guest.
    #[error("{} would not be seen in a guest, which mounts another {folder}; copy it to another folder", path.display())]
    Hidden {
        /// The file.
        path: PathBuf,
        /// What the guest mounts.
        folder: String,
    },
    /// All files together are too large.
    #[error(
        "{} ({} MiB) makes the files {} MiB; a guest gets {} MiB at most: name less, or use an image that has the program",
        path.display(), size >> 20, all >> 20, LARGEST >> 20
    )]
    TooLarge {
        /// The file that is too much.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The size of all until then, with it.
        all: u64,
    },
    /// There are too many files.
    #[error("{} is one file too many: a guest gets {MOST} at most; name a smaller folder", .0.display())]
    TooMany(PathBuf),
}

/// Converts an error of the system about a file or folder that is read.
pub(super) fn reading(path: &Path) -> impl FnOnce(io::Error) -> ProgramFilesError {
    move |source| ProgramFilesError::Read { path: path.to_owned(), source }
}
