//! Files that are put into the guest's own file system for the programs of a scenario, and taken away again.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use harness_protocol::plan::{PLACED_FOLDER, PlacedContent, PlacedFile, Scenario};

/// The end of the name of a file that has made room.
const ASIDE: &str = ".before-placed";

/// Placed files, until dropped.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    files: Vec<PathBuf>,
    /// Those in whose place others are.
    aside: Vec<PathBuf>,
    /// The folders that were made for them, outer ones first.
    folders: Vec<PathBuf>,
}

impl Placed {
    /// Puts the files of all programs of a scenario below `root`.
    ///
    /// # Errors
    /// Names the file that cannot be placed.
    pub(crate) fn put(run_folder: &Path, scenario: &Scenario, root: &Path) -> Result<Self, String> {
        let mut wanted: BTreeMap<&str, &PlacedFile> = BTreeMap::new();
        for file in scenario.cases.iter().flat_map(|case| &case.attempts).flat_map(|attempt| attempt.call.placed()) {
            match wanted.insert(&file.path, file) {
                Some(other) if other != file => return Err(format!("two files are to be at {}", file.path)),
                _ => {}
            }
        }
        let mut placed = Self::default();
        for file in wanted.into_values() {
            placed
                .one(file, &run_folder.join(PLACED_FOLDER), root)
                .map_err(|error| format!("cannot place {}: {error}", file.path))?;
        }
        Ok(placed)
    }

    fn one(&mut self, file: &PlacedFile, contents: &Path, root: &Path) -> io::Result<()> {
        let path = below(root, &file.path)?;
        if file.content == PlacedContent::Folder {
            return self.make_folders(&path);
        }
        self.make_folders(path.parent().unwrap_or(root))?;
        if path.symlink_metadata().is_ok() {
            fs::rename(&path, aside(&path))?;
            self.aside.push(path.clone());
        }
        self.files.push(path.clone());
        match &file.content {
            PlacedContent::Folder => Ok(()),
            PlacedContent::Link { to } => symlink(to, &path),
            PlacedContent::File { name, executable } => {
                fs::copy(contents.join(name), &path)?;
                let mode = if *executable { 0o755 } else { 0o644 };
                fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            }
        }
    }

    fn make_folders(&mut self, folder: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.is_dir()).collect();
        for folder in missing.into_iter().rev() {
            fs::create_dir(folder)?;
            // Whatever the mask of this process is: an unprivileged container has to get through.
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
            self.folders.push(folder.to_owned());
        }
        Ok(())
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        // What cannot be removed stays in the private copy of the image, which ends with the VM.
        self.files.iter().for_each(|path| drop(fs::remove_file(path)));
        self.aside.iter().for_each(|path| drop(fs::rename(aside(path), path)));
        self.folders.iter().rev().for_each(|path| drop(fs::remove_dir(path)));
    }
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ASIDE);
    name.into()
}

/// Returns a path below `root`; only plain absolute paths have one.
fn below(root: &Path, path: &str) -> io::Result<PathBuf> {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    match path.strip_prefix('/') {
        Some(rest) if rest.split('/').all(plain) => Ok(root.join(rest)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no plain absolute path")),
    }
}

#[cfg(test)]
mod tests {
    use harness_protocol::plan::{Actor, Attempt, Call, Case, Exec, Token};

    use super::*;

    fn scenario(files: &[(&str, &str, bool)]) -> Scenario {
        let placed = |(path, file, executable): &(&str, &str, bool)| PlacedFile {
            path: (*path).to_owned(),
            content: match file.strip_prefix("-> ") {
                Some(to) => PlacedContent::Link { to: to.to_owned() },
                None if file.is_empty() => PlacedContent::Folder,
                None => PlacedContent::File { name: (*file).to_owned(), executable: *executable },
            },
        };
        let call = Call::Exec(Exec { files: files.iter().map(placed).collect(), ..Exec::default() });
        let attempts = vec![Attempt::new(Actor::Host, Token::None, call)];
        let case = Case { sysctls: Default::default(), containers: vec![], attempts };
        Scenario::new("a/b".parse().unwrap(), 1, vec![case])
    }

    #[test]
    fn files_are_there_for_the_scenario_and_what_was_there_before_comes_back() {
        let (run, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(run.path().join(PLACED_FOLDER)).unwrap();
        fs::write(run.path().join(PLACED_FOLDER).join("a"), "one").unwrap();
        fs::write(root.path().join("tool"), "before").unwrap();
        let scenario = scenario(&[
            ("/tool", "a", true),
            ("/usr/lib/x/y.so", "a", false),
            ("/link", "-> tool", false),
            ("/a/b", "", false),
        ]);
        let placed = Placed::put(run.path(), &scenario, root.path()).unwrap();
        let mode = |path: &str| root.path().join(path).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(fs::read_to_string(root.path().join("tool")).unwrap(), "one");
        assert_eq!((mode("tool"), mode("usr/lib/x/y.so"), mode("usr/lib")), (0o755, 0o644, 0o755));
        assert_eq!(fs::read_link(root.path().join("link")).unwrap(), Path::new("tool"));
        assert!(root.path().join("a/b").is_dir());
        drop(placed);
        assert_eq!(fs::read_to_string(root.path().join("tool")).unwrap(), "before");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_would_be_elsewhere_or_is_missing_is_named() {
        let (run, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for path in ["x", "/../x", "/a//b", "/", "/a/./b"] {
            let error = Placed::put(run.path(), &scenario(&[(path, "a", false)]), root.path()).unwrap_err();
            assert_eq!(error, format!("cannot place {path}: it is no plain absolute path"));
        }
        let error = Placed::put(run.path(), &scenario(&[("/x", "a", false)]), root.path()).unwrap_err();
        assert_eq!(error, "cannot place /x: No such file or directory (os error 2)");
        let twice = scenario(&[("/x", "a", false), ("/x", "b", false)]);
        assert_eq!(Placed::put(run.path(), &twice, root.path()).unwrap_err(), "two files are to be at /x");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
