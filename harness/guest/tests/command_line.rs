//! The program as the harness starts it, up to the point where it would change the machine.
//!
//! `fixtures/plans` has plans that it rejects; `snapshots` has what it prints and records.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use harness_protocol::{
    outcome::{Event, RECORD_FILE, Record},
    plan::{FORMAT, PLAN_FILE},
};

fn guest(args: &[&str]) -> Output {
    // nextest sets the variable if the program was moved after it was compiled.
    let program = std::env::var_os("NEXTEST_BIN_EXE_harness-guest");
    let program = program.unwrap_or_else(|| env!("CARGO_BIN_EXE_harness-guest").into());
    Command::new(program).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns the exit code and everything printed.
fn printed(args: &[&str]) -> String {
    let Output { status, stdout, stderr } = guest(args);
    format!("{status}\n{}{}", text(&stdout), text(&stderr))
}

/// Runs the plan in a folder. Returns what the program printed, and its record, which must be one fault.
fn rejection(folder: &Path) -> String {
    let printed = printed(&[folder.to_str().unwrap()]);
    let record = fs::read_to_string(folder.join(RECORD_FILE)).unwrap();
    let records: Vec<Record> = record.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [Record { seq: 0, event: Event::Fault { message } }] = records.as_slice() else {
        panic!("expected one fault, found {records:?}")
    };
    let running = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    format!("{printed}record: {message}\n")
        .replace(folder.to_str().unwrap(), "[FOLDER]")
        .replace(running.trim(), "[RUNNING]")
        .replace(&format!("format {FORMAT}"), "format [CURRENT]")
}

/// Compares a text with the snapshot of this name.
fn compare(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

fn here(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder)
}

/// Returns the names of the files in a folder that start and end like this, without both.
fn names_in(folder: &Path, start: &str, end: &str) -> BTreeSet<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| Some(name.strip_prefix(start)?.strip_suffix(end)?.to_owned())).collect()
}

#[test]
fn help_and_wrong_usage() {
    compare("help", &printed(&["--help"]));
    let wrong = [&["--selftest"][..], &["a", "b"], &["bench", "a", "b"]];
    let printed: Vec<String> = wrong.iter().map(|args| format!("{args:?}: {}", printed(args))).collect();
    compare("wrong-usage", &printed.concat());
}

#[test]
fn a_rejected_plan_is_a_fault_in_the_record() {
    let plans = here("fixtures/plans");
    let names = names_in(&plans, "", ".json");
    assert!(!names.is_empty());
    assert_eq!(names_in(&here("snapshots"), "plan-", ".snap"), names, "snapshots and plans differ");
    for name in names {
        let folder = tempfile::tempdir().unwrap();
        let plan = fs::read_to_string(plans.join(format!("{name}.json"))).unwrap();
        fs::write(folder.path().join(PLAN_FILE), plan.replace("\"CURRENT\"", &FORMAT.to_string())).unwrap();
        compare(&format!("plan-{name}"), &rejection(folder.path()));
    }
}

#[test]
fn a_folder_without_a_plan_is_a_fault_in_its_record() {
    let folder = tempfile::tempdir().unwrap();
    compare("no-plan", &rejection(folder.path()));
}

#[test]
fn an_old_record_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(RECORD_FILE), "kept").unwrap();
    let printed = printed(&[folder.path().to_str().unwrap()]);
    compare("old-record", &printed.replace(folder.path().to_str().unwrap(), "[FOLDER]"));
    assert_eq!(fs::read_to_string(folder.path().join(RECORD_FILE)).unwrap(), "kept");
}
