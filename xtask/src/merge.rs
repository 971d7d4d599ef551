//! `cargo xtask merge`: merges outcome stores of other machines into this one's.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Args as ClapArgs;
use harness_builder::progress::Progress;
use harness_cli::{Context, exit, exit::Wrong, screen::print};
use harness_runner::{
    resources::Resources,
    store::{Freshness, MergeError, Merged},
};

/// Merge the outcome stores of other machines into this one's
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Each folder is a cache, or the `store` in one. All are read and checked before anything is written.
If two machines have different outcomes of a scenario, the conflict is reported and the newer kept.

Examples:
  cargo xtask merge stores/1 stores/2
  cargo xtask report --kernel all             shows the merged results

Exit codes: 0 merged; 1 merged with conflicts; 2 a folder is not a store, or has a damaged or foreign
file; 3 a folder cannot be read or written.")]
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
    format!("{new} new outcomes, {same} already stored, {} in conflict; {testbeds} testbeds", conflicts.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_is_reported_in_figures() {
        let merged = Merged { new: 3, same: 2, conflicts: Vec::new(), testbeds: 1 };
        assert_eq!(sentence(&merged), "3 new outcomes, 2 already stored, 0 in conflict; 1 testbeds");
    }
}
