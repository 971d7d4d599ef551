//! `cargo xtask man`: manual pages, written from the same descriptions as `--help`.
//!
//! clap_mangen renders most sections. This module adds what it lacks: one page per nested verb, titles without a date, and
//! sections for examples and exit codes that keep their line breaks.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::{Args as ClapArgs, Command};
use clap_mangen::Man;
use harness_builder::file;
use harness_cli::{Context, exit::Wrong, screen::print};
use roff::{Roff, bold, roman};

/// The project's name in page titles.
const PROJECT: &str = "bpf-token-harness";

/// Write manual pages: one for the program and one per verb
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  cargo xtask man                             into target/man/man1
  man -M target/man cargo-xtask-run
  cargo xtask man ~/.local/share/man/man1     where man(1) looks by default

Exit codes: 0 written; 2 the folder cannot be written.")]
pub(crate) struct Args {
    /// The folder to write to [default: target/man/man1 in the project]
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    folder: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, command: Command, context: &Context) -> Result<ExitCode> {
    let folder = match &args.folder {
        Some(folder) => folder.clone(),
        None => context.project()?.root().join("target/man/man1"),
    };
    let pages = pages(command)?;
    write(&folder, &pages).map_err(Wrong::input)?;
    print(&format!("wrote {} pages to {}, cargo-xtask.1 first\n", pages.len(), folder.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// A manual page.
struct Page {
    file: String,
    text: String,
}

/// Returns the page of the program, then one per verb and nested verb.
fn pages(command: Command) -> Result<Vec<Page>> {
    let mut root = command.disable_help_subcommand(true);
    root.build();
    let mut pages = Vec::new();
    add(&root, "cargo-xtask", &mut pages)?;
    Ok(pages)
}

fn add(command: &Command, name: &str, pages: &mut Vec<Page>) -> Result<()> {
    let text = page(command, name).with_context(|| format!("cannot write the page {name}"))?;
    let text = String::from_utf8(text).context("a page is not UTF-8")?;
    pages.push(Page { file: format!("{name}.1"), text });
    let mut verbs = command.get_subcommands();
    verbs.try_for_each(|verb| add(verb, &format!("{name}-{}", verb.get_name()), pages))
}

fn page(command: &Command, name: &str) -> io::Result<Vec<u8>> {
    // man(1) needs the name of a nested verb as one word.
    let man = Man::new(command.clone().display_name(name.to_owned()));
    // No date: the same sources make the same page.
    let mut text = format!(".TH \"{name}\" \"1\" \"\" \"{PROJECT}\" \"{PROJECT}\"\n").into_bytes();
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    if command.get_arguments().next().is_some() {
        man.render_options_section(&mut text)?;
    }
    if command.has_subcommands() {
        write_verbs(command, name, &mut text)?;
    }
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    write_after(&after, &mut text)?;
    Ok(text)
}

fn write_verbs(command: &Command, name: &str, text: &mut Vec<u8>) -> io::Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", ["VERBS"]);
    for verb in command.get_subcommands() {
        roff.control("TP", []);
        roff.text([bold(format!("{name}-{}(1)", verb.get_name()))]);
        roff.text([roman(verb.get_about().map(ToString::to_string).unwrap_or_default())]);
    }
    roff.to_writer(text)
}

/// Writes the end of a verb's help: each paragraph in the section where manual pages have it, its line breaks kept.
fn write_after(help: &str, text: &mut Vec<u8>) -> io::Result<()> {
    let mut section = "";
    for paragraph in help.split("\n\n") {
        let (wanted, body) = match paragraph.split_once(':') {
            Some(("Examples", rest)) => ("EXAMPLES", rest.trim_start_matches('\n')),
            Some(("Exit codes", rest)) => ("EXIT STATUS", rest.trim_start()),
            _ => ("NOTES", paragraph),
        };
        let mut roff = Roff::new();
        if wanted == section {
            roff.control("PP", []);
        } else {
            roff.control("SH", [wanted]);
        }
        section = wanted;
        roff.control("nf", []);
        body.lines().for_each(|line| {
            roff.text([roman(line)]);
        });
        roff.control("fi", []);
        roff.to_writer(text)?;
    }
    Ok(())
}

/// Writes the pages, each atomically.
fn write(folder: &Path, pages: &[Page]) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
    for page in pages {
        let path = folder.join(&page.file);
        file::replace(&path, &page.text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> Vec<(String, String)> {
        pages(crate::command()).unwrap().into_iter().map(|page| (page.file, page.text)).collect()
    }

    #[test]
    fn every_verb_has_a_page_with_the_usual_sections() {
        let pages = texts();
        assert_eq!(pages[0].0, "cargo-xtask.1");
        assert!(pages.iter().any(|(file, _)| file == "cargo-xtask-kernel-path.1"));
        for (file, text) in pages {
            let sections: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
            assert_eq!(sections[..3], ["NAME", "SYNOPSIS", "DESCRIPTION"], "{file}");
            assert!(sections.contains(&"EXAMPLES") && sections.contains(&"\"EXIT STATUS\""), "{file}: {sections:?}");
            let title = format!(".TH \"{}\" \"1\" ", file.trim_end_matches(".1"));
            assert!(text.lines().any(|line| line.starts_with(&title)), "{file}");
        }
    }

    /// Looks for what would confuse a reader of roff: unknown requests and escapes, and fill modes or indentation that are
    /// not closed.
    #[test]
    fn the_pages_are_sound_roff() {
        const REQUESTS: [&str; 13] =
            [".TH", ".SH", ".SS", ".TP", ".PP", ".IP", ".RS", ".RE", ".br", ".nf", ".fi", ".ie", ".el"];
        for (file, text) in texts() {
            let mut open = (0, 0);
            for line in text.lines() {
                let request = line.split_whitespace().next().unwrap_or_default();
                assert!(!line.starts_with('\'') && !line.contains('\t'), "{file}: {line}");
                assert!(!line.starts_with('.') || REQUESTS.contains(&request), "{file}: {line}");
                match request {
                    ".nf" => open.0 += 1,
                    ".fi" => open.0 -= 1,
                    ".RS" => open.1 += 1,
                    ".RE" => open.1 -= 1,
                    _ => {}
                }
                assert!(open.0 >= 0 && open.1 >= 0, "{file}: {line}");
                for (at, _) in line.match_indices('\\').filter(|(at, _)| !line[..*at].ends_with('\\')) {
                    let next = line[at + 1..].chars().next();
                    assert!(next.is_some_and(|next| "fn(*-&\\e.".contains(next)), "{file}: {line}");
                }
            }
            assert_eq!(open, (0, 0), "{file}");
        }
    }

    #[test]
    fn pages_are_replaced_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("man1");
        let page = |text: &str| [Page { file: "x.1".to_owned(), text: text.into() }];
        write(&below, &page("one")).unwrap();
        write(&below, &page("two")).unwrap();
        let files: Vec<_> = fs::read_dir(&below).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(files, ["x.1"]);
        assert_eq!(fs::read_to_string(below.join("x.1")).unwrap(), "two");
        let error = write(&below.join("x.1"), &page("three")).unwrap_err().to_string();
        assert!(error.contains("x.1"), "{error}");
    }
}
