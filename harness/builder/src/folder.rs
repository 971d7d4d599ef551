//! Folders that somebody else filled, such as a guest: measured and removed whatever is in them.
//!
//! A guest can nest folders deeper than any path is long, and take away its own permissions. So both functions walk
//! with one descriptor, down by names and up by `..`, and never follow links.

use std::{
    collections::HashSet,
    ffi::{CString, OsStr},
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RawMode, Stat, chmodat, fstat, openat, statat, unlinkat},
    io::Errno,
};

/// How much of a disk a folder takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Allocated bytes (`st_blocks`): holes do not count, and a file with several names counts once.
    pub bytes: u64,
    /// Files, folders and everything else that has an inode.
    pub inodes: u64,
    /// Folders whose contents could not be read and are not counted.
    pub unreadable: u64,
    /// Whether the walk ended early: it was told to, or a folder was moved meanwhile.
    pub is_partial: bool,
}

impl Usage {
    fn count(&mut self, stat: &Stat, seen: &mut HashSet<(u64, u64)>) {
        const BLOCK: u64 = 512;
        if is_folder(stat) || stat.st_nlink == 1 || seen.insert(identity(stat)) {
            self.bytes = self.bytes.saturating_add(u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(BLOCK));
            self.inodes += 1;
        }
    }
}

/// Measures a file, or a folder with everything in it. Files that disappear meanwhile are ignored.
///
/// `seen` has the files with several names that are counted already. The walk ends early once `is_enough` returns true.
///
/// # Errors
/// If there is nothing at this path, or nothing that can be looked at.
pub fn measure(
    top: &Path,
    seen: &mut HashSet<(u64, u64)>,
    mut is_enough: impl FnMut(&Usage) -> bool,
) -> io::Result<Usage> {
    let mut usage = Usage::default();
    let stat = statat(CWD, top, AtFlags::SYMLINK_NOFOLLOW)?;
    usage.count(&stat, seen);
    if !is_folder(&stat) {
        return Ok(usage);
    }
    let Ok(mut folder) = open(CWD, top) else {
        usage.unreadable += 1;
        return Ok(usage);
    };
    // For each folder on the way down: what it is, and which of its folders are still to be measured.
    let mut way = vec![(identity(&fstat(&folder)?), folders_in(&folder, &mut usage, seen, &mut is_enough))];
    while let Some((_, pending)) = way.last_mut() {
        if is_enough(&usage) {
            usage.is_partial = true;
            break;
        }
        if let Some(name) = pending.pop() {
            match open(&folder, &name) {
                Ok(inner) => {
                    folder = inner;
                    let inside = folders_in(&folder, &mut usage, seen, &mut is_enough);
                    way.push((identity(&fstat(&folder)?), inside));
                }
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(_) => usage.unreadable += 1,
            }
            continue;
        }
        way.pop();
        let Some((expected, _)) = way.last() else { break };
        match open(&folder, "..").ok().filter(|outer| fstat(outer).is_ok_and(|stat| identity(&stat) == *expected)) {
            Some(outer) => folder = outer,
            None => {
                usage.is_partial = true;
                break;
            }
        }
    }
    Ok(usage)
}

/// Counts what is in a folder; returns the names of the folders among it.
fn folders_in(
    folder: &OwnedFd,
    usage: &mut Usage,
    seen: &mut HashSet<(u64, u64)>,
    is_enough: &mut impl FnMut(&Usage) -> bool,
) -> Vec<CString> {
    let Ok(entries) = Dir::read_from(folder) else {
        usage.unreadable += 1;
        return Vec::new();
    };
    let (mut folders, mut is_readable) = (Vec::new(), true);
    for entry in entries.map_while(Result::ok).filter(|entry| !is_dot(entry.file_name().to_bytes())) {
        let stat = match statat(folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(errno) => {
                is_readable &= errno == Errno::NOENT;
                continue;
            }
        };
        usage.count(&stat, seen);
        if is_folder(&stat) {
            folders.push(entry.file_name().to_owned());
        }
        if is_enough(usage) {
            break;
        }
    }
    usage.unreadable += u64::from(!is_readable);
    folders
}

/// How many things may be left before a removal is given up.
const MOST_LEFT: usize = 100;

/// Removes a folder with everything in it, or a file or link. Folders are made accessible first. Goes on after something
/// that cannot be removed, and does not enter other file systems.
///
/// # Errors
/// If anything is left: the first such path, why it is left, and how many there are.
pub fn remove(top: &Path) -> io::Result<()> {
    let stat = statat(CWD, top, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| named(top, errno, ""))?;
    if !is_folder(&stat) {
        return unlinkat(CWD, top, AtFlags::empty()).map_err(|errno| named(top, errno, ""));
    }
    let mut removal = Removal { top, device: stat.st_dev, way: Vec::new(), left: Vec::new() };
    match removal.empty(&stat) {
        Ok(()) if removal.left.is_empty() => match unlinkat(CWD, top, AtFlags::REMOVEDIR) {
            Ok(()) => return Ok(()),
            Err(errno) => removal.left.push((top.to_owned(), errno)),
        },
        Ok(()) => {}
        Err(errno) => removal.left.push((removal.path(None), errno)),
    }
    let (path, errno) = &removal.left[0];
    let more = match removal.left.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    Err(named(path, *errno, &more))
}

fn named(path: &Path, errno: Errno, more: &str) -> io::Error {
    let why = io::Error::from(errno);
    io::Error::new(why.kind(), format!("{}: {why}{more}", path.display()))
}

struct Removal<'a> {
    top: &'a Path,
    device: u64,
    /// The folders on the way down.
    way: Vec<Step>,
    left: Vec<(PathBuf, Errno)>,
}

/// A folder on the way down.
struct Step {
    name: CString,
    identity: (u64, u64),
    /// What cannot be removed from it.
    left: HashSet<CString>,
}

impl Removal<'_> {
    /// Removes everything in the topmost folder, or as much of it as possible. An error ends the removal.
    fn empty(&mut self, top: &Stat) -> Result<(), Errno> {
        make_accessible(CWD, self.top, top)?;
        let mut folder = open(CWD, self.top)?;
        let identity = identity(&fstat(&folder)?);
        self.way.push(Step { name: CString::default(), identity, left: HashSet::new() });
        loop {
            if let Some(name) = self.clear(&folder)? {
                match self.enter(&folder, &name) {
                    Ok(inner) => folder = inner,
                    Err(errno) => self.leave_behind(name, errno)?,
                }
                continue;
            }
            let Some(done) = self.way.pop() else { return Ok(()) };
            let Some(outer) = self.way.last() else { return Ok(()) };
            let expected = outer.identity;
            folder = open(&folder, "..")?;
            if self::identity(&fstat(&folder)?) != expected {
                return Err(Errno::STALE);
            }
            match unlinkat(&folder, &done.name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(_) if !done.left.is_empty() => self.skip(done.name),
                Err(errno) => self.leave_behind(done.name, errno)?,
            }
        }
    }

    /// Removes what is directly in a folder; returns the first folder in it that is not empty.
    fn clear(&mut self, folder: &OwnedFd) -> Result<Option<CString>, Errno> {
        loop {
            let mut is_over = true;
            for entry in Dir::read_from(folder)? {
                let entry = entry?;
                let name = entry.file_name();
                if is_dot(name.to_bytes()) || self.way.last().is_some_and(|step| step.left.contains(name)) {
                    continue;
                }
                let removed = match entry.file_type() {
                    FileType::Directory => Err(Errno::ISDIR),
                    _ => unlinkat(folder, name, AtFlags::empty()),
                };
                let removed = match removed {
                    Err(Errno::ISDIR) => unlinkat(folder, name, AtFlags::REMOVEDIR),
                    other => other,
                };
                match removed {
                    Ok(()) | Err(Errno::NOENT) => is_over = false,
                    Err(Errno::NOTEMPTY | Errno::EXIST) => return Ok(Some(name.to_owned())),
                    Err(errno) => self.leave_behind(name.to_owned(), errno)?,
                }
            }
            // A file system may skip entries while others are removed.
            if is_over {
                return Ok(None);
            }
        }
    }

    fn enter(&mut self, folder: &OwnedFd, name: &CString) -> Result<OwnedFd, Errno> {
        let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if stat.st_dev != self.device {
            return Err(Errno::BUSY);
        }
        make_accessible(folder, name, &stat)?;
        let inner = open(folder, name)?;
        self.way.push(Step { name: name.clone(), identity: identity(&fstat(&inner)?), left: HashSet::new() });
        Ok(inner)
    }

    /// Notes that something in the current folder is left, and why; an error if too much is.
    fn leave_behind(&mut self, name: CString, errno: Errno) -> Result<(), Errno> {
        self.left.push((self.path(Some(&name)), errno));
        self.skip(name);
        if self.left.len() < MOST_LEFT { Ok(()) } else { Err(errno) }
    }

    fn skip(&mut self, name: CString) {
        if let Some(step) = self.way.last_mut() {
            step.left.insert(name);
        }
    }

    /// Returns the path of something in the current folder, without the middle of a long one.
    fn path(&self, name: Option<&CString>) -> PathBuf {
        const ENDS: usize = 8;
        let mut names: Vec<&OsStr> = self.way.iter().skip(1).map(|step| &step.name).chain(name).map(os_str).collect();
        if names.len() > 2 * ENDS {
            names.splice(ENDS..names.len() - ENDS, [OsStr::new("…")]);
        }
        self.top.join(names.into_iter().collect::<PathBuf>())
    }
}

fn os_str(name: &CString) -> &OsStr {
    OsStr::from_bytes(name.to_bytes())
}

/// Gives the owner of a folder all permissions, which removing things from it takes.
fn make_accessible(at: impl std::os::fd::AsFd, name: impl rustix::path::Arg, stat: &Stat) -> Result<(), Errno> {
    let mode: RawMode = stat.st_mode;
    if mode & 0o700 == 0o700 {
        return Ok(());
    }
    chmodat(at, name, Mode::RWXU, AtFlags::empty())
}

fn open(at: impl std::os::fd::AsFd, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty())
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn is_dot(name: &[u8]) -> bool {
    matches!(name, b"." | b"..")
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, time::Instant};

    use rustix::fs::{mkdirat, symlinkat};

    use super::*;

    /// Nested folders of this depth, with a file in the innermost one.
    fn nest(top: &Path, depth: usize) {
        let mut folder = open(CWD, top).unwrap();
        for _ in 0..depth {
            mkdirat(&folder, "deeper", Mode::RWXU).unwrap();
            folder = open(&folder, "deeper").unwrap();
        }
        symlinkat("/", &folder, "link").unwrap();
    }

    fn everything(top: &Path) -> Usage {
        measure(top, &mut HashSet::new(), |_| false).unwrap()
    }

    #[test]
    fn a_folder_nested_deeper_than_any_path_is_measured_and_removed() {
        // In memory if possible: on a disk every folder takes a block and entries of the journal.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let top = folder.path().join("top");
        fs::create_dir_all(top.join("aside/empty")).unwrap();
        nest(&top, 60_000);
        let started = Instant::now();
        let usage = everything(&top);
        assert_eq!((usage.inodes, usage.unreadable, usage.is_partial), (60_004, 0, false));
        let measured = started.elapsed();
        remove(&top).unwrap();
        assert!(!top.exists());
        println!("measured in {measured:?}, removed in {:?}", started.elapsed() - measured);
    }

    #[test]
    fn links_are_removed_and_what_they_point_to_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (top, other) = (folder.path().join("top"), folder.path().join("other"));
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(other.join("precious"), "text").unwrap();
        std::os::unix::fs::symlink(&other, top.join("a/b/link")).unwrap();
        fs::hard_link(other.join("precious"), top.join("a/second")).unwrap();
        assert_eq!(everything(&top).inodes, 5);
        remove(&top).unwrap();
        assert!(!top.exists() && other.join("precious").exists());
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&other, &link).unwrap();
        remove(&link).unwrap();
        assert!(other.join("precious").exists());
        assert_eq!(remove(&link).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn holes_do_not_count_and_a_file_with_two_names_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let sparse = fs::File::create(folder.path().join("sparse")).unwrap();
        sparse.set_len(1 << 40).unwrap();
        fs::write(folder.path().join("one"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(folder.path().join("one"), folder.path().join("two")).unwrap();
        let usage = everything(folder.path());
        assert_eq!(usage.inodes, 3);
        assert!((1 << 20..2 << 20).contains(&usage.bytes), "{usage:?}");
    }

    #[test]
    fn measuring_ends_where_it_is_told_to() {
        let folder = tempfile::tempdir().unwrap();
        (0..1000).for_each(|file| fs::write(folder.path().join(file.to_string()), "").unwrap());
        let usage = measure(folder.path(), &mut HashSet::new(), |usage| usage.inodes >= 10).unwrap();
        assert_eq!((usage.inodes, usage.is_partial), (10, true));
    }

    /// Runs a test of this program again without the privileges that make permissions meaningless, if it has them.
    fn without_privileges(test: &str) -> bool {
        use std::process::Command;
        if !rustix::process::geteuid().is_root() || std::env::var_os("UNPRIVILEGED").is_some() {
            return true;
        }
        // Its own folder, and a copy of this program there: those of the build may be closed to other users.
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let program = folder.path().join("test");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let arguments = ["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"];
        let mut command = Command::new("setpriv");
        command.args(arguments).arg(&program).args(["--exact", test, "--nocapture"]).current_dir(folder.path());
        let output = command.env("UNPRIVILEGED", "1").env("TMPDIR", folder.path()).output().unwrap();
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && shown.contains("1 passed"), "{shown}{output:?}");
        false
    }

    #[test]
    fn folders_without_permissions_are_counted_as_unreadable_and_removed() {
        if !without_privileges("folder::tests::folders_without_permissions_are_counted_as_unreadable_and_removed") {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().join("top");
        for (name, mode) in [("none", 0), ("no-write", 0o500), ("no-search", 0o600)] {
            fs::create_dir_all(top.join(name).join("inner")).unwrap();
            fs::write(top.join(name).join("inner/file"), "text").unwrap();
            for closed in [top.join(name).join("inner"), top.join(name)] {
                fs::set_permissions(closed, fs::Permissions::from_mode(mode)).unwrap();
            }
        }
        fs::set_permissions(&top, fs::Permissions::from_mode(0o500)).unwrap();
        assert!(fs::remove_dir_all(&top).is_err(), "the permissions count");
        // Of `no-search` the names can be read, but nothing can be looked at.
        assert_eq!(everything(&top).unreadable, 2);
        remove(&top).unwrap();
        assert!(!top.exists());
    }

    #[test]
    fn what_is_left_is_named_with_the_reason_and_the_rest_is_removed() {
        if !without_privileges("folder::tests::what_is_left_is_named_with_the_reason_and_the_rest_is_removed") {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().join("closed/top");
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::write(top.join("a/b/c"), "text").unwrap();
        fs::set_permissions(folder.path().join("closed"), fs::Permissions::from_mode(0o500)).unwrap();
        let error = remove(&top).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(error.to_string(), format!("{}: Permission denied (os error 13)", top.display()));
        assert_eq!(fs::read_dir(&top).unwrap().count(), 0, "what can be removed is gone");
        fs::set_permissions(folder.path().join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    }

    #[test]
    fn a_mount_is_left_alone_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().join("top");
        fs::create_dir_all(top.join("a/mount")).unwrap();
        fs::write(top.join("a/file"), "text").unwrap();
        let mut removal = Removal { top: &top, device: u64::MAX, way: Vec::new(), left: Vec::new() };
        fs::write(top.join("a/mount/file"), "text").unwrap();
        removal.empty(&statat(CWD, &top, AtFlags::empty()).unwrap()).unwrap();
        assert_eq!(removal.left, [(top.join("a"), Errno::BUSY)]);
        assert!(top.join("a/mount/file").exists());
    }
}
