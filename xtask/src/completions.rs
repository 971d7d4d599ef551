//! `cargo xtask completions`: scripts that complete `cargo xtask …` in a shell.
//!
//! The shell asks the program itself ([`answer_if_asked`]), which offers the current kernels and scenarios. Each script wraps
//! the completion of `cargo`, because nobody types the program's own name.

use std::{env, fmt::Write, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Args as ClapArgs, Command, ValueEnum};
use clap_complete::env::{Bash, CompleteEnv, EnvCompleter, Zsh};
use harness_cli::screen::print;

/// Set by the scripts to the name of the shell that asks.
const VARIABLE: &str = "BPF_TOKEN_HARNESS_COMPLETE";

/// The function of a script that starts this program.
const PROGRAM: &str = "_cargo_xtask_program";

/// The name under which a script knows the words from `xtask` on.
const NAME: &str = "xtask";

/// Print a script that completes `cargo xtask …` in a shell
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  source <(cargo xtask completions bash)      for this shell; for all shells:
  cargo xtask completions bash > ~/.cargo-xtask.bash
  echo 'source ~/.cargo-xtask.bash' >> ~/.bashrc
  source <(cargo xtask completions zsh)       after compinit
  cargo xtask completions fish | source

Inside the project's folder it completes verbs, options, and names of kernels, images and scenarios.
Elsewhere, and for other cargo commands, `cargo` is completed as before.

Exit codes: 0 printed; 2 no such shell.")]
pub(crate) struct Args {
    /// Shell to print the script for
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
    let program = env::current_exe().context("cannot find the path of this program")?;
    print(&script(args.shell, &program.to_string_lossy())?)?;
    Ok(ExitCode::SUCCESS)
}

/// Answers a completion request of a shell and exits; does nothing otherwise.
pub(crate) fn answer_if_asked(command: fn() -> Command) {
    CompleteEnv::with_factory(command).var(VARIABLE).complete();
}

/// Returns the script for a shell. It starts `program` if the project's folder has no built program.
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

/// Returns the shell function that asks the program.
fn registration(shell: &dyn EnvCompleter) -> Result<String> {
    let mut bytes = Vec::new();
    shell.write_registration(VARIABLE, NAME, NAME, PROGRAM, &mut bytes).context("cannot write a script")?;
    let text = String::from_utf8(bytes).context("a script is not UTF-8")?;
    // This line is only valid in files of zsh's function path, and the script is sourced.
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
