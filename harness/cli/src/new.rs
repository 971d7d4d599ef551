//! `new`: writes a scenario to start from.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, anyhow};
use clap::{Args as ClapArgs, ValueEnum};
use harness_program::NAME;
use harness_protocol::name::ScenarioName;
use harness_runner::suite;

use crate::{Context, exit::Wrong, scenario_folder::FolderOption, screen};

/// Write a scenario to start from, with attempts that pass
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
The file is valid as it is: change what it delegates and attempts, and run it. A file that exists is
left alone.

Examples:
  {program} new maps/mine
  {program} new systemd/mine --template unit
  {program} new mine --scenarios tests/bpf

Exit codes: 0 written; 2 wrong usage, or the file exists; 3 it cannot be written.")]
pub struct Args {
    /// Its name: the file's path below the directory of scenarios, without `.toml`
    #[arg(value_name = "SCENARIO")]
    name: String,

    /// What to start from
    #[arg(long, value_enum, default_value_t = Template::Token)]
    template: Template,

    #[command(flatten)]
    folder: FolderOption,
}

/// A scenario to start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Template {
    /// A container with a token, and attempts with and without it
    Token,
    /// The same attempts for several types
    Matrix,
    /// A systemd service that is delegated BPF
    Unit,
}

impl Template {
    const fn text(self) -> &'static str {
        match self {
            Self::Token => include_str!("templates/token.toml"),
            Self::Matrix => include_str!("templates/matrix.toml"),
            Self::Unit => include_str!("templates/unit.toml"),
        }
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let name: ScenarioName = args.name.parse().map_err(Wrong::input)?;
    let folder = args.folder.folder(context)?;
    if context.bundle().is_some() && folder == context.project()?.scenarios() {
        return Err(Wrong::input(anyhow!("name your directory of scenarios: `--scenarios DIR`")));
    }
    let path = write(&folder, &name, args.template)?;
    let scenarios = args.folder.words();
    screen::print(&format!("{}\n", path.display()))?;
    eprintln!("written; `{NAME} run --filter {name}{scenarios}` shows its verdicts");
    Ok(ExitCode::SUCCESS)
}

/// Writes a new file and returns its path.
fn write(folder: &Path, name: &ScenarioName, template: Template) -> Result<PathBuf> {
    let path = folder.join(format!("{name}.toml"));
    if suite::is_other_file(folder, &path) {
        return Err(Wrong::input(anyhow!("{} would not be a scenario; choose another name", path.display())));
    }
    let parent = path.parent().unwrap_or(folder);
    fs::create_dir_all(parent).with_context(|| format!("cannot make the folder {}", parent.display()))?;
    let mut file = match File::options().write(true).create_new(true).open(&path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(Wrong::input(anyhow!("{} exists; choose another name, or remove it first", path.display())));
        }
        opened => opened.with_context(|| format!("cannot write {}", path.display()))?,
    };
    let text = format!("{}{}", schema_line(folder, name), template.text());
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Returns the line by which editors find the schema, if the folder has one.
fn schema_line(folder: &Path, name: &ScenarioName) -> String {
    let up = "../".repeat(name.as_str().matches('/').count());
    if folder.join("schema.json").is_file() { format!("#:schema {up}schema.json\n") } else { String::new() }
}

#[cfg(test)]
mod tests {
    use harness_builder::project::Project;
    use harness_runner::scenario_runner::Runner;

    use super::*;

    #[test]
    fn every_template_is_a_valid_scenario() {
        let project = Project::above(env!("CARGO_MANIFEST_DIR").as_ref()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for template in Template::value_variants() {
            let name: ScenarioName = format!("mine/{template:?}").to_lowercase().parse().unwrap();
            write(folder.path(), &name, *template).unwrap();
        }
        let runner = Runner::open(&project, folder.path()).unwrap();
        let names: Vec<ScenarioName> = runner.suite().names().cloned().collect();
        assert_eq!(runner.check(&names).unwrap().len(), Template::value_variants().len());
    }

    #[test]
    fn a_file_that_exists_stays_and_no_other_file_is_made() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("schema.json"), "{}").unwrap();
        let write = |name: &str| write(folder.path(), &name.parse().unwrap(), Template::Token);
        let text = fs::read_to_string(write("a/b").unwrap()).unwrap();
        assert!(text.starts_with("#:schema ../schema.json\nsummary = "), "{text}");
        let errors = ["a/b", "differences", "x.guard"].map(|name| write(name).unwrap_err());
        assert!(errors.iter().all(|error| error.is::<Wrong>()));
        let shown = errors.map(|error| error.to_string().replace(folder.path().to_str().unwrap(), "DIR")).join("\n");
        insta::assert_snapshot!(shown, @"
        DIR/a/b.toml exists; choose another name, or remove it first
        DIR/differences.toml would not be a scenario; choose another name
        DIR/x.guard.toml would not be a scenario; choose another name
        ");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
