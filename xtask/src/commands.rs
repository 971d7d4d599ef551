//! docs/commands.md: every verb with its arguments, examples and exit codes, written from the same descriptions as `--help`.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command, builder::StyledStr};
use harness_builder::project::Project;
use harness_program::NAME;

use crate::{generated::Generated, variables};

/// Returns every verb with the words that call it, the command itself first.
pub(crate) fn verbs(command: &Command) -> Vec<(String, Command)> {
    fn add(command: &Command, called: &str, all: &mut Vec<(String, Command)>) {
        all.push((called.to_owned(), command.clone()));
        for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
            add(verb, &format!("{called} {}", verb.get_name()), all);
        }
    }
    let mut all = Vec::new();
    add(command, NAME.as_str(), &mut all);
    all
}

/// Returns the page and its place.
pub(crate) fn generated(project: &Project, command: Command) -> Generated {
    Generated { path: project.root().join("docs/commands.md"), text: page(command) }
}

fn page(command: Command) -> String {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let verbs = verbs(&command);
    let mut page = format!(
        "# Commands\n\nThe verbs of `{NAME}`, with every option, exit code and environment variable. `{NAME} VERB --help` shows \
         the same. Written by `{NAME} schema` from the program; edit the descriptions in the code instead.\n\n"
    );
    index(&mut page, &verbs[1..]);
    variables(&mut page);
    verbs.iter().for_each(|(called, verb)| section(&mut page, called, verb));
    page
}

fn index(page: &mut String, verbs: &[(String, Command)]) {
    page.push_str("| verb | does |\n| --- | --- |\n");
    for (called, verb) in verbs {
        let (words, anchor) = (short(called), called.replace(' ', "-"));
        let _ = writeln!(page, "| [`{words}`](#{anchor}) | {} |", cell(&about(verb)));
    }
}

fn variables(page: &mut String) {
    page.push_str("\n## Environment variables\n\n| variable | meaning |\n| --- | --- |\n");
    for (names, meaning) in variables::OWN.iter().chain(&variables::FOREIGN) {
        let names: Vec<String> = names.split(", ").map(|name| format!("`{name}`")).collect();
        let _ = writeln!(page, "| {} | {meaning} |", names.join(", "));
    }
}

fn section(page: &mut String, called: &str, verb: &Command) {
    let usage = verb.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage);
    let _ = write!(page, "\n## {called}\n\n{}.\n\n```text\n{usage}\n```\n", about(verb));
    let shown = |argument: &&Arg| !argument.is_hide_set() && argument.get_id() != "help";
    let arguments: Vec<&Arg> = verb.get_arguments().filter(shown).collect();
    if !arguments.is_empty() {
        page.push_str("\n| argument | meaning |\n| --- | --- |\n");
    }
    for argument in arguments {
        let _ = writeln!(page, "| {} | {} |", syntax(argument), meaning(argument));
    }
    after(page, &verb.get_after_help().map(ToString::to_string).unwrap_or_default());
}

/// The verb without the name of the program.
fn short(called: &str) -> &str {
    called.strip_prefix(NAME.as_str()).map_or(called, str::trim_start)
}

fn about(verb: &Command) -> String {
    verb.get_about().map(one_line).unwrap_or_default()
}

fn one_line(text: &StyledStr) -> String {
    text.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// How an argument is written, such as `--kernel NAME…`.
fn syntax(argument: &Arg) -> String {
    let values = argument.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect::<Vec<_>>();
    let takes_value = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
    let mut text = match argument.get_long() {
        Some(long) => format!("--{long}"),
        None => String::new(),
    };
    if takes_value {
        let optional = argument.get_num_args().is_some_and(|count| count.min_values() == 0);
        let many = argument.get_num_args().is_some_and(|count| count.max_values() > 1);
        let (open, close) = if optional { ("[", "]") } else { ("", "") };
        let space = if text.is_empty() { "" } else { " " };
        let _ = write!(text, "{space}{open}{}{}{close}", values.join(" "), if many { "…" } else { "" });
    }
    format!("`{}`", cell(&text))
}

/// What an argument means, with its values and its default.
fn meaning(argument: &Arg) -> String {
    let mut text = argument.get_help().map(one_line).unwrap_or_default();
    let values: Vec<String> =
        argument.get_possible_values().iter().filter(|value| !value.is_hide_set()).map(value).collect();
    if !values.is_empty() && argument.get_action().takes_values() {
        let _ = write!(text, "<br>{}", values.join("<br>"));
    }
    let defaults: Vec<String> =
        argument.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
    if !defaults.is_empty() && argument.get_action().takes_values() {
        let _ = write!(text, "<br>default: {}", defaults.join(", "));
    }
    cell(&text)
}

fn value(value: &clap::builder::PossibleValue) -> String {
    match value.get_help() {
        Some(help) => format!("`{}`: {}", value.get_name(), one_line(help)),
        None => format!("`{}`", value.get_name()),
    }
}

/// The end of a verb's help: prose, examples as a block, exit codes as a table.
fn after(page: &mut String, help: &str) {
    for paragraph in help.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        match paragraph.split_once(':') {
            Some(("Exit codes", codes)) => exit_codes(page, codes),
            Some((heading, lines)) if lines.starts_with('\n') => {
                let lines: Vec<&str> =
                    lines.lines().skip(1).map(|line| line.strip_prefix("  ").unwrap_or(line)).collect();
                let _ = write!(page, "\n{heading}:\n\n```sh\n{}\n```\n", lines.join("\n"));
            }
            _ => {
                let _ = write!(page, "\n{paragraph}\n");
            }
        }
    }
}

/// `0 done; 1 differs` as a table; a semicolon before anything but a code belongs to the text.
fn exit_codes(page: &mut String, text: &str) {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut rows: Vec<String> = Vec::new();
    for part in text.trim_end_matches('.').split("; ") {
        match (part.split_once(' '), rows.last_mut()) {
            (Some((code, meaning)), _) if code.parse::<u8>().is_ok() => {
                rows.push(format!("| {code} | {}", cell(meaning)))
            }
            (_, Some(row)) => {
                let _ = write!(row, "; {}", cell(part));
            }
            (_, None) => rows.push(format!("| | {}", cell(part))),
        }
    }
    page.push_str("\n| exit code | meaning |\n| --- | --- |\n");
    rows.iter().for_each(|row| {
        let _ = writeln!(page, "{row} |");
    });
}
