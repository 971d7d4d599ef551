//! How the kernel starts a file: by itself, or by the interpreter in its first line (execve(2), "Interpreter scripts").

use std::{
    ffi::OsStr,
    fs::File,
    io::Read,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::error::{ProgramFilesError, reading};

/// Where `env` finds programs if nobody says otherwise.
pub(super) const PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// How much of a file the kernel looks at: `BINPRM_BUF_SIZE`.
const FIRST: u64 = 256;

/// How a file is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// It is an ELF file.
    Elf,
    /// It is a script; the last of these programs is the one that runs it, those before start it.
    Script(Vec<PathBuf>),
    /// It is something else.
    Neither,
}

/// Finds out how a file is started; `path` are the folders in which `env` looks.
pub(super) fn start(file: &Path, path: &[PathBuf]) -> Result<Start, ProgramFilesError> {
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(reading(file))?;
    opened.take(FIRST).read_to_end(&mut bytes).map_err(reading(file))?;
    if bytes.starts_with(b"\x7fELF") {
        return Ok(Start::Elf);
    }
    let Some(line) = bytes.strip_prefix(b"#!") else { return Ok(Start::Neither) };
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let Some(interpreter) = words.next() else { return Ok(Start::Neither) };
    let mut programs = vec![PathBuf::from(OsStr::from_bytes(interpreter))];
    if programs[0].file_name() == Some(OsStr::new("env")) {
        // `-S` makes several arguments of one; a variable may be set before the program.
        if let Some(name) = words.find(|word| !word.starts_with(b"-") && !word.contains(&b'=')) {
            programs.push(in_path(name, path).ok_or_else(|| ProgramFilesError::NotInPath {
                script: file.to_owned(),
                name: String::from_utf8_lossy(name).into_owned(),
            })?);
        }
    }
    Ok(Start::Script(programs))
}

fn in_path(name: &[u8], path: &[PathBuf]) -> Option<PathBuf> {
    path.iter().map(|folder| folder.join(OsStr::from_bytes(name))).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_first_line_names_what_starts_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let (file, python) = (folder.path().join("script"), folder.path().join("python3"));
        fs::write(&python, "").unwrap();
        let of = |text: &[u8]| {
            fs::write(&file, text).unwrap();
            start(&file, &[PathBuf::from("/nonexistent"), folder.path().to_owned()])
        };
        let script = |programs: &[&Path]| Start::Script(programs.iter().map(|path| (*path).to_owned()).collect());
        assert_eq!(of(b"\x7fELF...").unwrap(), Start::Elf);
        assert_eq!(of(b"#! /bin/sh -eu\nexit").unwrap(), script(&[Path::new("/bin/sh")]));
        assert_eq!(of(b"#!/usr/bin/env python3").unwrap(), script(&[Path::new("/usr/bin/env"), &python]));
        assert_eq!(of(b"#!/usr/bin/env -S A=1 python3 -u\n").unwrap(), script(&[Path::new("/usr/bin/env"), &python]));
        assert_eq!(
            (of(b"#!\n").unwrap(), of(b"hello").unwrap(), of(b"").unwrap()),
            (Start::Neither, Start::Neither, Start::Neither)
        );
        let message = of(b"#!/usr/bin/env ruby\n").unwrap_err().to_string();
        insta::assert_snapshot!(
            message.replace(folder.path().to_str().unwrap(), "/FOLDER"),
            @"/FOLDER/script is started by `ruby`, which is in none of the usual folders for programs; write its path behind #!"
        );
    }
}
