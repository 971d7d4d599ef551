//! Installs what the host lacks, or reports how to.

use std::{
    fs,
    io::{self, BufRead, IsTerminal, Write},
    os::unix::fs::MetadataExt,
    process::{Command, ExitStatus},
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
    /// Install them, after a question if a person is at the terminal.
    Ask,
    /// Install them without a question.
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
    /// The package manager failed, for example because it would have to remove a package.
    #[error(
        "`{command}` failed with {status}, so this host still lacks {lacks}; the command does not remove or downgrade \
         packages. This one asks before it does:\n    {by_hand}"
    )]
    Failed {
        /// What is missing.
        lacks: String,
        /// The command.
        command: String,
        /// Its exit status.
        status: ExitStatus,
        /// The command for a person, which asks before it changes other packages.
        by_hand: String,
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

    /// Returns how a person at a terminal becomes root.
    fn for_a_person(self) -> Self {
        if self == Self::Root { Self::Root } else { Self::Sudo }
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
    by_hand: Vec<String>,
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
        let commands = commands.into_iter().map(|command| elevation.apply(command)).collect();
        let by_hand = elevation.for_a_person().apply(distribution.attended_command(&packages));
        Ok(Self { lacks, commands, by_hand })
    }

    fn text(&self) -> String {
        self.commands.iter().map(|command| command.join(" ")).collect::<Vec<_>>().join(" && ")
    }

    fn refusal(self) -> HostError {
        HostError::Lacks { command: self.text(), lacks: self.lacks }
    }

    /// Asks a person whether to run the commands. Everything but a yes is a no, and so is what cannot be read.
    fn is_agreed(&self, mut question: impl Write, mut answers: impl BufRead) -> bool {
        let (lacks, command, mut answer) = (&self.lacks, self.text(), String::new());
        let asked = write!(question, "this host lacks {lacks}; this installs it:\n    {command}\nrun it? [y/N] ");
        let answered = asked.and_then(|()| question.flush()).and_then(|()| answers.read_line(&mut answer));
        answered.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
    }
}

/// What happens to packages that are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Refuse,
    Ask,
    Install,
}

impl Decision {
    fn of(mode: Mode, elevation: Elevation, is_attended: bool) -> Self {
        match mode {
            _ if elevation == Elevation::Impossible => Self::Refuse,
            Mode::Print => Self::Refuse,
            Mode::Ask if is_attended => Self::Ask,
            Mode::Ask | Mode::Install => Self::Install,
        }
    }
}

/// Ensures that this host has what `purposes` need. Reports what it installs before it does.
///
/// Installs packages as root or through `sudo`. [`Mode::Ask`] asks first where a person can answer: standard input and
/// standard error are a terminal. The error of what is not installed has the command to run.
pub fn ensure(purposes: &[Purpose], mode: Mode, progress: &Progress) -> Result<(), HostError> {
    let host = Host::this();
    let missing = host.missing(purposes);
    if missing.is_empty() {
        return Ok(());
    }
    let elevation = Elevation::of_this_process(&host);
    let plan = Plan::new(&missing, Distribution::detect(), elevation)?;
    let is_attended = io::stdin().is_terminal() && io::stderr().is_terminal();
    let is_wanted = match Decision::of(mode, elevation, is_attended) {
        Decision::Refuse => false,
        Decision::Ask => plan.is_agreed(io::stderr(), io::stdin().lock()),
        Decision::Install => true,
    };
    if !is_wanted {
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
        let (command, status) = (words.join(" "), run(words)?);
        if !status.success() && index == last {
            let (lacks, by_hand) = (plan.lacks.clone(), plan.by_hand.join(" "));
            return Err(HostError::Failed { lacks, command, status, by_hand });
        }
        if !status.success() {
            progress.note(&format!("`{command}` failed with {status}; continuing"));
        }
    }
    Ok(())
}

fn run(words: &[String]) -> Result<ExitStatus, HostError> {
    let [program, arguments @ ..] = words else { return Ok(ExitStatus::default()) };
    // Not xshell: the manager may ask for a password, and its output is shown at once.
    Command::new(program)
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        // The output of package managers is not a result of this program.
        .stdout(io::stderr())
        .status()
        .map_err(|source| HostError::Start { command: words.join(" "), source })
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
            "apt-get update && apt-get install --no-install-recommends --yes --no-remove --no-allow-downgrades dwarves \
             libelf-dev"
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
        let install = "zypper install --no-recommends --no-confirm --no-force-resolution bc";
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
            zypper install --no-recommends --no-confirm --no-force-resolution bc
        ");
    }

    #[test]
    fn a_person_is_asked_once_and_only_yes_installs() {
        let plan = Plan::new(&[requirement("bc")], Some(Distribution::Arch), Elevation::Root).unwrap();
        let agreed = |answer: &str| plan.is_agreed(io::sink(), answer.as_bytes());
        for yes in ["y\n", "Y\n", " yes "] {
            assert!(agreed(yes), "{yes:?}");
        }
        for no in ["", "\n", "n\n", "no\n", "yesterday\n", "what?\ny\n", "\u{4}\n"] {
            assert!(!agreed(no), "{no:?}");
        }
        let mut question = Vec::new();
        plan.is_agreed(&mut question, &b"n\n"[..]);
        insta::assert_snapshot!(String::from_utf8(question).unwrap(), @r"
        this host lacks bc; this installs it:
            pacman --sync --needed --noconfirm bc
        run it? [y/N]
        ");
    }

    #[test]
    fn only_a_person_at_a_terminal_is_asked() {
        use Decision::{Ask, Install, Refuse};
        let decided = |mode| [true, false].map(|is_attended| Decision::of(mode, Elevation::Root, is_attended));
        assert_eq!(decided(Mode::Ask), [Ask, Install]);
        assert_eq!(decided(Mode::Install), [Install, Install]);
        assert_eq!(decided(Mode::Print), [Refuse, Refuse]);
        for mode in [Mode::Ask, Mode::Install, Mode::Print] {
            assert_eq!(Decision::of(mode, Elevation::Impossible, true), Refuse);
        }
    }

    #[test]
    fn without_a_known_package_nothing_is_installed() {
        let error = Plan::new(&[requirement("bc")], None, Elevation::Root).unwrap_err();
        insta::assert_snapshot!(error, @"this host lacks bc; no package for it is known on this distribution, so install it by hand");
        let missing = [requirement("bc"), requirement("apt-get")];
        let error = Plan::new(&missing, Some(Distribution::Suse), Elevation::Root).unwrap_err();
        insta::assert_snapshot!(error, @"this host lacks bc, apt-get; no package for it is known on this distribution, so install it by hand");
    }

    /// Makes a plan of these commands.
    fn plan(commands: &[&str]) -> Plan {
        let words = |text: &&str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let commands = commands.iter().map(words).collect();
        Plan { lacks: "bc".to_owned(), commands, by_hand: vec!["by-hand".to_owned()] }
    }

    #[test]
    fn only_the_last_command_decides() {
        let (progress, captured) = Progress::captured();
        install(&plan(&["false", "true"]), &progress).unwrap();
        insta::assert_snapshot!(captured.text(), @"`false` failed with exit status: 1; continuing");
        assert!(matches!(install(&plan(&["true", "false"]), &Progress::silent()), Err(HostError::Failed { .. })));
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("manager");
        let started = install(&plan(&[missing.to_str().unwrap()]), &Progress::silent());
        assert!(matches!(started, Err(HostError::Start { .. })));
    }

    /// An apt-get on a host where `qemu-utils` is in the way: without `--no-remove`, it removes it.
    const APT_GET: &str = r#"#!/bin/sh
case " $* " in
    *" update "*) exit 0 ;;
    *" --no-remove "*) echo "E: Packages need to be removed but remove is disabled." >&2; exit 100 ;;
    *) rm "${0%/*}/qemu-utils" ;;
esac
"#;

    #[test]
    fn a_package_in_the_way_stays_and_the_command_to_run_by_hand_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let (apt_get, in_the_way) = (folder.path().join("apt-get"), folder.path().join("qemu-utils"));
        // Written by another process: a test thread that starts a program at this moment would inherit the open file,
        // and such a file cannot be executed (ETXTBSY, execve(2)).
        let write = r#"printf %s "$0" >"$1" && chmod 755 "$1""#;
        assert!(Command::new("sh").args(["-c", write, APT_GET]).arg(&apt_get).status().unwrap().success());
        fs::write(&in_the_way, "").unwrap();
        let missing = [requirement("qemu-system-x86_64"), requirement("bc")];
        let mut plan = Plan::new(&missing, Some(Distribution::Debian), Elevation::Root).unwrap();
        let path = format!("PATH={}:/usr/bin:/bin", folder.path().display());
        for command in &mut plan.commands {
            command.splice(..0, ["env".to_owned(), path.clone()]);
        }
        let error = install(&plan, &Progress::silent()).unwrap_err().to_string();
        assert!(in_the_way.exists(), "a package was removed");
        insta::assert_snapshot!(error.replace(&format!("env {path} "), ""), @r"
        `apt-get install --no-install-recommends --yes --no-remove --no-allow-downgrades bc qemu-system-x86` failed with exit status: 100, so this host still lacks qemu-system-x86_64, bc; the command does not remove or downgrade packages. This one asks before it does:
            apt-get install --no-install-recommends bc qemu-system-x86
        ");
    }

    #[test]
    fn by_hand_sudo_may_ask() {
        for (elevation, start) in [(Elevation::Root, "zypper"), (Elevation::SudoSilently, "sudo zypper")] {
            let plan = Plan::new(&[requirement("bc")], Some(Distribution::Suse), elevation).unwrap();
            assert_eq!(plan.by_hand.join(" "), format!("{start} install --no-recommends bc"));
        }
    }
}
