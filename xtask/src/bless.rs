//! `cargo xtask bless`: accept changed snapshots, after showing them.

mod reasons;

use std::{collections::BTreeSet, process::ExitCode};

use anyhow::{Result, anyhow};
use clap::Args as ClapArgs;
use harness_builder::progress::Progress;
use harness_model::{
    ground::Ground,
    name::{ImageName, ScenarioName},
    snapshot::{self, Lineage, Recorded},
};
use harness_runner::{
    blessing::{self, Change},
    report::{self, Finding, Naming, Standing, counted},
};
use reasons::Ledger;

use crate::{
    exit::{self, Wrong},
    run, screen,
    selection::{Selection, Selectors},
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
  cargo xtask bless --filter maps/mine        shows what would change, and asks
  cargo xtask bless --kernel 7.3 --filter token/mine --reason 'A token describes itself since 6.17' --yes
  cargo xtask bless --image systemd-257 --filter systemd/mine --reason 'It knows no PrivateBPF='

Exit codes: 0 accepted, or nothing to accept; 1 something cannot be blessed, or was not accepted; 2 wrong
usage or a bad file; 3 the harness, QEMU or a build failed; 4 nothing was selected.")]
pub(crate) struct Args {
    #[command(flatten)]
    selectors: Selectors,

    #[command(flatten)]
    given: reasons::Given,

    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let given = args.given.explanation()?;
    let selection = args.selectors.resolve(Progress::detect())?;
    if selection.scenarios.is_empty() {
        return Ok(selection.nothing());
    }
    if selection.has_running_kernel() {
        return Err(Wrong::input(anyhow::anyhow!(
            "the verdicts of `host` are never blessed: snapshots are of kernels that everybody can boot"
        )));
    }
    let findings = selection.findings()?;
    let mut ledger = Ledger::new(selection.lab.reasons(), selection.lab.suite().own_snapshots()?, given);
    let (accepted, refused) = sort(&selection, &findings, &mut ledger)?;
    let path = selection.lab.suite().reasons_path();
    let told = ledger.text().map_err(|error| Wrong::input(anyhow!("cannot change {}: {error}", path.display())))?;
    if !accepted.is_empty() || told.is_some() {
        accepted.iter().try_for_each(|(_, change)| run::print(&format!("{}\n", change.describe())))?;
        if let Some(text) = &told {
            let difference = report::difference(selection.lab.reasons().text(), text);
            run::print(&format!("changed {}\n{difference}\n", path.display()))?;
        }
        if !(args.yes || confirmed(accepted.len() + usize::from(told.is_some()))?) {
            eprintln!("nothing was changed");
            return Ok(exit::DIFFERS.into());
        }
        accepted.iter().try_for_each(|(scenario, change)| make(&selection, scenario, change, &findings))?;
        told.iter().try_for_each(|text| reasons::write(&path, text))?;
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
    findings: &'f [Finding],
    ledger: &mut Ledger<'_>,
) -> Result<(Vec<(&'f ScenarioName, Change)>, bool)> {
    let mut refused = false;
    let mut accepted = Vec::new();
    let naming = selection.naming();
    for group in findings.chunk_by(|a, b| a.scenario == b.scenario) {
        let scenario = &group[0].scenario;
        let changes = changes(selection, group, naming)?;
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

/// What would change for one scenario, or why it cannot be blessed.
fn changes(selection: &Selection, group: &[Finding], naming: Naming) -> Result<Result<Vec<Change>, String>> {
    let mut texts: Vec<(Lineage, String)> = Vec::new();
    let name = &group[0].scenario;
    let recorded = selection.lab.suite().recorded(name)?;
    let first = selection.first_image(name)?;
    let mut held = held(selection, &recorded, group, &first)?;
    let mut complaints: Vec<String> = Vec::new();
    for finding in group {
        let ground = naming.name(&finding.ground);
        match &finding.standing {
            Standing::Skipped { .. } => held.retain(|lineage| lineage.ground != finding.ground),
            Standing::Judged { judgement, .. } if judgement.crash.is_none() && judgement.problems().is_empty() => {
                texts.push((selection.supplies().lineage(&finding.ground)?, snapshot::render(judgement)));
            }
            // The whole cause would be told with each scenario of the ground.
            Standing::NotRun { cause } => {
                let first = cause.lines().next().unwrap_or_default();
                complaints.push(format!("  {ground}: not run: {first}"));
            }
            Standing::Judged { .. } | Standing::Fault { .. } => {
                complaints.extend(finding.complaints().iter().map(|line| format!("  {ground}: {line}")));
            }
        }
    }
    if !complaints.is_empty() {
        return Ok(Err(complaints.join("\n")));
    }
    Ok(Ok(blessing::changes(selection.lab.suite(), name, &recorded, &texts, &held, &first)))
}

/// The grounds a scenario is held to: the default kernels with the first image it is meant for, and with each other one
/// that ran or has snapshots of its own.
fn held(selection: &Selection, recorded: &Recorded, group: &[Finding], first: &ImageName) -> Result<Vec<Lineage>> {
    let ran = group.iter().map(|finding| &finding.ground.image);
    let own = recorded.texts.keys().filter_map(|owner| owner.image.as_ref());
    let images: BTreeSet<&ImageName> = std::iter::once(first).chain(ran).chain(own).collect();
    let mut held = Vec::new();
    for kernel in selection.default_kernels()? {
        for image in &images {
            let ground = Ground { kernel: kernel.clone(), image: (*image).clone() };
            held.push(selection.supplies().lineage(&ground)?);
        }
    }
    Ok(held)
}

fn make(selection: &Selection, scenario: &ScenarioName, change: &Change, findings: &[Finding]) -> Result<()> {
    let summary = findings.iter().find(|finding| &finding.scenario == scenario).map(|finding| finding.summary.as_str());
    let path = selection.shown_path(selection.lab.suite().path(scenario));
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
