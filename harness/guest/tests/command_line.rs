//! The program as the harness starts it, up to the point where it would change the machine.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use harness_protocol::{
    outcome::{Event, RECORD_FILE, Record},
    plan::{ExpectedKernel, FORMAT, PLAN_FILE, Plan},
};

fn guest(args: &[&str]) -> Output {
    // nextest says where the program is now if it was moved since it was compiled.
    let program = std::env::var_os("NEXTEST_BIN_EXE_harness-guest");
    let program = program.unwrap_or_else(|| env!("CARGO_BIN_EXE_harness-guest").into());
    Command::new(program).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn fault_in(folder: &Path) -> String {
    let record = fs::read_to_string(folder.join(RECORD_FILE)).unwrap();
    let records: Vec<Record> = record.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    match records.as_slice() {
        [Record { seq: 0, event: Event::Fault { message } }] => message.clone(),
        other => panic!("one fault expected, found {other:?}"),
    }
}

#[test]
fn help_says_what_it_is_and_wrong_usage_points_to_it() {
    let help = guest(&["--help"]);
    assert!(help.status.success() && text(&help.stdout).contains("runs inside a VM"));
    for args in [&["--selftest"][..], &["a", "b"], &["bench", "a", "b"]] {
        let wrong = guest(args);
        assert_eq!(wrong.status.code(), Some(2), "{args:?}");
        assert!(text(&wrong.stderr).contains("see --help"), "{args:?}");
    }
}

#[test]
fn a_folder_without_a_plan_is_a_fault_in_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let run = guest(&[folder.path().to_str().unwrap()]);
    assert_eq!(run.status.code(), Some(3));
    let fault = fault_in(folder.path());
    assert!(fault.contains(PLAN_FILE) && text(&run.stderr).contains(&fault), "{fault}");
}

#[test]
fn another_kernel_than_the_plans_is_a_fault_with_both_releases() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = ExpectedKernel { release: Some("0.0.0-none".to_owned()), ..Default::default() };
    let plan = Plan { format: FORMAT, kernel, scenarios: Vec::new() };
    fs::write(folder.path().join(PLAN_FILE), serde_json::to_vec(&plan).unwrap()).unwrap();
    let run = guest(&[folder.path().to_str().unwrap()]);
    assert_eq!(run.status.code(), Some(3));
    let running = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let fault = fault_in(folder.path());
    assert!(fault.contains("0.0.0-none") && fault.contains(running.trim()), "{fault}");
}

#[test]
fn an_old_record_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(RECORD_FILE), "kept").unwrap();
    let run = guest(&[folder.path().to_str().unwrap()]);
    assert_eq!(run.status.code(), Some(3));
    assert!(text(&run.stderr).contains("EEXIST"), "{}", text(&run.stderr));
    assert_eq!(fs::read_to_string(folder.path().join(RECORD_FILE)).unwrap(), "kept");
}
