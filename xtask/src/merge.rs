//! `cargo xtask merge`: outcome stores of several machines into this one's.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Args as ClapArgs;
use harness_builder::progress::Progress;
use harness_cli::{Context, exit, exit::Wrong, screen::print};
use harness_runner::{
    resources::Resources,
    store::{Freshness, MergeError, Merged},
};

/// Take the outcomes that other machines stored into this one's store
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Each folder is a cache, or the `store` in one. All are read and checked before anything is written. What
two machines answered differently is told, and the newer answer kept.

Examples:
  cargo xtask merge stores/1 stores/2
  cargo xtask report --kernel all             what the store knows then

Exit codes: 0 merged; 1 merged, and two runs of a scenario differ; 2 a folder that is no store, or a
damaged or foreign file in one; 3 a folder cannot be read or written.")]
pub(crate) struct Args {
    /// Folders of caches or stores
    #[arg(value_name = "DIR", required = true)]
    folders: Vec<PathBuf>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let resources = Resources::open(context.project()?.clone(), Freshness::Any, Progress::silent())?;
    let merged = match resources.store().merge(&args.folders) {
        Ok(merged) => merged,
        Err(error @ MergeError::Store(_)) => return Err(error.into()),
        Err(error) => return Err(Wrong::input(error)),
    };
    for conflict in &merged.conflicts {
        eprintln!("error: {conflict}");
    }
    print(&format!("{}\n", sentence(&merged)))?;
    Ok(if merged.conflicts.is_empty() { ExitCode::SUCCESS } else { exit::DIFFERS.into() })
}

fn sentence(merged: &Merged) -> String {
    let Merged { new, same, conflicts, testbeds } = merged;
    format!("{new} outcomes new, {same} the same, {} in conflict; {testbeds} testbeds", conflicts.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_is_told_in_figures() {
        let merged = Merged { new: 3, same: 2, conflicts: Vec::new(), testbeds: 1 };
        assert_eq!(sentence(&merged), "3 outcomes new, 2 the same, 0 in conflict; 1 testbeds");
    }
}
