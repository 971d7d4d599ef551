//! Guests with systemd as the first process: it comes up, and delegates BPF to a unit as it is told.

mod built;

use std::{
    fs,
    process::ExitCode,
    time::{Duration, Instant},
};

use harness_runner::{
    session::RunFolder,
    vm::{self, Vm, VmEnd, VmEvent, VmSpec},
};
use libtest_mimic::{Arguments, Failed};

use built::Supplies;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A VM under software emulation on a busy machine is done long before.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the guest does, as root. systemd's own test makes a token of the bpffs its unit has.
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

/// The same of a systemd that knows nothing of it, by a unit file.
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
    let trial = |image, name: &str, test: fn(&Supplies) -> Result<()>| {
        built::trial_in(image, name, move |resources| test(resources).map_err(|error| Failed::from(error.to_string())))
    };
    let trials = vec![
        trial("systemd-262", "systemd_delegates_what_it_is_told_to", delegates),
        trial("systemd-257", "an_older_systemd_runs_the_unit_without_delegation", ignores),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn delegates(resources: &Supplies) -> Result<()> {
    let answer = answers(resources, QUESTIONS)?;
    let delegated = answer("delegated");
    assert!(delegated.contains("delegate_cmds=prog_load"), "{delegated}");
    assert!(delegated.ends_with("ended with 0\n"), "{delegated}");
    let not_delegated = answer("not-delegated");
    assert!(!not_delegated.contains("delegate_"), "{not_delegated}");
    assert!(not_delegated.contains("No such file or directory"), "{not_delegated}");
    assert!(!not_delegated.ends_with("ended with 0\n"), "{not_delegated}");
    Ok(())
}

fn ignores(resources: &Supplies) -> Result<()> {
    let answer = answers(resources, OLD_QUESTIONS)?;
    let asked = answer("asked");
    assert!(asked.contains("Unknown assignment: PrivateBPF=yes"), "{asked}");
    assert_eq!(answer("started"), "ended with 0\n");
    let (mounts, journal) = (answer("mounts"), answer("journal"));
    assert!(mounts.contains(" /sys/fs/bpf bpf ") && !mounts.contains("delegate_"), "{mounts}");
    assert!(journal.contains("Unknown key"), "{journal}");
    Ok(())
}

/// What the guest wrote into the files of these names, after a boot in which everything came up.
fn answers(resources: &Supplies, questions: &str) -> Result<impl Fn(&str) -> String + use<>> {
    // A run that starts meanwhile removes other folders there.
    let folder = RunFolder::create(&resources.runs)?;
    let [root, share, worker] = ["root", "share", "worker"].map(|name| folder.path().join(name));
    fs::create_dir(&share)?;
    fs::create_dir(&worker)?;
    resources.image.private_copy(&resources.guest, &root)?;
    let spec = VmSpec { root, share: share.clone(), command: questions.to_owned(), ..resources.spec()? };
    let console = run(&mut Vm::start(&spec, &worker)?)?;
    let answer = move |name: &str| {
        fs::read_to_string(folder.path().join("share").join(name)).unwrap_or_else(|error| format!("{name}: {error}"))
    };
    assert_eq!(answer("first"), "systemd\n");
    assert_eq!((answer("state").as_str(), answer("failed").as_str()), ("running\n", ""), "{console}");
    Ok(answer)
}

/// Runs the VM until its command has ended, and returns what it printed.
fn run(vm: &mut Vm) -> Result<String> {
    let (start, mut console) = (Instant::now(), Vec::new());
    while start.elapsed() < PATIENCE {
        match vm.next_event(Duration::from_secs(1)).map(|event| event.event) {
            Some(VmEvent::Console(line) | VmEvent::Output(line)) => console.push(line),
            Some(VmEvent::Ended(VmEnd::CommandEnded)) => return Ok(console.join("\n")),
            Some(VmEvent::Ended(end)) => return Err(format!("{end}\n{}", console.join("\n")).into()),
            Some(VmEvent::Reached(_)) | None => {}
        }
    }
    vm.stop();
    Err(format!("the guest did not end in time\n{}", console.join("\n")).into())
}
