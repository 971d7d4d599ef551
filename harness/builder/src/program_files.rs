//! What a guest needs to run a program of the host: the program, its interpreter, its libraries and what else was named, each
//! at the path that it has on the host.
//!
//! A guest gets copies, never a folder of the host. Which libraries they are is decided as the dynamic linker decides it
//! (ld.so(8)): `search` has its rules. What a program opens later is not in its headers: a library that it loads by
//! dlopen(3), a module of an interpreter, a file of data. Those have to be named.

mod elf;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod linker_cache;
mod path;
mod script;
mod search;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use walkdir::WalkDir;

use elf::Headers;
pub use error::ProgramFilesError;
use error::reading;
use script::Start;
use search::{Linker, Requester, Wanted};

use crate::file;

/// The most bytes that all files together may have. A program on libLLVM has about 200 MiB.
pub const LARGEST: u64 = 256 << 20;
/// The most files, links and folders. An installed Python has about 4,000.
pub const MOST: usize = 20_000;
/// The most scripts whose interpreter is a script again; the kernel gives up at the same depth (`bprm->interp_flags`, fs/exec.c).
const DEEPEST: usize = 5;
/// The folders that a guest mounts anew, so that a file below them would not be seen (`harness/init`, `init`).
const MOUNTED: [&str; 4] = ["/dev", "/mnt", "/proc", "/sys"];

/// Something that a guest gets at the path that it has on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramFile {
    /// Its path in the guest, absolute and without `.` and `..`.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
}

/// What a [`ProgramFile`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File {
        /// The file on the host, without links on the way.
        from: PathBuf,
        /// Whether it may be executed.
        executable: bool,
        /// Its size in bytes.
        size: u64,
    },
    /// A symbolic link. The dynamic linker and some programs look at what they were started by, so a link stays one.
    Link {
        /// What it contains.
        to: PathBuf,
    },
    /// A folder, which may be empty.
    Folder,
}

/// Returns what a guest needs to run a program: itself, its interpreter and libraries, and `more` with theirs. A folder in
/// `more` stands for everything in it; links in it stay as they are, whatever they lead to. Files and folders come in the order
/// of their paths.
///
/// A library that a file *within* a folder needs may be missing: it could be a plug-in of a program that has it.
///
/// # Errors
/// [`ProgramFilesError`] if something is missing, not for this machine, or too large.
pub fn closure(program: &Path, more: &[PathBuf]) -> Result<Vec<ProgramFile>, ProgramFilesError> {
    let host = Host { linker: Linker::of_host()?, mounted: &MOUNTED, path: script::PATH.map(PathBuf::from).to_vec() };
    closure_on(&host, program, more)
}

/// What decides which files are found on a machine.
struct Host<'a> {
    linker: Linker,
    mounted: &'a [&'a str],
    /// Where `env` looks for an interpreter.
    path: Vec<PathBuf>,
}

fn closure_on(host: &Host<'_>, program: &Path, more: &[PathBuf]) -> Result<Vec<ProgramFile>, ProgramFilesError> {
    let mut found = Found { host, files: BTreeMap::new(), size: 0 };
    let process = found.program(program, 0)?;
    for path in more {
        found.named(path, &process)?;
    }
    Ok(found.files.into_iter().map(|(path, kind)| ProgramFile { path, kind }).collect())
}

/// The names by which a process has its libraries, as files ask for them.
type Process = BTreeSet<Vec<u8>>;

/// What to do with a library that is not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    Refused,
    Accepted,
}

/// What has been found so far.
struct Found<'a> {
    host: &'a Host<'a>,
    files: BTreeMap<PathBuf, Kind>,
    size: u64,
}

impl Found<'_> {
    /// Adds a program with what starts it; returns the libraries that its process has.
    fn program(&mut self, program: &Path, depth: usize) -> Result<Process, ProgramFilesError> {
        let real = self.file(program)?;
        match script::start(&real, &self.host.path)? {
            Start::Elf => self.libraries(&real, &Process::new(), Missing::Refused),
            Start::Script(_) if depth == DEEPEST => Err(ProgramFilesError::Nested(program.to_owned())),
            Start::Script(interpreters) => {
                let mut process = Process::new();
                for interpreter in interpreters {
                    process =
                        self.program(&interpreter, depth + 1).map_err(|source| ProgramFilesError::Interpreter {
                            script: program.to_owned(),
                            interpreter,
                            source: source.into(),
                        })?;
                }
                Ok(process)
            }
            Start::Neither => Err(ProgramFilesError::NotAProgram(real)),
        }
    }

    /// Adds something that was named beside the program.
    fn named(&mut self, path: &Path, process: &Process) -> Result<(), ProgramFilesError> {
        let real = self.real(path)?;
        if !real.is_dir() {
            let real = self.file(path)?;
            return self.if_program(&real, process, Missing::Refused);
        }
        self.link(path, &real)?;
        for entry in WalkDir::new(&real) {
            let entry = entry.map_err(|error| {
                let (path, source) = file::walked(&real, error);
                reading(&path)(source)
            })?;
            let path = entry.path();
            match entry.file_type() {
                kind if kind.is_symlink() => {
                    let to = fs::read_link(path).map_err(reading(path))?;
                    self.add(path.to_owned(), Kind::Link { to })?;
                }
                kind if kind.is_dir() => self.add(path.to_owned(), Kind::Folder)?,
                kind if kind.is_file() => {
                    self.regular(path)?;
                    self.if_program(path, process, Missing::Accepted)?;
                }
                // A socket or device works only where it was made.
                _ => {}
            }
        }
        Ok(())
    }

    /// Adds the libraries of a file if the dynamic linker could load it: a BPF object is an ELF file, too.
    fn if_program(&mut self, real: &Path, process: &Process, missing: Missing) -> Result<(), ProgramFilesError> {
        if Headers::of_linkable(real)?.is_some() {
            self.libraries(real, process, missing)?;
        }
        Ok(())
    }

    /// Adds the interpreter and all libraries of an ELF file, breadth first as the dynamic linker loads them.
    fn libraries(&mut self, real: &Path, has: &Process, missing: Missing) -> Result<Process, ProgramFilesError> {
        let headers = Headers::of(real)?;
        let mut has = has.clone();
        if let Some(interpreter) = &headers.interpreter {
            self.file(interpreter).map_err(|source| ProgramFilesError::Interpreter {
                script: real.to_owned(),
                interpreter: interpreter.clone(),
                source: source.into(),
            })?;
            has.extend(interpreter.file_name().map(|name| name.as_encoded_bytes().to_vec()));
            self.linker_cache()?;
        }
        let mut requesters = vec![Requester::first(real, headers)];
        let mut at = 0;
        while at < requesters.len() {
            for name in requesters[at].headers.needed.clone() {
                if !has.insert(name.clone()) {
                    continue;
                }
                let wanted = Wanted { name: &name, by: at, requesters: &requesters };
                let candidates = self.host.linker.find(&wanted)?;
                let Some(first) = candidates.first() else {
                    if missing == Missing::Accepted {
                        continue;
                    }
                    let needed_by = requesters[at].real.clone();
                    return Err(ProgramFilesError::Library { name: lossy(&name), needed_by });
                };
                for path in &candidates {
                    self.file(path)?;
                }
                let library = Requester::next(at, &self.real(first)?)?;
                has.extend(library.headers.name.clone());
                requesters.push(library);
            }
            at += 1;
        }
        Ok(has)
    }

    /// Adds the linker's cache: without it, the guest would not look into the folders that only `/etc/ld.so.conf` names.
    fn linker_cache(&mut self) -> Result<(), ProgramFilesError> {
        match self.host.linker.cache_file() {
            Some(path) => self.file(path).map(drop),
            None => Ok(()),
        }
    }

    /// Adds a file at the path that was asked for: the file itself where it really is, and a link to it if that is elsewhere.
    /// Returns where it really is.
    fn file(&mut self, path: &Path) -> Result<PathBuf, ProgramFilesError> {
        let real = self.real(path)?;
        self.regular(&real)?;
        self.link(path, &real)?;
        Ok(real)
    }

    fn regular(&mut self, real: &Path) -> Result<(), ProgramFilesError> {
        let metadata = fs::metadata(real).map_err(reading(real))?;
        if !metadata.is_file() {
            return Err(ProgramFilesError::NotAFile(real.to_owned()));
        }
        let executable = metadata.permissions().mode() & 0o111 != 0;
        self.add(real.to_owned(), Kind::File { from: real.to_owned(), executable, size: metadata.len() })
    }

    fn link(&mut self, path: &Path, real: &Path) -> Result<(), ProgramFilesError> {
        let asked = path::asked(path, real).map_err(reading(path))?;
        if asked == real { Ok(()) } else { self.add(asked, Kind::Link { to: real.to_owned() }) }
    }

    fn real(&self, path: &Path) -> Result<PathBuf, ProgramFilesError> {
        fs::canonicalize(path).map_err(reading(path))
    }

    fn add(&mut self, path: PathBuf, kind: Kind) -> Result<(), ProgramFilesError> {
        if let Some(folder) = self.host.mounted.iter().find(|folder| path.starts_with(folder)) {
            return Err(ProgramFilesError::Hidden { path, folder: (*folder).to_owned() });
        }
        let size = match &kind {
            Kind::File { size, .. } => *size,
            Kind::Link { .. } | Kind::Folder => 0,
        };
        if self.files.contains_key(&path) {
            return Ok(());
        }
        self.size = self.size.saturating_add(size);
        if self.size > LARGEST {
            return Err(ProgramFilesError::TooLarge { path, size, all: self.size });
        }
        if self.files.len() == MOST {
            return Err(ProgramFilesError::TooMany(path));
        }
        self.files.insert(path, kind);
        Ok(())
    }
}

fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests;
