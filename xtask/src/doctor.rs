//! `cargo xtask doctor`: reports whether scenarios can run on this host. It changes nothing.

mod facts;
mod limits;
mod page;
mod version;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args as ClapArgs, ValueEnum};
use harness_cli::{
    Context, exit,
    screen::{self, print},
};
use schemars::{Schema, schema_for};

/// Check whether scenarios can run on this host, and say what to do if not
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Nothing is installed, built or written.

Examples:
  cargo xtask doctor
  cargo xtask doctor --format json | jq .problems

Exit codes: 0 scenarios can run here; 2 wrong usage; 3 they cannot: each problem says what to do.")]
pub(crate) struct Args {
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text
    Human,
    /// One JSON object (docs/doctor.schema.json)
    Json,
}

/// Returns the JSON Schema of the facts.
pub(crate) fn schema() -> Schema {
    schema_for!(facts::Facts)
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let facts = facts::gather(context.project()?)?;
    match args.format {
        Format::Human => print(&screen::wrapped(&page::render(&facts)))?,
        Format::Json => {
            let text = serde_json::to_string_pretty(&facts).context("cannot write the facts as JSON")?;
            print(&(text + "\n"))?;
        }
    }
    Ok(if facts.scenarios_can_run { ExitCode::SUCCESS } else { exit::FAILED.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_are_as_their_schema_says() {
        let validator = jsonschema::validator_for(schema().as_value()).unwrap();
        let problem = facts::Problem { what: "no QEMU".to_owned(), advice: "install it".to_owned(), blocks: true };
        let areas = vec![("store", 3_u64)];
        let facts = facts::Facts {
            problems: vec![problem],
            cache: facts::CacheFacts { areas, ..facts::CacheFacts::default() },
            ..facts::Facts::default()
        };
        let document = serde_json::to_value(&facts).unwrap();
        assert!(validator.is_valid(&document), "{document}");
        assert!(!validator.is_valid(&serde_json::json!({ "problems": 1 })));
    }
}
