use std::{os::unix::fs::PermissionsExt, thread};

use harness_protocol::plan::GuardMode;

use super::*;

/// A stand-in for the guard's program: a script that answers commands.
struct FakeProgram {
    folder: tempfile::TempDir,
}

/// The records of a call while it is on, and the answers with exact sums.
const HONEST: &str = r#"
n=0
echo '{"ready":{"programs":19}}'
while read -r command; do
    case $command in
    off) echo '{"seq":0,"hook":"bpf"}'; echo '{"seq":1,"hook":"btf"}'; n=$((n + 2)) ;;
    esac
    echo "{\"done\":\"$command\",\"counters\":{\"recorded\":$n,\"read\":$n,\"lost\":0,\"seq\":$n,\"counted\":3}}"
done
"#;

impl FakeProgram {
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bpf-guard");
        fs::write(&path, format!("#!/bin/sh\n{}", script.replace("FOLDER", folder.path().to_str().unwrap()))).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn start(&self, keep: Keep) -> Result<Guard, GuardError> {
        let plan = plan::Guard { mode: Some(GuardMode::Enforce), ..plan::Guard::new("version = 1\n") };
        self.start_as(&plan, keep)
    }

    fn start_as(&self, plan: &plan::Guard, keep: Keep) -> Result<Guard, GuardError> {
        let program = self.folder.path().join("bpf-guard");
        loop {
            match Guard::start(&program, plan, keep) {
                // What another test forked meanwhile has the new file open for writing, until it executes its program.
                Err(GuardError::Io { source, .. }) if source.kind() == io::ErrorKind::ExecutableFileBusy => {
                    thread::sleep(Duration::from_millis(1));
                }
                started => return started,
            }
        }
    }

    fn running(&self) -> Guard {
        self.start(Keep::Records).unwrap()
    }

    fn noted(&self) -> String {
        fs::read_to_string(self.folder.path().join("noted")).unwrap()
    }
}

#[test]
fn it_gets_the_policy_and_ends_with_its_input() {
    let script = format!("echo \"$1 $2 $4 $6 $7\" > FOLDER/noted; cat \"$3\" >> FOLDER/noted\n{HONEST}");
    let program = FakeProgram::new(&script);
    let guard = program.running();
    assert_eq!(program.noted(), "try --commands --exempt --mode enforce\nversion = 1\n");
    guard.stop().unwrap();
}

#[test]
fn what_it_records_while_it_is_on_is_returned_once() {
    let program = FakeProgram::new(HONEST);
    let mut guard = program.running();
    for _ in 0..3 {
        guard.on().unwrap();
        let window = guard.off().unwrap();
        assert_eq!(window.records, ["{\"seq\":0,\"hook\":\"bpf\"}", "{\"seq\":1,\"hook\":\"btf\"}"]);
    }
    assert_eq!(rustix::fs::fstat(&guard.printed).unwrap().st_size, 0, "the file does not grow");
}

#[test]
fn for_a_session_only_the_calls_are_counted() {
    let program = FakeProgram::new(HONEST);
    let mut guard = program.start(Keep::Nothing).unwrap();
    guard.on().unwrap();
    let window = guard.off().unwrap();
    assert_eq!((window.records.len(), window.calls()), (0, 2), "it had counted 3 when it was switched on");
}

#[test]
fn an_early_one_is_only_read() {
    let commands = "flush) echo '{\"seq\":0}'; n=$((n + 1)) ;; o*) exit 1 ;; off) ";
    let script = format!("echo \"$*\" > FOLDER/noted\n{}", HONEST.replace("off) ", commands));
    let program = FakeProgram::new(&script);
    let plan = plan::Guard { early: true, ..plan::Guard::new("version = 1\n") };
    let mut guard = program.start_as(&plan, Keep::Records).unwrap();
    assert_eq!(program.noted(), "try --commands\n");
    for _ in 0..2 {
        guard.on().unwrap();
        assert_eq!(guard.off().unwrap().records, ["{\"seq\":0}"], "what precedes the attempt is left out");
    }
    guard.stop().unwrap();
}

#[test]
fn many_records_do_not_hold_it_up() {
    let script = HONEST.replace("echo '{\"seq\":1,", "seq -f '{\"seq\":%.0f}' 1 100000; echo '{\"seq\":1,");
    let mut guard = FakeProgram::new(&script).running();
    guard.on().unwrap();
    assert_eq!(guard.off().unwrap().records.len(), 100_002);
}

#[test]
fn its_complaint_explains_why_it_does_not_start() {
    let program = FakeProgram::new("echo 'x.guard.toml:3:1: unknown key `modus`' >&2; exit 2");
    let error = program.start(Keep::Records).unwrap_err();
    insta::assert_snapshot!(error, @"the guard has ended, exit status: 2: x.guard.toml:3:1: unknown key `modus`");
    let none = tempfile::tempdir().unwrap();
    let missing = FakeProgram { folder: none }.start(Keep::Records).unwrap_err();
    insta::assert_snapshot!(missing, @"the guard: start it: No such file or directory (os error 2)");
}

#[test]
fn its_end_is_noticed() {
    let mut guard = FakeProgram::new("echo '{\"ready\":{}}'; read -r command; echo 'ring: EIO' >&2; exit 1").running();
    insta::assert_snapshot!(guard.on().unwrap_err(), @"the guard has ended, exit status: 1: ring: EIO");
    insta::assert_snapshot!(guard.on().unwrap_err(), @"the guard has ended, exit status: 1: ring: EIO");
    insta::assert_snapshot!(guard.stop().unwrap_err(), @"the guard has ended, exit status: 1: ring: EIO");
}

#[test]
fn other_answers_are_faults() {
    let error = |answer: &str| {
        let script = format!("echo '{{\"ready\":{{}}}}'; read -r command; echo '{answer}'; read -r command");
        FakeProgram::new(&script).running().on().unwrap_err().to_string()
    };
    let counters = "\"counters\":{\"recorded\":7,\"read\":7,\"lost\":0,\"seq\":7,\"counted\":0}";
    insta::assert_snapshot!(
        error(&format!("{{\"done\":\"off\",{counters}}}")),
        @r#"the guard printed `{"done":"off","counters":{"recorded":7,"read":7,"lost":0,"seq":7,"counted":0}}` after `on`: it has done `off`"#
    );
    insta::assert_snapshot!(error("hello"), @"the guard printed `hello` after `on`: expected value at line 1 column 1");
}

#[test]
fn sums_that_do_not_add_up_are_a_fault() {
    for (recorded, read, lost, seq) in [(8, 7, 0, 7), (7, 6, 0, 7), (7, 6, 1, 7), (7, 7, 0, 8)] {
        let counters = format!("\"recorded\":{recorded},\"read\":{read},\"lost\":{lost},\"seq\":{seq},\"counted\":0");
        let script = "echo '{\"ready\":{}}'; while read -r command; do\n\
                      echo \"{\\\"done\\\":\\\"$command\\\",\\\"counters\\\":{COUNTERS}}\"; done";
        let script = script.replace("COUNTERS", &counters.replace('"', "\\\""));
        let error = FakeProgram::new(&script).running().on().unwrap_err();
        assert!(matches!(error, GuardError::Sums(_)), "{error}");
    }
}

#[test]
fn a_record_that_is_being_made_is_waited_for() {
    let late = HONEST.replace("off) ", "on) n=1; r=0 ;; flush) echo '{\"seq\":0}'; r=1 ;; off) ");
    let late = late.replace("\\\"read\\\":$n", "\\\"read\\\":$r");
    let mut guard = FakeProgram::new(&late).running();
    insta::assert_snapshot!(guard.on().unwrap_err(), @r#"the guard recorded a call while it was off: {"seq":0}"#);
}

#[test]
fn a_record_while_it_is_off_is_a_fault() {
    let script = HONEST.replace("off) ", "on) echo '{\"seq\":0,\"verdict\":\"denied\"}'; n=1 ;; off) ");
    let error = FakeProgram::new(&script).running().on().unwrap_err();
    insta::assert_snapshot!(error, @r#"the guard recorded a call while it was off: {"seq":0,"verdict":"denied"}"#);
}

fn with_reader(reader: Reader) -> plan::Guard {
    plan::Guard { reader, ..plan::Guard::new("version = 1\n") }
}

#[test]
fn a_reader_is_stopped_while_an_attempt_is_made() {
    let mut guard = FakeProgram::new(HONEST).start_as(&with_reader(Reader::Stopped), Keep::Records).unwrap();
    guard.on().unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", guard.pid().as_raw_nonzero())).unwrap();
    assert!(stat.contains(") T "), "{stat}");
    assert_eq!(guard.off().unwrap().records.len(), 2, "it goes on");
}

#[test]
fn a_ring_that_should_be_full_has_lost_records() {
    let mut guard = FakeProgram::new(HONEST).start_as(&with_reader(Reader::Full), Keep::Records).unwrap();
    guard.on().unwrap();
    insta::assert_snapshot!(guard.off().unwrap_err(), @"the guard's ring was not full: no record was lost; its policy must allow root to make maps");
    let losing = HONEST.replace("\"lost\\\":0", "\"lost\\\":$n").replace("\\\"read\\\":$n", "\\\"read\\\":0");
    let mut guard = FakeProgram::new(&losing).start_as(&with_reader(Reader::Full), Keep::Records).unwrap();
    guard.on().unwrap();
    let window = guard.off().unwrap();
    assert!(window.filler.is_some() && window.records.len() == 2);
}

/// Starts one that will soon end by a signal; it closes its input before that if so said.
fn dying(closes_input: bool) -> (FakeProgram, Guard) {
    let closing = if closes_input { "exec <&-" } else { ":" };
    let program = FakeProgram::new(&format!(
        "echo '{{\"ready\":{{}}}}'; read -r command\n\
         echo '{{\"done\":\"on\",\"counters\":{{\"recorded\":0,\"read\":0,\"lost\":0,\"seq\":0,\"counted\":0}}}}'\n\
         {closing}; touch FOLDER/noted; sleep 0.3; kill -9 $$"
    ));
    let mut guard = program.running();
    guard.on().unwrap();
    while !program.folder.path().join("noted").exists() {
        thread::sleep(Duration::from_millis(1));
    }
    (program, guard)
}

#[test]
fn an_attack_that_ends_it_may_take_its_time() {
    for closes_input in [true, false] {
        let (_program, mut guard) = dying(closes_input);
        guard.survive(true).unwrap();
        let window = guard.off().unwrap();
        assert!(window.is_attacked && window.records.is_empty() && window.calls == 0);
        guard.stop().unwrap();
    }
}

#[test]
fn an_end_without_an_attack_is_an_error() {
    for closes_input in [true, false] {
        let (_program, mut guard) = dying(closes_input);
        let error = guard.off().unwrap_err().to_string();
        assert_eq!(error, "the guard has ended, signal: 9 (SIGKILL)");
    }
}
