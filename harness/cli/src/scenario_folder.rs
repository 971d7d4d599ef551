//! The scenarios of a folder, for verbs that neither build nor boot anything.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use clap::{Args, ValueHint};
use harness_planner::checked::Checked;
use harness_protocol::name::ScenarioName;
use harness_runner::scenario_runner::Runner;
use harness_scenario::similar::similar_scenarios;

use crate::{Context, exit::Wrong, screen::quoted};

/// The option that names a folder of scenarios.
#[derive(Debug, Args)]
pub(crate) struct FolderOption {
    /// Directory of scenario files to use instead of the project's
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    scenarios: Option<PathBuf>,
}

impl FolderOption {
    /// Returns the folder.
    pub(crate) fn folder(&self, context: &Context) -> Result<PathBuf> {
        match &self.scenarios {
            Some(folder) => Ok(folder.clone()),
            None => match &context.defaults()?.scenarios {
                Some(folder) => Ok(folder.clone()),
                None => Ok(context.project()?.scenarios()),
            },
        }
    }

    /// Returns the folder that was given.
    pub(crate) fn given(&self) -> Option<&Path> {
        self.scenarios.as_deref()
    }

    /// Returns the option as it was given, after a blank.
    pub(crate) fn words(&self) -> String {
        let words = |folder: &Path| format!(" --scenarios {}", quoted(&folder.display().to_string()));
        self.given().map(words).unwrap_or_default()
    }

    /// Opens the folder.
    pub(crate) fn open(&self, context: &Context) -> Result<Runner> {
        Runner::open(context.project()?, &self.folder(context)?).map_err(Wrong::input)
    }
}

/// Reads and checks one scenario.
pub(crate) fn scenario(runner: &Runner, name: &str) -> Result<Checked> {
    let known: Option<&ScenarioName> = runner.suite().names().find(|known| known.as_str() == name);
    let Some(known) = known else {
        let similar: Vec<&str> =
            similar_scenarios(name, runner.suite().names()).into_iter().map(ScenarioName::as_str).collect();
        let advice =
            if similar.is_empty() { String::new() } else { format!("; did you mean {}?", similar.join(" or ")) };
        return Err(Wrong::input(anyhow!("{} has no scenario `{name}`{advice}", runner.suite().folder().display())));
    };
    Ok(runner.check([known]).map_err(Wrong::input)?.remove(0))
}
