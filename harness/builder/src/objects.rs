//! BPF objects for scenarios, compiled from C by clang and kept in the cache.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;
use xshell::cmd;

use crate::{
    cache::{Area, Cache, CacheError, Part, cleaning::References},
    command::{self, CommandError},
    compilers::CLANG,
    digest::Sha256,
    progress::{Progress, Unit},
};

/// The file name suffix of sources.
const SOURCE: &str = ".bpf.c";
/// The file name suffix of objects.
const OBJECT: &str = ".bpf.o";

/// The options of clang: for BPF, with BTF (`-g`), without which libbpf finds no maps.
const FLAGS: [&str; 6] = ["-target", "bpf", "-g", "-O2", "-Wall", "-Werror"];

/// Compiled objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objects {
    folder: PathBuf,
}

impl Objects {
    /// Returns the path of the object compiled from `NAME.bpf.c`; it does not exist if there is no such source.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}{OBJECT}"))
    }

    /// Returns the paths of all objects.
    pub(crate) fn files(&self) -> io::Result<Vec<PathBuf>> {
        let paths: io::Result<Vec<PathBuf>> = fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.path())).collect();
        Ok(paths?.into_iter().filter(|path| is_object(path)).collect())
    }
}

fn is_object(path: &Path) -> bool {
    path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.ends_with(OBJECT))
}

/// Returns the objects in a folder that has them in the place of their sources.
fn ready(sources: &Path) -> Option<Objects> {
    let objects = Objects { folder: sources.to_owned() };
    let has_sources = files(sources).is_ok_and(|files| !files.is_empty());
    let has_objects = || objects.files().is_ok_and(|files| !files.is_empty());
    (!has_sources && has_objects()).then_some(objects)
}

/// Why the objects are not available.
#[derive(Debug, Error)]
pub enum ObjectsError {
    /// A source could not be read.
    #[error("cannot read {}, a source of BPF objects", path.display())]
    Source {
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// clang does not report its version.
    #[error("cannot get the version of clang")]
    Compiler(#[source] CommandError),
    /// An object does not compile.
    #[error("{} does not compile", path.display())]
    Compile {
        /// Its source.
        path: PathBuf,
        /// The error of clang.
        source: CommandError,
    },
    /// A cache operation failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// Returns the objects of the sources in a folder, if they were compiled from the current sources.
///
/// # Errors
/// [`ObjectsError`] if a source or the cache cannot be read, or if clang is missing.
pub fn find_built(sources: &Path, cache: &Cache) -> Result<Option<Objects>, ObjectsError> {
    if let Some(objects) = ready(sources) {
        return Ok(Some(objects));
    }
    let files = files(sources)?;
    let folder = cache.entry(Area::Objects, &key(sources, &files)?)?.undamaged(Part::Whole)?;
    Ok(folder.map(|folder| Objects { folder }))
}

/// Adds the objects of the sources in a folder; adds all objects if clang does not report its version.
pub(crate) fn add_references(sources: &Path, references: &mut References) {
    match files(sources).and_then(|files| key(sources, &files)) {
        Ok(key) => references.add(Area::Objects, key),
        Err(_) => references.add_all(Area::Objects, ""),
    }
}

/// Returns the objects of the sources in a folder, compiled if needed.
///
/// # Errors
/// [`ObjectsError`], with clang's message, if one does not compile.
pub fn build(sources: &Path, cache: &Cache, progress: &Progress) -> Result<Objects, ObjectsError> {
    if let Some(objects) = ready(sources) {
        return Ok(objects);
    }
    let files = files(sources)?;
    let entry = cache.entry(Area::Objects, &key(sources, &files)?)?;
    if let Some(folder) = entry.intact(Part::Whole, progress)? {
        return Ok(Objects { folder });
    }
    let lock = entry.lock(progress)?;
    // Another process may have compiled them while this one was waiting.
    if let Some(folder) = lock.intact(Part::Whole, progress)? {
        return Ok(Objects { folder });
    }
    let staging = lock.stage_folder()?;
    let names: Vec<&str> = files.iter().filter_map(|file| file.strip_suffix(SOURCE)).collect();
    let task = progress.task("objects", Unit::Things("objects"), Some(names.len() as u64));
    for name in names {
        task.detail(name);
        compile(sources, name, staging.path())?;
        task.advance(1);
    }
    task.finish("compiled");
    Ok(Objects { folder: staging.publish()? })
}

/// Compiles one object. clang runs in the folder of the sources, so that the object is the same wherever the folder is.
fn compile(sources: &Path, name: &str, into: &Path) -> Result<(), ObjectsError> {
    let (source, object) = (format!("{name}{SOURCE}"), into.join(format!("{name}{OBJECT}")));
    let compiled = command::output(|shell| {
        shell.change_dir(sources);
        cmd!(shell, "clang {FLAGS...} -c {source} -o {object}")
    });
    compiled.map(drop).map_err(|error| ObjectsError::Compile { path: sources.join(&source), source: error })
}

/// Returns the names of all source files in a folder, headers included, in a fixed order; none if there is no folder.
fn files(sources: &Path) -> Result<Vec<String>, ObjectsError> {
    let failed = |source| ObjectsError::Source { path: sources.to_owned(), source };
    let entries = match fs::read_dir(sources) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let is_code = [OsStr::new("c"), OsStr::new("h")].contains(&path.extension().unwrap_or_default());
        names.extend(path.file_name().and_then(OsStr::to_str).filter(|_| is_code).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Computes a hash of the sources, the compiler and the flags.
fn key(sources: &Path, files: &[String]) -> Result<String, ObjectsError> {
    let mut parts = vec![FLAGS.join(" ").into_bytes()];
    if !files.is_empty() {
        parts.push(CLANG.version().map_err(ObjectsError::Compiler)?.into_bytes());
    }
    for file in files {
        let path = sources.join(file);
        parts.push(file.as_bytes().to_vec());
        parts.push(fs::read(&path).map_err(|source| ObjectsError::Source { path, source })?);
    }
    Ok(Sha256::of_parts(parts.iter().map(Vec::as_slice)).to_string()[..32].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn only_code_is_a_source_and_no_folder_has_none() {
        let folder = sources(&[("b.bpf.c", ""), ("a.h", ""), (".a.swp", ""), ("README.md", "")]);
        assert_eq!(files(folder.path()).unwrap(), ["a.h", "b.bpf.c"]);
        assert!(files(&folder.path().join("none")).unwrap().is_empty());
    }

    #[test]
    fn objects_are_compiled_once_for_each_state_of_their_sources() {
        let cache_folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(cache_folder.path()).unwrap();
        let folder = sources(&[("one.bpf.c", "int one;\n")]);
        assert_eq!(find_built(folder.path(), &cache).unwrap(), None);
        let built = build(folder.path(), &cache, &Progress::silent()).unwrap();
        assert!(fs::read(built.path("one")).unwrap().starts_with(b"\x7fELF"));
        assert_eq!(find_built(folder.path(), &cache).unwrap(), Some(built));
        fs::write(folder.path().join("one.bpf.c"), "int two;\n").unwrap();
        assert_eq!(find_built(folder.path(), &cache).unwrap(), None);
    }

    #[test]
    fn an_object_with_a_flipped_bit_is_compiled_again() {
        let cache_folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(cache_folder.path()).unwrap();
        let folder = sources(&[("one.bpf.c", "int one;\n")]);
        let path = build(folder.path(), &cache, &Progress::silent()).unwrap().path("one");
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        fs::write(&path, flipped).unwrap();
        assert_eq!(find_built(folder.path(), &cache).unwrap(), None);
        let (progress, log) = Progress::captured();
        build(folder.path(), &cache, &progress).unwrap();
        assert_eq!(fs::read(&path).unwrap(), whole);
        let entry = path.parent().unwrap();
        let shown = log.text().replace(entry.to_str().unwrap(), "ENTRY");
        insta::assert_snapshot!(shown.lines().find(|line| line.contains("SHA-256")).unwrap(), @"ENTRY/one.bpf.o has another SHA-256 sum than when it was built; building ENTRY again");
    }

    #[test]
    fn an_object_that_does_not_compile_is_named_with_clangs_error() {
        let cache_folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(cache_folder.path()).unwrap();
        let folder = sources(&[("bad.bpf.c", "int bad\n")]);
        let error = build(folder.path(), &cache, &Progress::silent()).unwrap_err();
        let ObjectsError::Compile { source: CommandError::Failed { command, tail, .. }, .. } = &error else {
            panic!("{error:?}")
        };
        let message = error.to_string().replace(folder.path().to_str().unwrap(), "/SOURCES");
        insta::assert_snapshot!(message, @"/SOURCES/bad.bpf.c does not compile");
        assert!(command.starts_with("cd ") && command.contains(" && clang -target bpf -g -O2 "), "{command}");
        assert!(tail.starts_with("bad.bpf.c:1:8: error: "), "{tail}");
        assert_eq!(find_built(folder.path(), &cache).unwrap(), None);
    }
}
