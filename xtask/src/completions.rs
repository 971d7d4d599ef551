//! `cargo xtask completions`: what a shell needs to complete `cargo xtask …`.
//!
//! The shell asks the program itself ([`answer_if_asked`]), so that it offers the kernels and scenarios there are now. Each
//! script stands before what completes `cargo` itself, for nobody types the program's own name.

use std::{env, fmt::Write, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Args as ClapArgs, Command, ValueEnum};
use clap_complete::env::{Bash, CompleteEnv, EnvCompleter, Zsh};
use harness_cli::screen::print;

/// Set by the scripts to the shell that asks.
const VARIABLE: &str = "BPF_TOKEN_HARNESS_COMPLETE";

/// The function of a script that starts this program.
const PROGRAM: &str = "_cargo_xtask_program";

/// The name under which a script knows the words from `xtask` on.
const NAME: &str = "xtask";

/// Print what makes a shell complete `cargo xtask …`
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  source <(cargo xtask completions bash)      in this shell; for every one, write it to a file once
  cargo xtask completions bash > ~/.cargo-xtask.bash
  echo 'source ~/.cargo-xtask.bash' >> ~/.bashrc
  source <(cargo xtask completions zsh)       after compinit
  cargo xtask completions fish | source

It completes within the project's folder only, kernels, images and scenarios by name too; elsewhere,
and for every other verb of cargo, `cargo` is completed as before.

Exit codes: 0 printed; 2 no such shell.")]
pub(crate) struct Args {
    /// The shell to write for
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    /// GNU Bash, 4.4 or newer
    Bash,
    /// Z shell
    Zsh,
    /// fish
    Fish,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let program = env::current_exe().context("cannot tell where this program is")?;
    print(&script(args.shell, &program.to_string_lossy())?)?;
    Ok(ExitCode::SUCCESS)
}

/// Answers a shell that asks what could stand at the cursor, and exits; otherwise does nothing.
pub(crate) fn answer_if_asked(command: fn() -> Command) {
    CompleteEnv::with_factory(command).var(VARIABLE).complete();
}

/// The script for a shell; `program` is started where the project has no program of its own.
fn script(shell: Shell, program: &str) -> Result<String> {
    let mut text = String::new();
    match shell {
        Shell::Bash => writeln!(text, "_cargo_xtask_written_by={}", quoted(program))?,
        Shell::Zsh => writeln!(text, "typeset -g _cargo_xtask_written_by={}", quoted(program))?,
        Shell::Fish => writeln!(text, "set --global _cargo_xtask_written_by {}", quoted_for_fish(program))?,
    }
    text.push_str(&match shell {
        Shell::Bash => registration(&Bash)? + include_str!("completions/cargo.bash"),
        Shell::Zsh => registration(&Zsh)? + include_str!("completions/cargo.zsh"),
        Shell::Fish => include_str!("completions/cargo.fish").to_owned(),
    });
    Ok(text)
}

/// The shell's function that asks the program.
fn registration(shell: &dyn EnvCompleter) -> Result<String> {
    let mut bytes = Vec::new();
    shell.write_registration(VARIABLE, NAME, NAME, PROGRAM, &mut bytes).context("cannot write a script")?;
    let text = String::from_utf8(bytes).context("a script is no text")?;
    // Only a file in zsh's function path may begin with it, and this is read as a script.
    Ok(text.replace("#compdef xtask\n", ""))
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn quoted_for_fish(word: &str) -> String {
    format!("'{}'", word.replace('\\', r"\\").replace('\'', r"\'"))
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, path::Path};

    use super::*;

    fn offered(words: &[&str]) -> Vec<String> {
        let args: Vec<OsString> = std::iter::once("xtask").chain(words.iter().copied()).map(OsString::from).collect();
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let index = args.len() - 1;
        let found = clap_complete::engine::complete(&mut crate::command(), args, index, Some(project)).unwrap();
        found.iter().map(|candidate| candidate.get_value().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn verbs_and_options_are_offered() {
        assert_eq!(offered(&["ru"]), ["run"]);
        assert_eq!(offered(&["kernel", "pa"]), ["path"]);
        assert!(offered(&["run", "--ker"]).contains(&"--kernel".to_owned()));
        assert_eq!(offered(&["run", "--format", "j"]), ["json", "junit"]);
    }

    #[test]
    fn kernels_images_and_scenarios_are_those_there_are() {
        assert!(offered(&["run", "--kernel", "6.12"]).contains(&"6.12-debian".to_owned()));
        assert!(offered(&["run", "--kernel", "6.12", "7."]).contains(&"7.3".to_owned()), "a second one");
        assert!(offered(&["kernel", "build", "7."]).contains(&"7.3".to_owned()));
        assert_eq!(offered(&["shell", "--image", "min"]), ["minimal"]);
        assert!(offered(&["run", "--filter", "maps/"]).contains(&"maps/no-token".to_owned()));
        assert!(offered(&["run", "--kernel", "nosuch"]).is_empty());
    }

    #[test]
    fn a_program_with_odd_characters_in_its_path_is_quoted() {
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
        assert_eq!(quoted_for_fish(r"/a\b/it's"), r"'/a\\b/it\'s'");
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let text = script(shell, "/a b/xtask").unwrap();
            assert!(text.contains("'/a b/xtask'") && !text.contains("#compdef"), "{text}");
        }
    }
}
