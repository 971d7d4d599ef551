//! Units that systemd does not run, by its own report.

use harness_protocol::name::KernelName;

use crate::{code::Code, finding::Finding, report::ProvedUnit};

/// The exit codes of systemd before it executes a process (systemd.exec(5), "Process Exit Codes"), each with advice.
const EXIT_CODES: [(u16, &str, &str); 15] = [
    (200, "CHDIR", "cannot enter the working directory: check that the user may enter it, and `ProtectHome=`"),
    (
        203,
        "EXEC",
        "cannot execute the guest program: make /usr/bin/bpf-token-guest visible, which `InaccessiblePaths=` and `TemporaryFileSystem=` may hide",
    ),
    (205, "LIMITS", "cannot set a `Limit…=`: check the hard limits"),
    (206, "OOM_ADJUST", "check `OOMScoreAdjust=`"),
    (214, "SETSCHEDULER", "check `CPUSchedulingPolicy=` and `CPUSchedulingPriority=`"),
    (216, "GROUP", "cannot switch to the group: check `Group=` and `SupplementaryGroups=`"),
    (217, "USER", "cannot switch to the user: check `User=`, `PrivateUsers=` and `DelegateNamespaces=`"),
    (
        218,
        "CAPABILITIES",
        "check `CapabilityBoundingSet=` and `AmbientCapabilities=`: a capability outside of the bounding set cannot be ambient",
    ),
    (219, "CGROUP", "cannot enter the control group: check `Delegate=` and the resource limits"),
    (225, "NETWORK", "cannot create the network namespace: check `PrivateNetwork=`"),
    (
        226,
        "NAMESPACE",
        "cannot create the mount namespace: check `PrivateBPF=`, `DelegateNamespaces=` and the paths in the unit",
    ),
    (228, "SECCOMP", "cannot install the system call filter: check `SystemCallFilter=` and the `Restrict…=` settings"),
    (238, "STATE_DIRECTORY", "check `StateDirectory=`"),
    (243, "CREDENTIALS", "check `LoadCredential=` and `SetCredential=`"),
    (245, "PROTECTION", "check the `Protect…=` settings"),
];

/// `SIGSYS` on x86-64 (signal(7)): the signal by which a system call filter kills.
const SIGSYS: [&str; 2] = ["31", "SYS"];

/// Returns the finding for a unit that systemd does not run, or whose process ends before it makes a call.
pub fn does_not_run(unit: &ProvedUnit, kernel: &KernelName) -> Finding {
    let code = EXIT_CODES.iter().find(|(number, ..)| !unit.ran && exit_code(&unit.status) == Some(*number));
    let status = match code {
        Some((number, name, _)) => format!("{number}/{name}"),
        None => unit.status.clone(),
    };
    let message = if unit.ran {
        format!(
            "systemd starts the unit, but its process ends before it makes a call: {}, status {status}",
            unit.result
        )
    } else {
        format!("systemd does not run the unit: {}, status {status}", unit.result)
    };
    let why = match unit.warnings.as_slice() {
        [] => "reported by `systemctl show`; systemd logs no warning".to_owned(),
        warnings => format!("systemd warns: {}", warnings.join("; ")),
    };
    let advice = match code {
        Some((.., advice)) => (*advice).to_owned(),
        None => advice(unit),
    };
    Finding::new(Code::UnitDoesNotRun, message, why).on(kernel).advice(advice)
}

fn advice(unit: &ProvedUnit) -> String {
    let signal = unit.status.strip_prefix("signal ").unwrap_or(&unit.status);
    match unit.result.as_str() {
        "bad-setting" | "error" => {
            "correct the setting that systemd names; `systemd-analyze verify` also checks the file".to_owned()
        }
        "signal" | "core-dump" if SIGSYS.contains(&signal) => {
            "the system call filter kills the process: add the call to `SystemCallFilter=` (of the usual groups only \
             @privileged has `bpf`), or set `SystemCallErrorNumber=EPERM` to return an error instead"
                .to_owned()
        }
        "oom-kill" => "the unit runs out of memory: check `MemoryMax=`".to_owned(),
        _ => "start it on a machine with this systemd and read `journalctl --unit`".to_owned(),
    }
}

/// Returns the number of a status such as `226` or `226/NAMESPACE`.
fn exit_code(status: &str) -> Option<u16> {
    status.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(ran: bool, result: &str, status: &str, warnings: &[&str]) -> Finding {
        let warnings = warnings.iter().map(|&warning| warning.to_owned()).collect();
        let unit = ProvedUnit { ran, result: result.to_owned(), status: status.to_owned(), warnings };
        does_not_run(&unit, &"7.3".parse().unwrap())
    }

    /// Formats the parts of a finding that people read.
    fn text(finding: Finding) -> String {
        format!("{}\nwhy: {}\nfix: {}", finding.message, finding.why, finding.fix.unwrap().words)
    }

    #[test]
    fn systemds_report_comes_with_advice() {
        let user =
            |status| text(found(false, "exit-code", status, &["unit.service: Failed to determine user credentials"]));
        assert_eq!(user("217"), user("217/USER"));
        insta::assert_snapshot!(user("217"), @r#"
        systemd does not run the unit: exit-code, status 217/USER
        why: systemd warns: unit.service: Failed to determine user credentials
        fix: cannot switch to the user: check `User=`, `PrivateUsers=` and `DelegateNamespaces=`
        "#);
        insta::assert_snapshot!(text(found(false, "bad-setting", "0", &[])), @r#"
        systemd does not run the unit: bad-setting, status 0
        why: reported by `systemctl show`; systemd logs no warning
        fix: correct the setting that systemd names; `systemd-analyze verify` also checks the file
        "#);
        insta::assert_snapshot!(text(found(true, "oom-kill", "signal 9", &[])), @r#"
        systemd starts the unit, but its process ends before it makes a call: oom-kill, status signal 9
        why: reported by `systemctl show`; systemd logs no warning
        fix: the unit runs out of memory: check `MemoryMax=`
        "#);
    }

    #[test]
    fn a_filter_that_kills_is_known_by_its_signal() {
        let killed = |status| text(found(true, "signal", status, &[]));
        assert_eq!(killed("signal 31").replace("signal 31", "SYS"), killed("SYS"));
        insta::assert_snapshot!(killed("signal 31"), @r#"
        systemd starts the unit, but its process ends before it makes a call: signal, status signal 31
        why: reported by `systemctl show`; systemd logs no warning
        fix: the system call filter kills the process: add the call to `SystemCallFilter=` (of the usual groups only @privileged has `bpf`), or set `SystemCallErrorNumber=EPERM` to return an error instead
        "#);
    }

    #[test]
    fn an_exit_code_of_the_process_itself_is_not_taken_for_systemds() {
        insta::assert_snapshot!(text(found(true, "exit-code", "217", &[])), @r#"
        systemd starts the unit, but its process ends before it makes a call: exit-code, status 217
        why: reported by `systemctl show`; systemd logs no warning
        fix: start it on a machine with this systemd and read `journalctl --unit`
        "#);
    }
}
