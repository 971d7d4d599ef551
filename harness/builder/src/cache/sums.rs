//! The sums of an entry: what it was when it was published, compared with what it is when it is used.
//!
//! A file whose bits flip on the disk keeps its size, its time and its inode, so nothing but reading it can show that:
//! each use of a part of an entry hashes that part. A run that starts no VM uses only small files.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use crate::{digest::Sha256, file};

/// Which files of an entry are compared.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// All, including that there are no others.
    Whole,
    /// These, each of which the entry may lack.
    Files(&'a [&'a str]),
}

/// What makes an entry differ from what was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    path: PathBuf,
    what: &'static str,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path.display(), self.what)
    }
}

/// A file, a folder or a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sum {
    /// Its kind, and whether its owner may execute it: [`MODE`] of its mode. A copy of a cache may differ in the rest.
    mode: u32,
    /// The sum of a file's contents, or of a link's target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
}

/// The part of a mode that is compared: `S_IFMT` and `S_IXUSR` (inode(7)).
const MODE: u32 = 0o170_100;

/// The sums of everything in an entry, by path within it; that of an entry that is a file is empty.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Sums(BTreeMap<PathBuf, Sum>);

impl Sums {
    /// Computes the sums of a file, or of a folder with everything in it.
    pub(super) fn of(root: &Path) -> io::Result<Self> {
        let mut sums = BTreeMap::new();
        for entry in WalkDir::new(root).follow_root_links(false) {
            let entry = entry.map_err(|error| file::walked(root, error).1)?;
            let name = entry.path().strip_prefix(root).unwrap_or(entry.path());
            sums.extend(sum(entry.path())?.map(|sum| (name.to_owned(), sum)));
        }
        Ok(Self(sums))
    }

    /// Compares part of an entry with the sums in a file; returns the first difference. An entry without that file was
    /// published before sums were recorded, and counts as equal.
    pub(super) fn compare_recorded(record: &Path, root: &Path, part: Part<'_>) -> io::Result<Option<Damage>> {
        match fs::read(record).map(|text| serde_json::from_slice::<Self>(&text)) {
            Ok(Ok(sums)) => sums.compare(root, part),
            Ok(Err(_)) => Ok(Some(Damage { path: record.to_owned(), what: "is not a record of sums" })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Records the sums.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        file::replace(path, &serde_json::to_string(self)?)
    }

    /// Compares part of an entry with these sums; returns the first difference.
    fn compare(&self, root: &Path, part: Part<'_>) -> io::Result<Option<Damage>> {
        let difference = |name: &Path, now: Option<&Sum>| {
            let what = match (self.0.get(name), now) {
                (before, now) if before == now => return None,
                (Some(_), None) => "is missing",
                (None, _) => "was added",
                (Some(before), Some(now)) if before.mode == now.mode => {
                    "has another SHA-256 sum than when it was built"
                }
                (Some(_), Some(_)) => "is not of the kind that was built",
            };
            let path = if name.as_os_str().is_empty() { root.to_owned() } else { root.join(name) };
            Some(Damage { path, what })
        };
        match part {
            Part::Whole => {
                let Self(now) = Self::of(root)?;
                let mut names = self.0.keys().chain(now.keys());
                Ok(names.find_map(|name| difference(name, now.get(name))))
            }
            Part::Files(names) => {
                for name in names.iter().map(Path::new) {
                    if let Some(damage) = difference(name, sum(&root.join(name))?.as_ref()) {
                        return Ok(Some(damage));
                    }
                }
                Ok(None)
            }
        }
    }
}

/// Computes the sum of one file, folder or link; `None` if it does not exist.
fn sum(path: &Path) -> io::Result<Option<Sum>> {
    let metadata = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata?,
    };
    let sha256 = if metadata.is_symlink() {
        Some(Sha256::of_reader(fs::read_link(path)?.as_os_str().as_bytes())?)
    } else if metadata.is_file() {
        Some(Sha256::of_file(path)?)
    } else {
        None
    };
    Ok(Some(Sum { mode: metadata.permissions().mode() & MODE, sha256 }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Changes an entry in one way, and returns the difference that is found.
    fn difference(part: Part<'_>, change: impl FnOnce(&Path)) -> String {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("entry");
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::write(root.join("usr/bin/tool"), "tool").unwrap();
        fs::write(root.join("boot"), "kernel").unwrap();
        symlink("usr/bin", root.join("bin")).unwrap();
        let record = folder.path().join("sums/entry");
        Sums::of(&root).unwrap().write(&record).unwrap();
        let damage = || Sums::compare_recorded(&record, &root, part).unwrap().map(|damage| damage.to_string());
        assert_eq!(damage(), None);
        change(&root);
        damage().map_or("-".to_owned(), |damage| damage.replace(folder.path().to_str().unwrap(), "CACHE"))
    }

    #[test]
    fn every_difference_is_found_and_named() {
        let whole = |change: fn(&Path)| difference(Part::Whole, change);
        let found = [
            whole(|root| fs::write(root.join("usr/bin/tool"), "tooL").unwrap()),
            whole(|root| fs::remove_file(root.join("usr/bin/tool")).unwrap()),
            whole(|root| fs::write(root.join("usr/bin/other"), "").unwrap()),
            whole(|root| fs::set_permissions(root.join("boot"), fs::Permissions::from_mode(0o755)).unwrap()),
            whole(|root| fs::set_permissions(root.join("boot"), fs::Permissions::from_mode(0o600)).unwrap()),
            whole(|root| {
                fs::remove_file(root.join("bin")).unwrap();
                symlink("usr/bim", root.join("bin")).unwrap();
            }),
            whole(|root| fs::write(root.with_file_name("sums").join("entry"), "{").unwrap()),
        ];
        insta::assert_snapshot!(found.join("\n"), @r"
        CACHE/entry/usr/bin/tool has another SHA-256 sum than when it was built
        CACHE/entry/usr/bin/tool is missing
        CACHE/entry/usr/bin/other was added
        CACHE/entry/boot is not of the kind that was built
        -
        CACHE/entry/bin has another SHA-256 sum than when it was built
        CACHE/sums/entry is not a record of sums
        ");
    }

    #[test]
    fn only_the_files_of_a_part_are_read() {
        let part = Part::Files(&["boot", "notes"]);
        assert_eq!(difference(part, |root| fs::write(root.join("usr/bin/tool"), "tooL").unwrap()), "-");
        assert_eq!(difference(part, |root| fs::write(root.join("notes"), "").unwrap()), "CACHE/entry/notes was added");
        let flipped = difference(part, |root| fs::write(root.join("boot"), "kernal").unwrap());
        assert_eq!(flipped, "CACHE/entry/boot has another SHA-256 sum than when it was built");
    }

    #[test]
    fn an_entry_may_be_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "1").unwrap();
        let sums = Sums::of(&file).unwrap();
        assert_eq!(sums.compare(&file, Part::Whole).unwrap(), None);
        fs::write(&file, "2").unwrap();
        assert_eq!(sums.compare(&file, Part::Whole).unwrap().unwrap().path, file);
    }
}
