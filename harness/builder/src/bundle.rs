//! What the installed program brings: the project's manifests and scenarios, with the guest's programs and the BPF objects
//! built, in one archive that is part of the program.
//!
//! The archive is unpacked into the cache once, under its own sum, and is then a project like a checkout: its files are
//! compared with their sums when it is opened. Nobody writes into it.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use tar::{Archive, Builder, EntryType, Header, HeaderMode};
use thiserror::Error;
use walkdir::WalkDir;

use crate::{
    cache::{Area, Cache, CacheError, Part},
    digest::Sha256,
    file::{self, FileError},
    guest_program::{self, GuestProgram, GuestProgramError, guard::GuardProgram},
    objects::{self, Objects, ObjectsError},
    progress::Progress,
    project::Project,
};

/// The compression level: the highest that needs no more memory to unpack than others.
const LEVEL: i32 = 19;

/// The archive of an installed program.
#[derive(Clone, Copy, Debug)]
pub struct Bundle {
    /// A tar archive, compressed by zstd.
    pub archive: &'static [u8],
    /// What [`write()`] returned for it.
    pub sum: &'static str,
}

/// Why an archive cannot be made or unpacked.
#[derive(Debug, Error)]
pub enum BundleError {
    /// A guest program could not be built.
    #[error(transparent)]
    GuestProgram(#[from] GuestProgramError),
    /// A BPF object could not be built.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// A file of the project could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The archive could not be written.
    #[error("cannot write the archive of the project's files")]
    Archive(#[source] io::Error),
    /// The archive could not be unpacked.
    #[error(
        "cannot unpack the program's own files to {}; if there is room, the program is damaged: install it again",
        path.display()
    )]
    Unpack {
        /// The folder.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// What a bundle has of a project, built.
struct Built {
    guest: GuestProgram,
    guard: GuardProgram,
    objects: Objects,
}

/// Builds what a project's bundle has, and writes the archive to a file. Returns its sum. Equal projects have equal archives.
///
/// # Errors
/// [`BundleError`] if something cannot be built, read or written.
pub fn write(project: &Project, cache: &Cache, into: &Path, progress: &Progress) -> Result<String, BundleError> {
    let built = Built {
        guest: guest_program::build(project.root(), cache, progress)?,
        guard: guest_program::guard::build(project.root(), cache, progress)?,
        objects: objects::build(&project.objects(), cache, progress)?,
    };
    let mut files = files(project)?;
    for path in [built.guest.path(), built.guest.init(), built.guard.path().to_owned()] {
        let name = path.file_name().unwrap_or_default();
        files.push((Path::new(guest_program::READY).join(name), path));
    }
    let objects = built.objects.files().map_err(FileError::of("list", &project.objects()))?;
    let folder = project.objects();
    let folder = folder.strip_prefix(project.root()).unwrap_or(&folder);
    files.extend(objects.into_iter().map(|path| (folder.join(path.file_name().unwrap_or_default()), path)));
    files.sort();
    let archive = archive(&files)?;
    file::write(into, &archive)?;
    Ok(Sha256::of_parts([archive.as_slice()]).to_string())
}

/// Returns the files of a project that are read when it is used, each with its path in the project. Sources of objects are
/// none of them: the objects are there instead.
fn files(project: &Project) -> Result<Vec<(PathBuf, PathBuf)>, FileError> {
    let sources = project.objects();
    let is_used = |path: &Path| !path.starts_with(&sources) && path.extension().is_none_or(|kind| kind != "md");
    let mut files = Vec::new();
    for top in [project.kernels(), project.images(), project.scenarios()] {
        // Editors create and remove hidden files.
        let is_hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
        let walk = WalkDir::new(&top).into_iter().filter_entry(|entry| !is_hidden(entry.file_name()));
        for entry in walk {
            let entry = entry.map_err(|error| FileError::walking("list", &top, error))?;
            if entry.file_type().is_file() && is_used(entry.path()) {
                let name = entry.path().strip_prefix(project.root()).unwrap_or(entry.path()).to_owned();
                files.push((name, entry.into_path()));
            }
        }
    }
    Ok(files)
}

/// Returns an archive of files, each with its name in it.
fn archive(files: &[(PathBuf, PathBuf)]) -> Result<Vec<u8>, BundleError> {
    let mut archive = Builder::new(zstd::Encoder::new(Vec::new(), LEVEL).map_err(BundleError::Archive)?);
    for (name, path) in files {
        let contents = file::read(path)?;
        let metadata = fs::metadata(path).map_err(FileError::of("read", path))?;
        let mut header = Header::new_gnu();
        // Neither times nor owners: equal files make an equal archive.
        header.set_metadata_in_mode(&metadata, HeaderMode::Deterministic);
        header.set_size(contents.len() as u64);
        header.set_cksum();
        archive.append_data(&mut header, name, contents.as_slice()).map_err(BundleError::Archive)?;
    }
    archive.into_inner().and_then(zstd::Encoder::finish).map_err(BundleError::Archive)
}

impl Bundle {
    /// Returns the project in the archive, unpacked into the cache unless it is there.
    ///
    /// # Errors
    /// [`BundleError`] if the cache cannot be used.
    pub fn unpacked(self, cache: &Cache, progress: &Progress) -> Result<Project, BundleError> {
        let entry = cache.entry(Area::Bundles, &self.sum[..32])?;
        if let Some(folder) = entry.intact(Part::Whole, progress)? {
            return Ok(Project::at(folder));
        }
        let lock = entry.lock(progress)?;
        // Another process may have unpacked it while this one was waiting.
        if let Some(folder) = lock.intact(Part::Whole, progress)? {
            return Ok(Project::at(folder));
        }
        let staging = lock.stage_folder()?;
        let path = staging.path();
        self.unpack(path).map_err(|source| BundleError::Unpack { path: path.to_owned(), source })?;
        Ok(Project::at(staging.publish()?))
    }

    fn unpack(self, into: &Path) -> io::Result<()> {
        let mut archive = self.open()?;
        archive.set_preserve_mtime(false);
        archive.unpack(into)
    }

    fn open(self) -> io::Result<Archive<impl Read>> {
        Ok(Archive::new(zstd::Decoder::new(self.archive)?))
    }

    /// Returns the guard's program, read from the archive without a cache.
    ///
    /// # Errors
    /// If the archive is damaged.
    pub fn guard(self) -> io::Result<Vec<u8>> {
        let name = Path::new(guest_program::READY).join(guest_program::guard::GUARD);
        for entry in self.open()?.entries()? {
            let mut entry = entry?;
            if entry.header().entry_type() == EntryType::Regular && entry.path()? == name {
                let mut program = Vec::new();
                entry.read_to_end(&mut program)?;
                return Ok(program);
            }
        }
        Err(io::Error::new(io::ErrorKind::NotFound, format!("the program's archive has no {}", name.display())))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A project in a folder, and its archive, with a guest's programs and an object that are only texts.
    fn bundle(folder: &Path) -> Bundle {
        let mut files = Vec::new();
        for (name, mode) in [
            ("kernels/6.12.toml", 0o640),
            ("scenarios/objects/src/one.bpf.o", 0o644),
            ("programs/bpf-guard", 0o755),
            ("programs/harness-guest", 0o755),
            ("programs/harness-init", 0o755),
        ] {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, name).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            files.push((PathBuf::from(name), path));
        }
        let archive = archive(&files).unwrap();
        assert_eq!(archive, super::archive(&files).unwrap());
        let sum = Sha256::of_parts([archive.as_slice()]).to_string();
        Bundle { archive: archive.leak(), sum: sum.leak() }
    }

    #[test]
    fn an_unpacked_bundle_is_a_project_whose_programs_are_built() {
        let (folder, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (bundle, cache) = (bundle(folder.path()), Cache::at(place.path()).unwrap());
        let (progress, log) = Progress::captured();
        let project = bundle.unpacked(&cache, &progress).unwrap();
        let read = |path: PathBuf| fs::read_to_string(path).unwrap();
        assert_eq!(read(project.kernels().join("6.12.toml")), "kernels/6.12.toml");
        let guest = guest_program::build(project.root(), &cache, &progress).unwrap();
        assert_eq!(read(guest.path()), "programs/harness-guest");
        assert_eq!(fs::metadata(guest.init()).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(guest_program::find_built(project.root(), &cache).unwrap(), Some(guest));
        let guard = guest_program::guard::build(project.root(), &cache, &progress).unwrap();
        assert_eq!(fs::read(guard.path()).unwrap(), bundle.guard().unwrap());
        assert_eq!(guest_program::guard::find_built(project.root(), &cache).unwrap(), Some(guard));
        let objects = objects::build(&project.objects(), &cache, &progress).unwrap();
        assert_eq!(read(objects.path("one")), "scenarios/objects/src/one.bpf.o");
        assert_eq!(objects::find_built(&project.objects(), &cache).unwrap(), Some(objects));
        assert_eq!(log.text(), "");
    }

    #[test]
    fn what_was_changed_or_is_missing_is_unpacked_again() {
        let (folder, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (bundle, cache) = (bundle(folder.path()), Cache::at(place.path()).unwrap());
        let root = bundle.unpacked(&cache, &Progress::silent()).unwrap().root().to_owned();
        let manifest = root.join("kernels/6.12.toml");
        let changes: [&dyn Fn(); 3] =
            [&|| fs::write(&manifest, "mine").unwrap(), &|| fs::remove_file(&manifest).unwrap(), &|| {
                fs::write(root.join("kernels/mine.toml"), "").unwrap()
            }];
        for change in changes {
            change();
            let (progress, log) = Progress::captured();
            assert_eq!(bundle.unpacked(&cache, &progress).unwrap().root(), root);
            assert_eq!(fs::read_to_string(&manifest).unwrap(), "kernels/6.12.toml");
            assert!(!root.join("kernels/mine.toml").exists());
            assert_eq!(log.text().lines().count(), 1, "{}", log.text());
        }
    }

    #[test]
    fn an_unpacking_that_was_killed_leaves_nothing_that_is_used() {
        let (folder, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (bundle, cache) = (bundle(folder.path()), Cache::at(place.path()).unwrap());
        let partial = cache.folder(Area::Bundles).unwrap().join(format!(".partial-{}", &bundle.sum[..32]));
        fs::create_dir_all(partial.join("kernels")).unwrap();
        fs::write(partial.join("kernels/half.toml"), "").unwrap();
        let project = bundle.unpacked(&cache, &Progress::silent()).unwrap();
        assert!(!project.kernels().join("half.toml").exists() && !partial.exists());
    }

    #[test]
    fn a_damaged_archive_is_no_project() {
        let (folder, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (bundle, cache) = (bundle(folder.path()), Cache::at(place.path()).unwrap());
        let cut = Bundle { archive: &bundle.archive[..bundle.archive.len() / 2], ..bundle };
        let error = cut.unpacked(&cache, &Progress::silent()).unwrap_err().to_string();
        let error = error.replace(cache.root().to_str().unwrap(), "CACHE").replace(&bundle.sum[..32], "SUM");
        insta::assert_snapshot!(error, @"cannot unpack the program's own files to CACHE/bundles/.partial-SUM; if there is room, the program is damaged: install it again");
        assert!(cut.guard().is_err());
        assert_eq!(fs::read_dir(cache.folder(Area::Bundles).unwrap()).unwrap().count(), 0);
    }

    #[test]
    fn a_bundle_has_what_a_project_is_read_from_and_no_sources() {
        let project = Project::find().unwrap();
        let names: Vec<PathBuf> = files(&project).unwrap().into_iter().map(|(name, _)| name).collect();
        for name in
            ["kernels/6.12.toml", "kernels/vocabulary/7.3.json", "images/minimal.toml", "scenarios/differences.toml"]
        {
            assert!(names.iter().any(|known| known == Path::new(name)), "{name}");
        }
        let foreign = names.iter().filter(|name| {
            let kind = name.extension().unwrap_or_default();
            ["c", "h", "rs", "md"].iter().any(|other| kind == *other) || name.starts_with("scenarios/objects/src")
        });
        let foreign: Vec<_> = foreign.collect();
        assert!(foreign.is_empty(), "{foreign:?}");
    }
}
