//! Folders within a folder that is, or becomes, the root file system of a guest: nothing is created outside it, whatever
//! symbolic links it has.

use std::{
    ffi::OsString,
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};

/// The mode of folders: every user in the guest may read them, whatever the umask of the person who makes them.
pub(crate) const MODE: u32 = 0o755;

/// The most symbolic links that Linux follows in a path (path_resolution(7)).
const LINKS: u32 = 40;

/// Creates a folder of a root and its parents, and returns its path. Follows links on the way as the guest would. An error
/// comes with the path that could not be made.
pub(crate) fn within(root: &Path, guest_path: &Path) -> Result<PathBuf, (PathBuf, io::Error)> {
    let mut at = PathBuf::new();
    let mut links = 0;
    let mut rest = reversed(guest_path);
    while let Some(part) = rest.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        let path = root.join(&at).join(&part);
        match fs::read_link(&path) {
            Ok(target) => {
                links += 1;
                if links > LINKS {
                    return Err((path, rustix::io::Errno::LOOP.into()));
                }
                if target.is_absolute() {
                    at.clear();
                }
                rest.extend(reversed(&target));
            }
            Err(_) => {
                make(&path).map_err(|error| (path, error))?;
                at.push(part);
            }
        }
    }
    Ok(root.join(at))
}

/// Returns the names and `..` in a path, the last one first.
fn reversed(path: &Path) -> Vec<OsString> {
    let leads = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::ParentDir);
    path.components().filter(leads).map(|part| part.as_os_str().to_owned()).rev().collect()
}

fn make(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other.and_then(|()| fs::set_permissions(path, Permissions::from_mode(MODE))),
    }
}
