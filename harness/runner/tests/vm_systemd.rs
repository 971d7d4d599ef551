//! Guests with systemd as the first process: it boots, and delegates BPF to a unit as configured.

mod built;

use std::{fs, process::ExitCode, time::Duration};

use harness_runner::{
    session::RunFolder,
    vm::{self, VmSpec},
};
use libtest_mimic::{Arguments, Failed};

use built::Built;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The limit for a VM; even under software emulation on a busy machine it takes much less.
const PATIENCE: Duration = Duration::from_secs(300);

/// The guest's commands, as root. systemd's own test creates a token from its unit's bpffs.
const QUESTIONS: &str = r#"
cd /mnt/vmtest
cat /proc/1/comm > first
systemctl is-system-running > state
systemctl list-units --failed --no-legend --plain > failed
unit() {
    systemd-run --wait --pipe --quiet -p PrivateUsers=yes -p PrivateMounts=yes -p DelegateNamespaces=mnt "$@" \
        sh -c 'grep " /sys/fs/bpf " /proc/mounts | tail -n 1; /usr/lib/systemd/tests/unit-tests/manual/test-bpf-token' 2>&1
    echo "ended with $?"
}
unit -p PrivateBPF=yes -p BPFDelegateCommands=BPFProgLoad > delegated
unit -p PrivateBPF=yes > not-delegated
"#;

/// Likewise with a unit file, for a systemd that does not support delegation.
const OLD_QUESTIONS: &str = r#"
cd /mnt/vmtest
cat /proc/1/comm > first
systemctl is-system-running > state
systemctl list-units --failed --no-legend --plain > failed
systemd-run --wait --pipe --quiet -p PrivateBPF=yes true > asked 2>&1
cat > /run/systemd/system/unit.service <<.
[Service]
Type=oneshot
PrivateUsers=yes
PrivateMounts=yes
PrivateBPF=yes
BPFDelegateCommands=BPFProgLoad
ExecStart=/bin/sh -c 'cat /proc/self/uid_map /proc/mounts > /mnt/vmtest/mounts'
.
systemctl daemon-reload
systemctl start unit.service > started 2>&1
echo "ended with $?" >> started
journalctl --no-pager --grep PrivateBPF > journal
"#;

fn main() -> ExitCode {
    vm::run_child_if_asked();
    let trial = |image, name: &str, test: fn(&Built) -> Result<()>| {
        built::trial_in(image, name, move |built| test(built).map_err(|error| Failed::from(error.to_string())))
    };
    let trials = vec![
        trial("systemd-262", "systemd_delegates_as_configured", delegates),
        trial("systemd-257", "an_older_systemd_runs_the_unit_without_delegation", ignores),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn delegates(built: &Built) -> Result<()> {
    let answer = answers(built, QUESTIONS)?;
    let delegated = answer("delegated");
    assert!(delegated.contains("delegate_cmds=prog_load"), "{delegated}");
    assert!(delegated.ends_with("ended with 0\n"), "{delegated}");
    let not_delegated = answer("not-delegated");
    assert!(!not_delegated.contains("delegate_"), "{not_delegated}");
    assert!(not_delegated.contains("No such file or directory"), "{not_delegated}");
    assert!(!not_delegated.ends_with("ended with 0\n"), "{not_delegated}");
    Ok(())
}

fn ignores(built: &Built) -> Result<()> {
    let answer = answers(built, OLD_QUESTIONS)?;
    let asked = answer("asked");
    assert!(asked.contains("Unknown assignment: PrivateBPF=yes"), "{asked}");
    assert_eq!(answer("started"), "ended with 0\n");
    let (mounts, journal) = (answer("mounts"), answer("journal"));
    assert!(mounts.contains(" /sys/fs/bpf bpf ") && !mounts.contains("delegate_"), "{mounts}");
    assert!(journal.contains("Unknown key"), "{journal}");
    Ok(())
}

/// Boots a guest without failed units, runs the commands, and returns a function that reads the files they wrote.
fn answers(built: &Built, questions: &str) -> Result<impl Fn(&str) -> String + use<>> {
    // A run that starts meanwhile would remove any other kind of folder.
    let folder = RunFolder::create(&built.runs)?;
    let [root, share, worker] = ["root", "share", "worker"].map(|name| folder.path().join(name));
    fs::create_dir(&share)?;
    fs::create_dir(&worker)?;
    built.image.private_copy(&built.guest, &root)?;
    let spec = VmSpec { root, share: share.clone(), command: questions.to_owned(), ..built.spec()? };
    let console = built::shown(&spec, &worker, PATIENCE)?;
    let answer = move |name: &str| {
        fs::read_to_string(folder.path().join("share").join(name)).unwrap_or_else(|error| format!("{name}: {error}"))
    };
    assert_eq!(answer("first"), "systemd\n");
    assert_eq!((answer("state").as_str(), answer("failed").as_str()), ("running\n", ""), "{console}");
    Ok(answer)
}
