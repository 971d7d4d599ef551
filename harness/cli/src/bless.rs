//! `bless`: accept changed snapshots, after showing them.

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::Args as ClapArgs;
use harness_builder::progress::Progress;
use harness_protocol::name::ScenarioName;
use harness_runner::{
    blessing::{
        Change, proposed,
        reasons_update::{self, ReasonsUpdate},
    },
    report::{self, ScenarioResult, counted},
    selection::Selection,
};
use harness_snapshot::reasons::{BadCommit, BadReason, Commit, Explanation};

use crate::{
    Context,
    exit::{self, Wrong},
    screen,
    selection::{self, Selectors},
};

/// Show how verdicts differ from their snapshots, and accept the difference
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
A verdict that is not what its scenario expects cannot be blessed: mend the scenario or the kernel.
Where kernels differ, the first one's text becomes NAME.snap and each other's NAME@KERNEL.snap. An
image other than the first that the scenario is meant for has NAME@@IMAGE.snap where it differs on all
kernels that ran, else NAME@KERNEL@IMAGE.snap. All but NAME.snap take a reason: --reason adds it to
differences.toml at the top of the scenarios. A reason goes with its last snapshot.

Examples:
  {program} bless --filter maps/mine        shows what would change, and asks
  {program} bless --kernel 7.3 --filter token/mine --reason 'A token describes itself since 6.17' --yes
  {program} bless --image systemd-257 --filter systemd/mine --reason 'It knows no PrivateBPF='

Exit codes: 0 accepted, or nothing to accept; 1 something cannot be blessed, or was not accepted; 2 wrong
usage or a bad file; 3 the harness, QEMU or a build failed; 4 nothing was selected.")]
pub struct Args {
    #[command(flatten)]
    selectors: Selectors,

    #[command(flatten)]
    given: Given,

    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Why kernels differ, as it is given on the command line.
#[derive(Debug, ClapArgs)]
struct Given {
    /// Why verdicts differ, in one sentence: for every snapshot of a kernel's or an image's own that has no reason yet
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// The commit of Linux that made the difference, all 40 digits
    #[arg(long, value_name = "SHA", requires = "reason")]
    commit: Option<String>,
}

impl Given {
    /// What was given, understood.
    fn explanation(&self) -> Result<Option<Explanation>> {
        let Some(reason) = &self.reason else { return Ok(None) };
        let commit = self.commit.as_ref().map(|text| text.parse::<Commit>()).transpose();
        let commit = commit.map_err(|error: BadCommit| Wrong::input(anyhow!("--commit {error}")))?;
        let explanation = Explanation::new(reason, commit);
        explanation.map(Some).map_err(|error: BadReason| Wrong::input(anyhow!("--reason: {error}")))
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let given = args.given.explanation()?;
    let selection = args.selectors.resolve(context, Progress::detect())?;
    if selection.scenarios.is_empty() {
        return Ok(selection::nothing(&selection));
    }
    if selection.has_running_kernel() {
        return Err(Wrong::input(anyhow::anyhow!(
            "the verdicts of `host` are never blessed: snapshots are of kernels that everybody can boot"
        )));
    }
    let results = selection.results().map_err(selection::blame)?;
    let mut ledger = ReasonsUpdate::new(selection.runner.reasons(), selection.runner.suite().own_snapshots()?, given);
    let (accepted, refused) = sort(&selection, &results, &mut ledger)?;
    let path = selection.runner.suite().reasons_path();
    let told = ledger.text().map_err(|error| Wrong::input(anyhow!("cannot change {}: {error}", path.display())))?;
    if !accepted.is_empty() || told.is_some() {
        accepted.iter().try_for_each(|(_, change)| screen::print(&format!("{}\n", change.describe())))?;
        if let Some(text) = &told {
            let difference = report::difference(selection.runner.reasons().text(), text);
            screen::print(&format!("changed {}\n{difference}\n", path.display()))?;
        }
        if !(args.yes || confirmed(accepted.len() + usize::from(told.is_some()))?) {
            eprintln!("nothing was changed");
            return Ok(exit::DIFFERS.into());
        }
        accepted.iter().try_for_each(|(scenario, change)| make(&selection, scenario, change, &results))?;
        told.iter().try_for_each(|text| reasons_update::write(&path, text))?;
    }
    if ledger.is_idle() {
        eprintln!(
            "--reason was not used: every snapshot of a kernel's or an image's own among these scenarios has a reason"
        );
    }
    eprintln!("{} changed", counted(accepted.len(), "snapshot file"));
    Ok(if refused { exit::DIFFERS.into() } else { ExitCode::SUCCESS })
}

/// What is accepted, and whether anything was refused, which is told.
fn sort<'f>(
    selection: &Selection,
    results: &'f [ScenarioResult],
    ledger: &mut ReasonsUpdate<'_>,
) -> Result<(Vec<(&'f ScenarioName, Change)>, bool)> {
    let mut refused = false;
    let mut accepted = Vec::new();
    let naming = selection.naming();
    for group in results.chunk_by(|a, b| a.scenario == b.scenario) {
        let scenario = &group[0].scenario;
        let changes = proposed(selection, group, naming)?;
        match changes.and_then(|changes| ledger.enter(scenario, &changes).map(|()| changes)) {
            Ok(changes) => accepted.extend(changes.into_iter().map(|change| (scenario, change))),
            Err(complaints) => {
                refused = true;
                eprintln!("not blessed: {scenario}\n{complaints}");
            }
        }
    }
    Ok((accepted, refused))
}

fn make(selection: &Selection, scenario: &ScenarioName, change: &Change, results: &[ScenarioResult]) -> Result<()> {
    let summary = results.iter().find(|result| &result.scenario == scenario).map(|result| result.summary.as_str());
    let path = selection.shown_path(selection.runner.suite().path(scenario));
    Ok(change.make(summary.unwrap_or_default(), &path)?)
}

fn confirmed(count: usize) -> Result<bool> {
    let changes = counted(count, "change");
    let answer = screen::agrees(&format!("accept {changes}?"))?;
    if answer.is_none() {
        eprintln!("not a terminal: say --yes to accept {changes}");
    }
    Ok(answer == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(reason: Option<&str>, commit: Option<&str>) -> Result<Option<Explanation>> {
        Given { reason: reason.map(str::to_owned), commit: commit.map(str::to_owned) }.explanation()
    }

    #[test]
    fn a_reason_that_is_none_is_wrong_usage() {
        assert_eq!(given(None, None).unwrap(), None);
        assert!(given(Some("so"), Some(&"a".repeat(40))).unwrap().unwrap().commit.is_some());
        for (reason, commit, part) in [("", None, "--reason: "), ("so", Some("abc"), "--commit `abc` is no commit")] {
            let error = given(Some(reason), commit).unwrap_err();
            assert!(error.is::<Wrong>() && error.to_string().starts_with(part), "{error}");
        }
    }
}
