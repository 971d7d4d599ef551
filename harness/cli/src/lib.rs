//! The verbs of the command line: arguments in, text and an exit code out.
//!
//! A verb parses its arguments, calls the library that does the work, and prints. It only decides the exit code itself.

mod actions;
pub mod atomic_write;
mod bless;
mod bpf_objects;
pub mod candidates;
mod caps;
mod configurations;
mod context;
mod convert;
mod defaults;
pub mod diagnostic;
mod diff;
pub mod documents;
pub mod exit;
mod grants;
pub mod image;
pub mod kernel;
mod known_kernels;
mod list;
pub mod listing;
mod new;
mod order;
mod output;
pub mod pin_options;
mod proving;
mod report;
mod run;
mod scenario_folder;
pub mod screen;
pub mod selection;
pub mod setup;
mod show;
mod validate;
mod view;
mod watch;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Command, Subcommand};
use schemars::{Schema, schema_for};

pub use context::Context;

/// A verb.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "the arguments describe their verb, in its help text")]
pub enum Verb {
    Run(run::Args),
    Report(report::Args),
    List(list::Args),
    Show(show::Args),
    New(new::Args),
    Bless(bless::Args),
    Diff(diff::Args),
    Validate(validate::Args),
    Convert(convert::Args),
    Caps(caps::Args),
    Grants(grants::Args),
    Setup(setup::Args),
}

impl Verb {
    /// Runs the verb.
    ///
    /// # Errors
    /// If the verb fails; [`exit::code_of`] returns the exit code.
    pub fn run(&self, context: &Context) -> Result<ExitCode> {
        match self {
            Self::Run(args) => run::run(args, context),
            Self::Report(args) => report::run(args, context),
            Self::List(args) => list::run(args, context),
            Self::Show(args) => show::run(args, context),
            Self::New(args) => new::run(args, context),
            Self::Bless(args) => bless::run(args, context),
            Self::Diff(args) => diff::run(args, context),
            Self::Validate(args) => validate::run(args, context),
            Self::Convert(args) => convert::run(args, context),
            Self::Caps(args) => caps::run(args, context),
            Self::Grants(args) => grants::run(args, context),
            Self::Setup(args) => setup::run(args, context),
        }
    }
}

/// Returns the JSON Schemas of the documents that verbs print, and of the project file, each with the name of its file in `docs/`, without
/// `.schema.json`. Others are beside what makes the documents.
pub fn schemas() -> [(&'static str, Schema); 6] {
    [
        ("caps", schema_for!(caps::page::Document)),
        ("caps-exec", schema_for!(caps::program_document::Document)),
        ("convert", schema_for!(convert::Document)),
        ("list", schema_for!(documents::List)),
        ("scenarios", schema_for!(list::Document)),
        ("bpf-token", defaults::schema().clone()),
    ]
}

/// The placeholder for the program's name in help texts.
const PLACEHOLDER: &str = "{program}";

/// Inserts the program's name into the help texts of a command and its verbs.
pub fn named(command: Command) -> Command {
    let after =
        command.get_after_help().map(|text| text.to_string().replace(PLACEHOLDER, harness_program::NAME.as_str()));
    let command = command.mut_subcommands(named);
    match after {
        Some(text) => command.after_help(text),
        None => command,
    }
}
