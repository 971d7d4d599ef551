//! The subjects of commits that are not on the default branch of `origin` yet.

use std::path::Path;

use xshell::{Shell, cmd};

/// The most characters that a subject may have.
const LONGEST: usize = 72;

/// Where the default branch is, in the order in which it is looked for.
const BASES: [&str; 3] = ["refs/remotes/origin/HEAD", "refs/remotes/origin/main", "refs/remotes/origin/master"];

/// Returns a message for each new commit whose subject is too long.
///
/// Returns none where the new commits are unknown: without git, without a remote, or in a shallow clone that lacks the base.
pub(crate) fn too_long(root: &Path) -> Vec<String> {
    log(root).unwrap_or_default().lines().filter_map(complaint).collect()
}

/// Lists the new commits, one per line: abbreviated hash, then subject.
fn log(root: &Path) -> Option<String> {
    let shell = Shell::new().ok()?;
    shell.change_dir(root);
    let read = |arguments: &[&str]| cmd!(shell, "git {arguments...}").quiet().ignore_stderr().read().ok();
    let base = BASES.iter().find_map(|base| read(&["merge-base", "HEAD", base]))?;
    read(&["log", "--no-merges", "--format=%h %s", &format!("{base}..HEAD")])
}

fn complaint(line: &str) -> Option<String> {
    let (hash, subject) = line.split_once(' ')?;
    let length = subject.chars().count();
    (length > LONGEST).then(|| format!("the subject of {hash} has {length} characters, more than {LONGEST}: {subject}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_commits_are_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let shell = Shell::new().unwrap();
        shell.change_dir(folder.path());
        let git = |arguments: &[&str]| {
            let settings = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"];
            cmd!(shell, "git {settings...} {arguments...}").quiet().ignore_stdout().ignore_stderr().run().unwrap();
        };
        let commit = |subject: &str| git(&["commit", "--allow-empty", "--message", subject]);
        git(&["init"]);
        commit(&"x".repeat(LONGEST + 1));
        assert!(too_long(folder.path()).is_empty(), "there is no remote");
        git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
        assert!(too_long(folder.path()).is_empty(), "it is on the default branch");
        commit(&"é".repeat(LONGEST));
        commit(&"y".repeat(LONGEST + 1));
        let found = too_long(folder.path());
        assert!(found.len() == 1 && found[0].ends_with("y"), "{found:?}");
        assert!(too_long(Path::new("/")).is_empty());
    }
}
