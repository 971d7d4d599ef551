//! Reading, checking and reporting take time in proportion to the input, however it is made up.

#[allow(dead_code, reason = "each test uses a part of it")]
mod kernels;

use std::{fs, time::Duration};

use harness_findings::{fix, report};
use kernels::{With, all_checked};

/// How long is measured at least: much longer than the tick at which the kernel counts run time.
const LONG: Duration = Duration::from_millis(100);

/// Checks a file and formats its findings for programs and for people.
fn check(label: &str, text: &str) {
    let reports = all_checked(label, text, &["6.12", "7.3"], With::default());
    for one in &reports {
        report::plain(one);
        report::annotations(one);
        fix::apply(&one.findings, &one.sources);
    }
    report::document(&reports).unwrap();
    report::log(&reports, "0").unwrap();
}

/// Returns how long this thread has run, whatever else the machine does (`/proc/PID/schedstat`, in nanoseconds:
/// Documentation/scheduler/sched-stats.rst).
fn run_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// Returns how long a check takes, on average over as many as take [`LONG`].
fn time(label: &str, text: &str) -> f64 {
    let (start, mut checks) = (run_time(), 0);
    while run_time() - start < LONG {
        check(label, text);
        checks += 1;
    }
    (run_time() - start).as_secs_f64() / f64::from(checks)
}

/// Checks that four times the input takes some four times as long: less than six times, where a quadratic step would
/// make it sixteen. One of three tries is enough, because something else may slow down the others.
fn assert_linear(label: &str, few: usize, text: impl Fn(usize) -> String) {
    let (few, many) = (text(few), text(few * 4));
    let mut tries = Vec::new();
    while tries.len() < 3 {
        let growth = time(label, &many) / time(label, &few);
        if growth < 6.0 {
            return;
        }
        tries.push(growth);
    }
    panic!("{label}: 4 times the input takes {tries:.1?} times as long");
}

/// Repeats a text with its number in place of `#`.
fn repeated(text: &str, times: usize, separator: &str) -> String {
    (0..times).map(|number| text.replace('#', &number.to_string())).collect::<Vec<_>>().join(separator)
}

const UNIT: &str = "[Service]\nPrivateBPF=yes\nPrivateUsers=yes\nDelegateNamespaces=mnt\n";

#[test]
fn assignments_of_a_unit() {
    let text = |many| format!("{UNIT}{}", repeated("BPFDelegateMaps=BPFMapTypeHash", many, "\n"));
    assert_linear("a.service", 2000, text);
}

#[test]
fn names_of_a_unit() {
    let list = |many| repeated("BPFMapTypeInsnArray", many, ",");
    assert_linear("a.service", 2000, |many| format!("{UNIT}BPFDelegateMaps={}\n", list(many)));
}

#[test]
fn unknown_names_of_a_unit() {
    let list = |many| repeated("BPFMapType#", many, ",");
    assert_linear("a.service", 1000, |many| format!("{UNIT}BPFDelegateMaps={}\n", list(many)));
}

#[test]
fn unknown_settings_of_a_unit() {
    assert_linear("a.service", 1000, |many| format!("{UNIT}{}", repeated("BPFDelegate#=x", many, "\n")));
}

#[test]
fn names_of_a_mount() {
    let list = |many| repeated("insn_array", many, ":");
    assert_linear("mount", 2000, |many| format!("mount -t bpf -o delegate_maps={} none /x\n", list(many)));
}

#[test]
fn unknown_names_of_a_mount() {
    let list = |many| repeated("array#", many, ":");
    assert_linear("mount", 1000, |many| format!("mount -t bpf -o delegate_maps={} none /x\n", list(many)));
}

/// Of more than 1,000 mounts, the rest is not read.
#[test]
fn mount_commands() {
    assert_linear("mount", 250, |many| repeated("mount -t bpf none /x#", many, "\n"));
}

#[test]
fn names_of_an_instance() {
    let list = |many| repeated("array#", many, ",");
    let text = |many| {
        let types = list(many);
        format!("config:\n  security.delegate_bpf: \"true\"\n  security.delegate_bpf.map_types: {types}\n")
    };
    assert_linear("a.yaml", 2000, text);
}

#[test]
fn findings_beside_suppressions() {
    let allowed = repeated("# bpf-token: allow unknown-name reason", 100, "\n");
    let list = |many| repeated("BPFMapType#", many, ",");
    assert_linear("a.service", 1000, |many| format!("{UNIT}{allowed}\nBPFDelegateMaps={}\n", list(many)));
}

#[test]
fn commands_of_a_script() {
    let line = "incus config set web# security.bpffs.delegate_cmds=map_create\nsystemd-run -p BPFDelegateMaps=any x\n";
    assert_linear("a.sh", 100, |many| repeated(line, many, ""));
}

#[test]
fn names_after_a_comma() {
    assert_linear("mount", 1000, |many| {
        format!("mount -t bpf none /x -o delegate_cmds=map_create,{}\n", repeated("prog_load", many, ","))
    });
}

#[test]
fn scripts_within_scripts() {
    assert_linear("a.sh", 250, |many| {
        repeated("sh -c \"sh -c 'mount -t bpf none /x# -o delegate_cmds=map_create'\"", many, "\n")
    });
}

/// Of more than 100 documents the rest is read as commands.
#[test]
fn documents_of_a_script() {
    let text = |many| repeated("cat > a#.service <<E\n[Service]\nBPFDelegateMaps=BPFMapTypeHash\nE\n", many, "");
    assert_linear("a.sh", 25, text);
}

/// Of more than 100 scripts the rest is not read.
#[test]
fn scripts_and_units_of_yaml() {
    let part =
        "- run: |\n    systemd-run -p BPFDelegateMaps=any x#\n- content: |\n    [Service]\n    BPFDelegateMaps=any\n";
    assert_linear("a.yaml", 25, |many| repeated(part, many, ""));
}

#[test]
fn entries_of_lxc() {
    assert_linear("config", 1000, |many| repeated("lxc.cap.drop = bpf sys_admin", many, "\n"));
}

#[test]
fn resources_of_terraform() {
    let resource =
        "resource \"incus_instance\" \"a#\" {\n  config = { \"security.bpffs.delegate_cmds\" = \"any\" }\n}\n";
    assert_linear("main.tf", 50, |many| repeated(resource, many, ""));
}
