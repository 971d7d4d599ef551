//! Kernel sources from a git revision.

use std::path::Path;

use xshell::cmd;

use super::error::SourceError;
use crate::{
    cache::{Area, Cache},
    command::{self, CommandError},
    digest::Sha256,
    kernel::manifest::GitSource,
    progress::{Progress, Unit},
};

/// Checks out a revision into `into`. Keeps what was fetched, so another revision of the repository is cheap.
pub(super) fn check_out(git: &GitSource, cache: &Cache, into: &Path, progress: &Progress) -> Result<(), SourceError> {
    let lock = cache.entry(Area::Downloads, &entry_name(git))?.lock(progress)?;
    let repository = Repository { folder: &lock.entry().path() };
    let task = progress.task(&format!("fetch {} of {}", git.revision.as_str(), git.url), Unit::Things("steps"), None);
    repository.run(&["init", "--quiet", "--bare"])?;
    repository.fetch(git)?;
    let work_tree = format!("--work-tree={}", into.display());
    repository.run(&[&work_tree, "checkout", "--quiet", "--force", git.revision.as_str(), "--", "."])?;
    task.finish("checked out");
    Ok(())
}

/// Returns the name of the cache entry that keeps what was fetched of a repository.
pub(super) fn entry_name(git: &GitSource) -> String {
    format!("git-{}", Sha256::of_parts([git.url.as_bytes()]).short())
}

struct Repository<'a> {
    folder: &'a Path,
}

impl Repository<'_> {
    fn run(&self, args: &[&str]) -> Result<String, CommandError> {
        let folder = self.folder;
        command::output(|shell| {
            cmd!(shell, "git --git-dir {folder} {args...}")
                .env("GIT_TERMINAL_PROMPT", "0")
                // The settings of a user or a hook must not redirect git.
                .env_remove("GIT_DIR")
                .env_remove("GIT_WORK_TREE")
                .env_remove("GIT_INDEX_FILE")
                .env_remove("GIT_OBJECT_DIRECTORY")
        })
    }

    fn has(&self, revision: &str) -> Result<String, CommandError> {
        self.run(&["cat-file", "-e", &format!("{revision}^{{commit}}")])
    }

    /// Fetches one commit; fetches everything from a server that serves only branches and tags.
    fn fetch(&self, git: &GitSource) -> Result<(), SourceError> {
        let revision = git.revision.as_str();
        if self.has(revision).is_ok() || self.run(&["fetch", "--quiet", "--depth=1", "--", &git.url, revision]).is_ok()
        {
            return Ok(());
        }
        self.run(&["fetch", "--quiet", "--", &git.url, "+refs/*:refs/fetched/*"])?;
        let missing = |source| SourceError::NoRevision { url: git.url.clone(), revision: revision.to_owned(), source };
        self.has(revision).map(drop).map_err(missing)
    }
}
