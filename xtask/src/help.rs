//! Tests that the help of each verb has examples that work, and all exit codes.

use clap::Command;

use crate::{command, commands};

fn verbs() -> Vec<(String, Command)> {
    commands::verbs(&command())
}

fn after(command: &Command) -> String {
    command.get_after_help().map(ToString::to_string).unwrap_or_default()
}

#[test]
fn the_command_line_is_sound() {
    command().debug_assert();
}

#[test]
fn every_verb_has_an_example_and_its_exit_codes() {
    let verbs = verbs();
    assert!(verbs.iter().any(|(called, _)| called == "cargo xtask kernel path"), "verbs of verbs are walked too");
    for (called, verb) in verbs {
        let text = after(&verb);
        let examples = text.split_once("Examples:\n").map(|(_, rest)| rest.split("\n\n").next().unwrap_or_default());
        let is_called = |line: &str| line.starts_with("  ") && line.contains(&called);
        assert!(examples.is_some_and(|lines| lines.lines().any(is_called)), "`{called}` has no example: {text}");
        assert!(text.contains("Exit codes: 0 "), "`{called}` does not list its exit codes: {text}");
    }
}

#[test]
fn every_example_parses() {
    let mut tried = 0;
    for (_, verb) in verbs() {
        for example in after(&verb).lines().filter_map(example) {
            command().try_get_matches_from(&example).unwrap_or_else(|error| panic!("{example:?}: {error}"));
            tried += 1;
        }
    }
    assert!(tried > 20, "{tried}");
}

#[test]
fn every_verb_can_be_quiet_and_its_own_quiet_counts_as_well() {
    for words in [["-q", "list"], ["list", "--quiet"], ["run", "-q"], ["-q", "run"]] {
        let matches = command().try_get_matches_from(["cargo xtask"].into_iter().chain(words)).unwrap();
        let (_, verb) = matches.subcommand().unwrap();
        assert!(matches.get_flag("quiet") && verb.get_flag("quiet"), "{words:?}");
    }
}

/// Returns the words of an example that is a single `cargo xtask` command, without the remark beside it.
fn example(line: &str) -> Option<Vec<String>> {
    let called = line.strip_prefix("  cargo xtask ")?;
    let called = called.split("   ").next()?.split([';', '|', '>']).next()?;
    let mut words = vec!["cargo xtask".to_owned()];
    for (index, part) in called.split('\'').enumerate() {
        match index % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    Some(words)
}

#[test]
fn no_help_is_wider_than_a_terminal_of_a_hundred_columns() {
    for (called, verb) in verbs() {
        let wide: Vec<String> = after(&verb).lines().filter(|line| line.len() > 110).map(str::to_owned).collect();
        assert!(wide.is_empty(), "{called}: {wide:?}");
    }
}
