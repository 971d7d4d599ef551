//! Finds and queries a real systemd.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

use crate::cases::Case;

/// The environment variable that names a root directory with a systemd.
const ROOT: &str = "BPF_TOKEN_SYSTEMD_ROOT";
/// The first release that has `PrivateBPF=`.
const FIRST: u32 = 258;

/// A systemd, version 258 or later.
#[derive(Clone)]
pub(crate) struct Systemd {
    root: PathBuf,
    version: u32,
}

/// The warnings of `systemd-analyze verify`.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    /// The words of lists that it ignores.
    pub(crate) words: Vec<String>,
    /// The files and lines of other warnings.
    pub(crate) lines: Vec<(String, usize)>,
    /// Whether it refuses the unit for settings that exclude each other, which it says without a line.
    pub(crate) refuses: bool,
}

/// Returns the folders of units below a folder, in systemd's order, before its own.
fn unit_path(folder: &str) -> String {
    format!("{folder}:{folder}/etc/systemd/system:{folder}/usr/lib/systemd/system:")
}

impl Systemd {
    /// Finds the systemd to compare with, or returns why there is none.
    pub(crate) fn find() -> Result<Self, String> {
        let root = std::env::var_os(ROOT).map_or_else(|| PathBuf::from("/"), PathBuf::from);
        let systemd = Self { root, version: 0 };
        let output = systemd.inside(&["systemd-analyze", "--version"]).output();
        let output =
            output.map_err(|error| format!("cannot run systemd-analyze: {error}; {ROOT} can name another root"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.split_whitespace().nth(1).and_then(|word| word.split(['.', '~']).next()?.parse().ok());
        match version {
            Some(version) if version >= FIRST => Ok(Self { version, ..systemd }),
            Some(version) => {
                Err(format!("systemd {version} is older than {FIRST}; {ROOT} can name a root with a later version"))
            }
            None => Err(format!("cannot run systemd-analyze; {ROOT} can name a root with version {FIRST} or later")),
        }
    }

    /// Returns its version.
    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    /// Returns why no service manager can be started in test mode; `None` if one can.
    pub(crate) fn why_not_managed(&self) -> Option<String> {
        let script = format!("{MOUNTS}\nexec true");
        let tried = self.unshared(&script, Path::new("/")).output();
        let works = tried.is_ok_and(|output| output.status.success());
        (!works).then(|| "it needs root, to mount file systems in a mount namespace".to_owned())
    }

    fn inside(&self, command: &[&str]) -> Command {
        if self.root == Path::new("/") {
            let mut plain = Command::new(command[0]);
            plain.args(&command[1..]);
            return plain;
        }
        let mut chroot = Command::new("chroot");
        chroot.arg(&self.root).args(command);
        chroot
    }

    /// Creates a directory of units in the root, and returns its path there.
    fn folder(&self, cases: &[&Case]) -> Result<(TempDir, String), String> {
        let temporary = self.root.join("tmp");
        let folder = tempfile::tempdir_in(&temporary).map_err(|error| format!("{}: {error}", temporary.display()))?;
        for (path, text) in cases.iter().flat_map(|case| &case.files) {
            let path = folder.path().join(path);
            let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
            made.map_err(|error| format!("{}: {error}", path.display()))?;
        }
        // The manager's user must be able to read them.
        Command::new("chmod")
            .arg("-R")
            .arg("a+rX")
            .arg(folder.path())
            .status()
            .map_err(|error| format!("chmod: {error}"))?;
        let name = folder.path().file_name().expect("it has one").to_string_lossy().into_owned();
        Ok((folder, format!("/tmp/{name}")))
    }

    /// Returns its warnings about a unit.
    pub(crate) fn verify(&self, case: &Case) -> Result<Warnings, String> {
        let (_folder, inside) = self.folder(&[case])?;
        let unit = format!("{inside}/{}", case.files[0].0);
        let mut command = self.inside(&["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", &unit]);
        command.env("SYSTEMD_UNIT_PATH", unit_path(&inside)).env("SYSTEMD_LOG_LEVEL", "warning");
        Ok(warnings(&run(&mut command)?, &inside))
    }

    /// Returns the settings of these units in a service manager: for each unit, the lines of its dump.
    pub(crate) fn dump(&self, cases: &[Case]) -> Result<BTreeMap<String, BTreeMap<String, String>>, String> {
        let wants = cases.iter().map(|case| format!("Wants={}\n", case.name)).collect::<String>();
        let all = Case {
            name: "all.target".into(),
            files: vec![("all.target".into(), format!("[Unit]\n{wants}").into_bytes())],
        };
        let every: Vec<&Case> = cases.iter().chain([&all]).collect();
        let (_folder, inside) = self.folder(&every)?;
        let manager =
            "exec chroot --userspec=65534:65534 \"$ROOT\" /usr/lib/systemd/systemd --test --system --unit=all.target";
        let mut command = self.unshared(&format!("{MOUNTS}\n{manager}"), &self.root);
        command.env("SYSTEMD_UNIT_PATH", unit_path(&inside)).env("SYSTEMD_LOG_LEVEL", "info");
        let output = run(&mut command)?;
        let dumped = units(&String::from_utf8_lossy(&output.stdout));
        if dumped.is_empty() {
            return Err(format!("no unit was dumped: {}", String::from_utf8_lossy(&output.stderr)));
        }
        Ok(dumped)
    }

    fn unshared(&self, script: &str, root: &Path) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec", script]).env("ROOT", root);
        command
    }

    /// Returns the groups of system calls and their members.
    pub(crate) fn system_calls(&self) -> Result<BTreeMap<String, Vec<String>>, String> {
        let output = run(&mut self.inside(&["systemd-analyze", "syscall-filter", "--no-pager"]))?;
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut group = String::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let word = line.trim();
            if line.starts_with('@') {
                group = word.to_owned();
                groups.entry(group.clone()).or_default();
            } else if line.starts_with(' ') && !word.starts_with('#') {
                groups.entry(group.clone()).or_default().push(word.to_owned());
            }
        }
        Ok(groups)
    }
}

/// The mounts that a manager in test mode needs, in its own mount namespace.
const MOUNTS: &str = "mount -t proc proc \"$ROOT/proc\"
mount -t tmpfs tmpfs \"$ROOT/sys\"
mkdir -p \"$ROOT/sys/fs/cgroup\"
mount -t cgroup2 cgroup2 \"$ROOT/sys/fs/cgroup\"";

fn run(command: &mut Command) -> Result<Output, String> {
    command.output().map_err(|error| format!("{command:?}: {error}"))
}

fn warnings(output: &Output, inside: &str) -> Warnings {
    let mut warnings = Warnings::default();
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        warnings.refuses |= line.ends_with(". Refusing.");
        if let Some(word) = line.strip_prefix("Unknown BPF delegate option, ignoring: ") {
            warnings.words.push(word.to_owned());
        } else if let Some((file, rest)) =
            line.strip_prefix(&format!("{inside}/")).and_then(|rest| rest.split_once(':'))
        {
            let number = rest.split(':').next().and_then(|number| number.parse().ok());
            warnings.lines.extend(number.map(|number| (file.to_owned(), number)));
        }
    }
    warnings
}

/// Parses the units of a dump, each with its lines of `key: value`.
fn units(dump: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut units: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut unit = None;
    for line in dump.lines() {
        if let Some(name) = line.trim().trim_start_matches(['→', '-', '>']).strip_prefix(" Unit ") {
            unit = Some(units.entry(name.trim_end_matches(':').to_owned()).or_default());
        } else if let (Some(unit), Some((key, value))) = (&mut unit, line.trim().split_once(':')) {
            unit.entry(key.to_owned()).or_insert_with(|| value.trim().to_owned());
        }
    }
    units
}
