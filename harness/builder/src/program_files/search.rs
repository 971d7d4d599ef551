//! Where the dynamic linker finds a library (ld.so(8), "DESCRIPTION"): `DT_RPATH` of the file that needs it and of those that
//! brought it, unless it has a `DT_RUNPATH`; its `DT_RUNPATH`; the linker's cache; the default folders. `LD_LIBRARY_PATH` does
//! not count: a guest does not have the environment of this process.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{
    elf::Headers,
    error::{ProgramFilesError, reading},
    linker_cache::LinkerCache,
};

const CACHE: &str = "/etc/ld.so.cache";
/// The default folders of glibc as distributions build it (Debian's multiarch ones, Fedora's), and of musl.
const DEFAULTS: [&str; 6] =
    ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"];

/// A dynamic linker.
pub(super) struct Linker {
    cache_file: Option<PathBuf>,
    cache: LinkerCache,
    defaults: Vec<PathBuf>,
}

/// A program or library whose libraries are searched.
pub(super) struct Requester {
    /// Where it really is.
    pub(super) real: PathBuf,
    pub(super) headers: Headers,
    /// Which requester needed it first.
    by: Option<usize>,
}

impl Requester {
    /// The file that is started or loaded.
    pub(super) fn first(real: &Path, headers: Headers) -> Self {
        Self { real: real.to_owned(), headers, by: None }
    }

    /// A library that was needed.
    pub(super) fn next(by: usize, real: &Path) -> Result<Self, ProgramFilesError> {
        Ok(Self { real: real.to_owned(), headers: Headers::of(real)?, by: Some(by) })
    }
}

/// A library that is searched.
pub(super) struct Wanted<'a> {
    /// Its name; with a slash in it, its path.
    pub(super) name: &'a [u8],
    /// Which of the requesters needs it.
    pub(super) by: usize,
    /// All requesters so far.
    pub(super) requesters: &'a [Requester],
}

impl Linker {
    /// The dynamic linker of this machine.
    pub(super) fn of_host() -> Result<Self, ProgramFilesError> {
        let defaults = DEFAULTS.map(PathBuf::from).to_vec();
        let path = Path::new(CACHE);
        match fs::read(path) {
            Ok(bytes) => Ok(Self { cache_file: Some(path.to_owned()), cache: LinkerCache::of(&bytes), defaults }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::without_cache(defaults)),
            Err(error) => Err(reading(path)(error)),
        }
    }

    /// A linker that knows only its default folders.
    pub(super) fn without_cache(defaults: Vec<PathBuf>) -> Self {
        Self { cache_file: None, cache: LinkerCache::default(), defaults }
    }

    /// Its cache.
    pub(super) fn cache_file(&self) -> Option<&Path> {
        self.cache_file.as_deref()
    }

    /// Returns where a library is; several paths if the cache has one for other processors, too: the guest's processor is
    /// not this machine's. Empty if it is missing.
    pub(super) fn find(&self, wanted: &Wanted<'_>) -> Result<Vec<PathBuf>, ProgramFilesError> {
        let name = Path::new(OsStr::from_bytes(wanted.name));
        if wanted.name.contains(&b'/') {
            return Ok(usable(name.to_owned())?.into_iter().collect());
        }
        for folder in wanted.folders() {
            if let Some(path) = usable(folder.join(name))? {
                return Ok(vec![path]);
            }
        }
        let mut cached = Vec::new();
        for path in self.cache.get(wanted.name) {
            cached.extend(usable(path.to_owned())?);
        }
        for folder in self.defaults.iter().filter(|_| cached.is_empty()) {
            if let Some(path) = usable(folder.join(name))? {
                return Ok(vec![path]);
            }
        }
        Ok(cached)
    }
}

impl Wanted<'_> {
    /// Returns the folders that the program and its libraries name.
    fn folders(&self) -> Vec<PathBuf> {
        let requester = &self.requesters[self.by];
        if let Some(list) = &requester.headers.runpath {
            return folders(list, &requester.real);
        }
        let mut found = Vec::new();
        let mut at = Some(self.by);
        while let Some(requester) = at.map(|at| &self.requesters[at]) {
            let counts = requester.headers.runpath.is_none();
            if let Some(list) = requester.headers.rpath.as_ref().filter(|_| counts) {
                found.extend(folders(list, &requester.real));
            }
            at = requester.by;
        }
        found
    }
}

/// Returns the folders of a list. One with a word in it that depends on the linker, such as `$LIB`, is left out.
fn folders(list: &[u8], of: &Path) -> Vec<PathBuf> {
    let origin = of.parent().unwrap_or(Path::new("/"));
    let folder = |part: &[u8]| {
        let text = std::str::from_utf8(part).ok()?;
        let rest = text.strip_prefix("$ORIGIN").or_else(|| text.strip_prefix("${ORIGIN}"));
        let path = match rest {
            Some("") => origin.to_owned(),
            Some(rest) => origin.join(rest.strip_prefix('/')?),
            None => PathBuf::from(text),
        };
        (path.is_absolute() && !path.as_os_str().as_bytes().contains(&b'$')).then_some(path)
    };
    list.split(|byte| *byte == b':').filter_map(folder).collect()
}

/// Returns a path if the linker would load what is there: it passes over what is missing or for another machine.
fn usable(path: PathBuf) -> Result<Option<PathBuf>, ProgramFilesError> {
    if !path.is_file() {
        return Ok(None);
    }
    Ok(Headers::of_linkable(&path)?.map(|_| path))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    impl Linker {
        /// A linker with this cache.
        pub(in crate::program_files) fn with_cache(file: &Path, defaults: Vec<PathBuf>) -> Self {
            let cache = LinkerCache::of(&fs::read(file).unwrap());
            Self { cache_file: Some(file.to_owned()), cache, defaults }
        }
    }

    #[test]
    fn a_list_of_folders_knows_where_its_file_is() {
        let list = b"$ORIGIN/../lib:${ORIGIN}:/opt/a:relative:/opt/$LIB:$ORIGINAL::$PLATFORM";
        let expected = ["/opt/t/bin/../lib", "/opt/t/bin", "/opt/a"];
        assert_eq!(folders(list, Path::new("/opt/t/bin/tool")), expected.map(PathBuf::from));
    }
}
