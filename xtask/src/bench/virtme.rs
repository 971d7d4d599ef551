//! Runs a trivial command in the same kernel with virtme-ng.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use harness_runner::{accel::Accel, launch::MEMORY_MIB, measure::Bench};

/// A virtme-ng that has run a command in the kernel.
pub(crate) struct VirtmeNg {
    program: PathBuf,
    arguments: Vec<String>,
    pub(crate) version: String,
    pub(crate) remark: String,
    /// Its exit code when the command succeeds.
    success: i32,
}

/// The console message of its init when it cannot find the channel for the exit code.
const NO_CHANNEL: &str = "cannot find script I/O ports";
/// The console message of its init at the end.
const SUCCEEDED: &str = "script exited with code 0";
/// The exit code of `vng` when it received none.
const UNTOLD: i32 = 255;

impl VirtmeNg {
    /// Finds it and runs `true` once, with the console shown.
    pub(crate) fn prepare(program: Option<&Path>, bench: &Bench<'_>) -> Result<Self> {
        let program = program.unwrap_or(Path::new("vng")).to_owned();
        let arguments = arguments(&bench.boot_image(), bench.kernel_args(), bench.decision().accel);
        let version = output(Command::new(&program).arg("--version")).with_context(|| {
            format!("{} does not start; `pip install virtme-ng`, then --vng PATH", program.display())
        })?;
        let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
        let mut virtme = Self { program, arguments, version, remark: String::new(), success: 0 };
        // A later `loglevel` wins over `quiet`, which is among the kernel's own arguments.
        let shown = output(virtme.command().args(["--verbose", "--append", "loglevel=7", "--", "true"]))?;
        let console = [shown.stdout, shown.stderr].concat();
        (virtme.success, virtme.remark) = proof(&String::from_utf8_lossy(&console), shown.status.code())?;
        Ok(virtme)
    }

    /// Returns how long `vng` takes to run `true`.
    pub(crate) fn time(&self) -> Result<Duration> {
        let start = Instant::now();
        let ended = output(self.command().args(["--", "true"]))?;
        let took = start.elapsed();
        if ended.status.code() != Some(self.success) {
            bail!("{} ended with {}", self.version, ended.status);
        }
        Ok(took)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env("PATH", search_path(&self.program, env::var_os("PATH")));
        command
    }
}

/// Returns `PATH` with the folder of `vng` first: it calls its siblings by name, wherever it is installed.
fn search_path(program: &Path, path: Option<OsString>) -> OsString {
    let path = path.unwrap_or_default();
    let beside = program.parent().filter(|folder| !folder.as_os_str().is_empty()).map(Path::to_owned);
    env::join_paths(beside.into_iter().chain(env::split_paths(&path))).unwrap_or(path)
}

/// Returns its arguments: the kernel's own, and the processors and memory that scenarios get.
fn arguments(boot_image: &Path, kernel_args: &[String], accel: Accel) -> Vec<String> {
    let mut arguments = vec!["--run".to_owned(), boot_image.display().to_string()];
    // By default it waits seconds for a virtiofsd that may not start, and these kernels have only 9p.
    arguments.push("--force-9p".to_owned());
    arguments.extend((accel == Accel::Tcg).then(|| "--disable-kvm".to_owned()));
    arguments.extend(["--cpus", "1", "--memory"].map(str::to_owned));
    arguments.push(format!("{MEMORY_MIB}M"));
    arguments.extend(kernel_args.iter().flat_map(|arg| ["--append".to_owned(), arg.clone()]));
    arguments
}

/// Runs a command with pipes for output: QEMU opens its output by path and would truncate a file.
fn output(command: &mut Command) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {program}"))
}

/// Returns the exit code of a success and a remark on it, from a run with the console shown.
fn proof(console: &str, code: Option<i32>) -> Result<(i32, String)> {
    match code {
        Some(0) => Ok((0, String::new())),
        _ if console.contains(SUCCEEDED) && console.contains(NO_CHANNEL) => {
            let remark = "without udev on the host, as here, its init cannot return the exit code; the console showed, before \
                          the measurement, that the command ran and succeeded. These kernels have no overlayfs: its init \
                          tries eight times to mount one, which takes seconds under emulation and is included in its times";
            Ok((UNTOLD, remark.to_owned()))
        }
        _ => {
            let last: Vec<&str> = console.lines().rev().take(3).collect();
            let last = last.into_iter().rev().map(str::trim).collect::<Vec<_>>().join("; ");
            bail!("virtme-ng did not run the command: {last}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_was_not_seen_to_succeed_is_no_success() {
        assert_eq!(proof("", Some(0)).unwrap(), (0, String::new()));
        let fallback = format!("init: virtme-init: {NO_CHANNEL}; make sure\ninit: {SUCCEEDED}\n");
        assert_eq!(proof(&fallback, Some(1)).unwrap().0, UNTOLD);
        let message = proof("a\nb\nKernel panic\n\u{0}end", Some(255)).unwrap_err().to_string();
        assert!(message.contains("Kernel panic"), "{message}");
    }

    #[test]
    fn its_siblings_are_found_where_it_is() {
        let path = |program| search_path(Path::new(program), Some("/usr/bin:/bin".into()));
        assert_eq!(path("/opt/bin/vng"), "/opt/bin:/usr/bin:/bin");
        assert_eq!(path("vng"), "/usr/bin:/bin");
    }

    #[test]
    fn kvm_is_disabled_only_where_it_is_not_used() {
        let has =
            |accel| arguments(Path::new("/boot"), &["quiet".to_owned()], accel).contains(&"--disable-kvm".to_owned());
        assert!(has(Accel::Tcg) && !has(Accel::Kvm));
        let arguments = arguments(Path::new("/boot"), &["quiet".to_owned()], Accel::Kvm);
        assert!(arguments.ends_with(&["--append".to_owned(), "quiet".to_owned()]));
    }
}
