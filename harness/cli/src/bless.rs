//! `bless`: shows changed snapshots and accepts them.

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

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

/// Show how verdicts differ from their snapshots, and accept the new verdicts
#[derive(Debug, ClapArgs)]
#[command(mut_arg("yes", |arg| arg.help("Accept, and install missing host packages, without asking")), after_help = "\
A verdict that contradicts its scenario's expectation cannot be blessed: fix the scenario or the
kernel.
If kernels differ, the first one's text becomes NAME.snap and each other one's NAME@KERNEL.snap.
An image other than the scenario's first gets NAME@@IMAGE.snap if it differs on all kernels that
ran, and NAME@KERNEL@IMAGE.snap otherwise. All but NAME.snap need a reason: --reason adds it to
differences.toml in the scenario directory. A reason is removed with its last snapshot.
On a terminal the changes of several scenarios are shown and accepted one after the other.

Examples:
  {program} bless --filter maps/mine        show what would change, and ask
  {program} bless --kernel 7.3 --filter token/mine --reason 'A token describes itself since 6.17' --yes
  {program} bless --image systemd-257 --filter systemd/mine --reason 'It has no PrivateBPF='

Exit codes: 0 accepted, or nothing to accept; 1 a verdict cannot be blessed, or was not accepted;
2 wrong usage or a bad file; 3 the harness, QEMU or a build failed; 4 nothing was selected.")]
pub struct Args {
    #[command(flatten)]
    selectors: Selectors,

    #[command(flatten)]
    reason: ReasonArgs,
}

/// The reason for a difference, from the command line.
#[derive(Debug, ClapArgs)]
struct ReasonArgs {
    /// Reason for the difference, in one sentence; applies to every snapshot of a kernel or image that has none yet
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// Linux commit that made the difference, all 40 digits
    #[arg(long, value_name = "SHA", requires = "reason")]
    commit: Option<String>,
}

impl ReasonArgs {
    /// Returns the reason, parsed.
    fn explanation(&self) -> Result<Option<Explanation>> {
        let Some(reason) = &self.reason else { return Ok(None) };
        let commit = self.commit.as_ref().map(|text| text.parse::<Commit>()).transpose();
        let commit = commit.map_err(|error: BadCommit| Wrong::input(anyhow!("--commit {error}")))?;
        let explanation = Explanation::new(reason, commit);
        explanation.map(Some).map_err(|error: BadReason| Wrong::input(anyhow!("--reason: {error}")))
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let given = args.reason.explanation()?;
    let selection = args.selectors.resolve(context, Progress::detect())?;
    if selection.scenarios.is_empty() {
        return Ok(selection::nothing(&selection));
    }
    if context.bundle().is_some() && selection.has_scenarios_of_project() {
        return Err(Wrong::input(anyhow!(
            "the scenarios that the program brings have their snapshots; `--scenarios DIR` names yours"
        )));
    }
    if selection.has_running_kernel() {
        return Err(Wrong::input(anyhow::anyhow!(
            "the verdicts of `host` cannot be blessed: snapshots are for kernels that everyone can boot"
        )));
    }
    let results = selection.results().map_err(selection::blame)?;
    let mut reasons = update(&selection, given.clone())?;
    let (all, refused) = sort(&selection, &results, &mut reasons)?;
    let one_by_one = all.len() > 1 && !args.selectors.assumes_yes() && io::stdin().is_terminal();
    let (count, mut accepted) = (all.len(), all);
    if one_by_one {
        accepted = chosen(accepted)?;
        reasons = update(&selection, given)?;
        for Proposal { scenario, changes } in &accepted {
            reasons.enter(scenario, changes).map_err(|complaints| anyhow!("{scenario}\n{complaints}"))?;
        }
    }
    let path = selection.runner.suite().reasons_path();
    let changed = reasons.text().map_err(|error| Wrong::input(anyhow!("cannot change {}: {error}", path.display())))?;
    let changes = accepted.iter().map(|proposal| proposal.changes.len()).sum();
    if changes > 0 || changed.is_some() {
        if !one_by_one {
            accepted.iter().try_for_each(Proposal::print)?;
        }
        if let Some(text) = &changed {
            let difference = report::difference(selection.runner.reasons().text(), text);
            screen::print(&format!("changed {}\n{difference}\n", path.display()))?;
        }
        let is_agreed = args.selectors.assumes_yes() || one_by_one;
        if !(is_agreed || confirmed(changes + usize::from(changed.is_some()))?) {
            eprintln!("nothing was changed");
            return Ok(exit::DIFFERS.into());
        }
        for Proposal { scenario, changes } in &accepted {
            changes.iter().try_for_each(|change| make(&selection, scenario, change, &results))?;
        }
        changed.iter().try_for_each(|text| reasons_update::write(&path, text))?;
    }
    if reasons.is_idle() {
        eprintln!("--reason was not used: every selected snapshot of a kernel or image already has a reason");
    }
    eprintln!("{} changed", counted(changes, "snapshot file"));
    Ok(if refused || accepted.len() < count { exit::DIFFERS.into() } else { ExitCode::SUCCESS })
}

/// The changes of a scenario's snapshots.
struct Proposal<'f> {
    scenario: &'f ScenarioName,
    changes: Vec<Change>,
}

impl Proposal<'_> {
    fn print(&self) -> Result<()> {
        self.changes.iter().try_for_each(|change| screen::print(&format!("{}\n", change.describe())))
    }
}

fn update(selection: &Selection, given: Option<Explanation>) -> Result<ReasonsUpdate<'_>> {
    Ok(ReasonsUpdate::new(selection.runner.reasons(), selection.runner.suite().own_snapshots()?, given))
}

/// Shows the changes of one scenario after the other, and asks about each; returns the accepted ones.
fn chosen(all: Vec<Proposal<'_>>) -> Result<Vec<Proposal<'_>>> {
    let (count, mut accepted, mut asks) = (all.len(), Vec::new(), true);
    for (index, proposal) in all.into_iter().enumerate() {
        proposal.print()?;
        let question = format!(
            "({} of {count}) accept {}? [y]es, [n]o, [a]ll from here, [q]uit without it and the rest",
            index + 1,
            proposal.scenario
        );
        match if asks { screen::letter(&question, &['y', 'n', 'a', 'q'])? } else { Some('y') } {
            Some('y') => accepted.push(proposal),
            Some('a') => {
                asks = false;
                accepted.push(proposal);
            }
            Some('n') => {}
            _ => break,
        }
    }
    Ok(accepted)
}

/// Separates the changes that can be accepted, and prints why others cannot. The second value says whether there are any.
fn sort<'f>(
    selection: &Selection,
    results: &'f [ScenarioResult],
    reasons: &mut ReasonsUpdate<'_>,
) -> Result<(Vec<Proposal<'f>>, bool)> {
    let mut refused = false;
    let mut accepted = Vec::new();
    let naming = selection.naming();
    for group in results.chunk_by(|a, b| a.scenario == b.scenario) {
        let scenario = &group[0].scenario;
        let changes = proposed(selection, group, naming)?;
        match changes.and_then(|changes| reasons.enter(scenario, &changes).map(|()| changes)) {
            Ok(changes) if changes.is_empty() => {}
            Ok(changes) => accepted.push(Proposal { scenario, changes }),
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
        eprintln!("standard input is not a terminal: use --yes to accept {changes}");
    }
    Ok(answer == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(reason: Option<&str>, commit: Option<&str>) -> Result<Option<Explanation>> {
        ReasonArgs { reason: reason.map(str::to_owned), commit: commit.map(str::to_owned) }.explanation()
    }

    #[test]
    fn an_invalid_reason_is_wrong_usage() {
        assert_eq!(given(None, None).unwrap(), None);
        assert!(given(Some("so"), Some(&"a".repeat(40))).unwrap().unwrap().commit.is_some());
        let message = |reason, commit| {
            let error = given(Some(reason), commit).unwrap_err();
            assert!(error.is::<Wrong>());
            error.to_string()
        };
        insta::assert_snapshot!(message("", None), @r#"--reason: the reason is empty; say why the verdicts differ"#);
        insta::assert_snapshot!(message("so", Some("abc")), @r#"--commit `abc` is not a commit hash; write all 40 hexadecimal digits in lower case"#);
    }
}
