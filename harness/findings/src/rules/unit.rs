//! Units that systemd does not run, as it says itself.

use harness_protocol::name::KernelName;

use crate::{code::Code, finding::Finding, report::ProvedUnit};

/// What systemd exits with before it executes a process (systemd.exec(5), "Process Exit Codes"), and what to do about it.
const EXIT_CODES: [(u16, &str, &str); 15] = [
    (200, "CHDIR", "the working directory cannot be entered: look at its user and `ProtectHome=`"),
    (
        203,
        "EXEC",
        "the guest program cannot be executed: let its file system show /usr/bin/bpf-token-guest, where `InaccessiblePaths=` and `TemporaryFileSystem=` may hide it",
    ),
    (205, "LIMITS", "a `Limit…=` cannot be set: look at hard limits"),
    (206, "OOM_ADJUST", "look at `OOMScoreAdjust=`"),
    (214, "SETSCHEDULER", "look at `CPUSchedulingPolicy=` and `CPUSchedulingPriority=`"),
    (216, "GROUP", "a group cannot be taken on: look at `Group=` and `SupplementaryGroups=`"),
    (217, "USER", "the user cannot be taken on: look at `User=`, `PrivateUsers=` and `DelegateNamespaces=`"),
    (
        218,
        "CAPABILITIES",
        "look at `CapabilityBoundingSet=` and `AmbientCapabilities=`: a capability outside of the bounding set cannot be ambient",
    ),
    (219, "CGROUP", "its control group cannot be entered: look at `Delegate=` and the limits of resources"),
    (225, "NETWORK", "its network namespace cannot be made: look at `PrivateNetwork=`"),
    (
        226,
        "NAMESPACE",
        "its mount namespace cannot be made: look at `PrivateBPF=`, `DelegateNamespaces=` and the paths it names",
    ),
    (228, "SECCOMP", "its filter cannot be put up: look at `SystemCallFilter=` and the `Restrict…=` settings"),
    (238, "STATE_DIRECTORY", "look at `StateDirectory=`"),
    (243, "CREDENTIALS", "look at `LoadCredential=` and `SetCredential=`"),
    (245, "PROTECTION", "look at the `Protect…=` settings"),
];

/// `SIGSYS` on x86-64 (signal(7)): what a filter of system calls kills by.
const SIGSYS: [&str; 2] = ["31", "SYS"];

/// What is found where systemd does not run a unit, or ends its process before it makes a call.
pub fn does_not_run(unit: &ProvedUnit, kernel: &KernelName) -> Finding {
    let code = EXIT_CODES.iter().find(|(number, ..)| !unit.ran && exit_code(&unit.status) == Some(*number));
    let status = match code {
        Some((number, name, _)) => format!("{number}/{name}"),
        None => unit.status.clone(),
    };
    let message = if unit.ran {
        format!(
            "systemd starts the unit, and its process is ended before it makes a call: {}, status {status}",
            unit.result
        )
    } else {
        format!("systemd does not run the unit: {}, status {status}", unit.result)
    };
    let why = match unit.warnings.as_slice() {
        [] => "so systemd says of it, and warns of nothing (systemctl show)".to_owned(),
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
        "bad-setting" | "error" => "mend the setting that systemd names; `systemd-analyze verify` reads the file, too".to_owned(),
        "signal" | "core-dump" if SIGSYS.contains(&signal) => {
            "its system call filter kills it: add the call to `SystemCallFilter=` (`bpf` is in none of the usual groups but \
             @privileged), or set `SystemCallErrorNumber=EPERM` to have it refused instead"
                .to_owned()
        }
        "oom-kill" => "it has too little memory: look at `MemoryMax=`".to_owned(),
        _ => "start it on a machine with this systemd, and look at `journalctl --unit`".to_owned(),
    }
}

/// `226`, or `226/NAMESPACE`.
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

    #[test]
    fn what_systemd_says_is_told_with_what_to_do() {
        for status in ["217", "217/USER"] {
            let user = found(false, "exit-code", status, &["unit.service: Failed to determine user credentials"]);
            assert!(user.message.ends_with("does not run the unit: exit-code, status 217/USER"), "{}", user.message);
            assert!(user.why.contains("credentials") && user.fix.unwrap().words.contains("`User=`"));
        }
        let bad = found(false, "bad-setting", "0", &[]);
        assert!(bad.fix.unwrap().words.contains("the setting that systemd names"));
    }

    #[test]
    fn a_filter_that_kills_is_told_by_its_signal_and_an_exit_code_of_its_own_is_none_of_systemds() {
        for status in ["signal 31", "SYS"] {
            let killed = found(true, "signal", status, &[]);
            assert!(killed.message.contains("before it makes a call"), "{}", killed.message);
            assert!(killed.fix.unwrap().words.contains("SystemCallFilter"));
        }
        let own = found(true, "exit-code", "217", &[]);
        assert!(own.message.ends_with("status 217") && !own.fix.unwrap().words.contains("`User=`"));
    }
}
