//! Installs what the host lacks, or reports how to.

use std::{
    fs,
    io::{self, IsTerminal},
    os::unix::fs::MetadataExt,
    process::Command,
};

use thiserror::Error;

use super::{
    Distribution,
    requirement::{Host, Probe, Purpose, Requirement},
};
use crate::progress::Progress;

/// Whether missing packages may be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Install them.
    Install,
    /// Only report the command that would.
    Print,
}

/// Why the host is not ready.
#[derive(Debug, Error)]
pub enum HostError {
    /// Something is missing and was not installed, because the user did not want it or the command cannot become root.
    #[error("this host lacks {lacks}; to install it:\n    {command}")]
    Lacks {
        /// What is missing.
        lacks: String,
        /// The command that installs it.
        command: String,
    },
    /// Something is missing, and no package for it is known here.
    #[error("this host lacks {lacks}; no package for it is known on this distribution, so install it by hand")]
    NoPackage {
        /// What is missing.
        lacks: String,
    },
    /// The package manager could not be started.
    #[error("cannot start `{command}`")]
    Start {
        /// The command.
        command: String,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// The package manager failed.
    #[error("`{command}` failed with {status}; run it by hand to see why, then try again")]
    Failed {
        /// The command.
        command: String,
        /// Its exit status.
        status: std::process::ExitStatus,
    },
    /// The packages were installed, and something is still missing.
    #[error("`{command}` succeeded, but {lacks} is still missing; check PATH")]
    StillLacks {
        /// What is missing.
        lacks: String,
        /// The command that should have installed it.
        command: String,
    },
}

/// How a command becomes root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Elevation {
    /// It already is.
    Root,
    /// `sudo`, which may ask the person at the terminal for a password.
    Sudo,
    /// `sudo` that fails rather than asks.
    SudoSilently,
    /// Not possible.
    Impossible,
}

impl Elevation {
    fn of_this_process(host: &Host) -> Self {
        match fs::metadata("/proc/self").map(|process| process.uid()) {
            Ok(0) => Self::Root,
            _ if !host.has(Probe::Program("sudo")) => Self::Impossible,
            _ if io::stdin().is_terminal() => Self::Sudo,
            _ => Self::SudoSilently,
        }
    }

    fn apply(self, command: Vec<String>) -> Vec<String> {
        let prefix: &[&str] = match self {
            Self::Root => &[],
            Self::Sudo | Self::Impossible => &["sudo"],
            Self::SudoSilently => &["sudo", "-n"],
        };
        prefix.iter().map(|&word| word.to_owned()).chain(command).collect()
    }
}

/// How to install missing requirements.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    lacks: String,
    commands: Vec<Vec<String>>,
}

impl Plan {
    fn new(
        missing: &[&Requirement],
        distribution: Option<Distribution>,
        elevation: Elevation,
    ) -> Result<Self, HostError> {
        let lacks = missing.iter().map(|requirement| requirement.probe.name()).collect::<Vec<_>>().join(", ");
        let packages = distribution.and_then(|distribution| {
            let names = missing.iter().map(|requirement| requirement.package(distribution));
            Some((distribution, names.collect::<Option<Vec<_>>>()?))
        });
        let Some((distribution, mut packages)) = packages else {
            return Err(HostError::NoPackage { lacks });
        };
        packages.sort_unstable();
        packages.dedup();
        let commands = distribution.install_commands(&packages);
        Ok(Self { lacks, commands: commands.into_iter().map(|command| elevation.apply(command)).collect() })
    }

    fn text(&self) -> String {
        self.commands.iter().map(|command| command.join(" ")).collect::<Vec<_>>().join(" && ")
    }

    fn refusal(self) -> HostError {
        HostError::Lacks { command: self.text(), lacks: self.lacks }
    }
}

/// Ensures that this host has what `purposes` need. Reports what it installs before it does.
///
/// Installs packages only in [`Mode::Install`], as root or through `sudo`; otherwise the error has the command to run.
pub fn ensure(purposes: &[Purpose], mode: Mode, progress: &Progress) -> Result<(), HostError> {
    let host = Host::this();
    let missing = host.missing(purposes);
    if missing.is_empty() {
        return Ok(());
    }
    let elevation = Elevation::of_this_process(&host);
    let plan = Plan::new(&missing, Distribution::detect(), elevation)?;
    if mode == Mode::Print || elevation == Elevation::Impossible {
        return Err(plan.refusal());
    }
    progress.note(&format!("installing {}: {}", plan.lacks, plan.text()));
    install(&plan, progress)?;
    match host.missing(purposes).as_slice() {
        [] => Ok(()),
        left => {
            let lacks = left.iter().map(|requirement| requirement.probe.name()).collect::<Vec<_>>().join(", ");
            Err(HostError::StillLacks { lacks, command: plan.text() })
        }
    }
}

/// Runs the commands of `plan`. Only the last one decides: refreshing package lists may fail in part if one of the
/// host's own package sources is broken.
fn install(plan: &Plan, progress: &Progress) -> Result<(), HostError> {
    let last = plan.commands.len().saturating_sub(1);
    for (index, words) in plan.commands.iter().enumerate() {
        match (run(words), index == last) {
            (Ok(()), _) => {}
            (Err(error), true) => return Err(error),
            (Err(error), false) => progress.note(&format!("{error}; continuing")),
        }
    }
    Ok(())
}

fn run(words: &[String]) -> Result<(), HostError> {
    let command = words.join(" ");
    let [program, arguments @ ..] = words else { return Ok(()) };
    // Not xshell: the manager may ask for a password, and its output is shown at once.
    let status = Command::new(program)
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        // The output of package managers is not a result of this program.
        .stdout(io::stderr())
        .status()
        .map_err(|source| HostError::Start { command: command.clone(), source })?;
    if status.success() { Ok(()) } else { Err(HostError::Failed { command, status }) }
}

#[cfg(test)]
mod tests {
    use super::{super::requirement::REQUIREMENTS, *};

    fn requirement(name: &str) -> &'static Requirement {
        REQUIREMENTS.iter().find(|requirement| requirement.probe.name() == name).unwrap()
    }

    #[test]
    fn each_distribution_gets_its_own_names() {
        let missing = [requirement("pahole"), requirement("libelf.h")];
        let text = |distribution| Plan::new(&missing, Some(distribution), Elevation::Root).unwrap().text();
        assert_eq!(
            text(Distribution::Debian),
            "apt-get update && apt-get install --yes --no-install-recommends dwarves libelf-dev"
        );
        assert_eq!(text(Distribution::Arch), "pacman --sync --needed --noconfirm libelf pahole");
    }

    #[test]
    fn one_package_for_two_requirements_is_named_once() {
        let missing = [requirement("autopoint"), requirement("msgfmt")];
        let plan = Plan::new(&missing, Some(Distribution::Arch), Elevation::Root).unwrap();
        assert_eq!(plan.text(), "pacman --sync --needed --noconfirm gettext");
        assert_eq!(plan.lacks, "autopoint, msgfmt");
    }

    #[test]
    fn without_root_the_commands_use_sudo() {
        let plan = |elevation| Plan::new(&[requirement("bc")], Some(Distribution::Suse), elevation).unwrap().text();
        let install = "zypper --non-interactive install --no-recommends bc";
        assert_eq!(plan(Elevation::Sudo), format!("sudo {install}"));
        assert_eq!(plan(Elevation::SudoSilently), format!("sudo -n {install}"));
        assert_eq!(plan(Elevation::Impossible), format!("sudo {install}"));
    }

    #[test]
    fn the_refusal_names_what_is_missing_and_the_command() {
        let plan = Plan::new(&[requirement("bc")], Some(Distribution::Suse), Elevation::Root).unwrap();
        let text = plan.refusal().to_string();
        insta::assert_snapshot!(text, @r"
        this host lacks bc; to install it:
            zypper --non-interactive install --no-recommends bc
        ");
    }

    #[test]
    fn without_a_known_package_nothing_is_installed() {
        let error = Plan::new(&[requirement("bc")], None, Elevation::Root).unwrap_err();
        insta::assert_snapshot!(error, @"this host lacks bc; no package for it is known on this distribution, so install it by hand");
        let missing = [requirement("bc"), requirement("apt-get")];
        let error = Plan::new(&missing, Some(Distribution::Suse), Elevation::Root).unwrap_err();
        insta::assert_snapshot!(error, @"this host lacks bc, apt-get; no package for it is known on this distribution, so install it by hand");
    }

    #[test]
    fn only_the_last_command_decides() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (progress, captured) = Progress::captured();
        let plan = Plan { lacks: String::new(), commands: vec![words("false"), words("true")] };
        install(&plan, &progress).unwrap();
        insta::assert_snapshot!(captured.text(), @"`false` failed with exit status: 1; run it by hand to see why, then try again; continuing");

        let plan = Plan { lacks: String::new(), commands: vec![words("true"), words("false")] };
        assert!(matches!(install(&plan, &Progress::silent()), Err(HostError::Failed { .. })));

        let plan = Plan { lacks: String::new(), commands: vec![words("/nonexistent/manager")] };
        assert!(matches!(install(&plan, &Progress::silent()), Err(HostError::Start { .. })));
    }
}
