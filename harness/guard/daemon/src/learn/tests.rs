use clap::Parser;
use guard_record::{
    Chain, Counters, End, EndReason, Gap, GapReason, Hook, NoNames, ProgramPart, Record, Start, Time, VERSION, Verdict,
};

use super::*;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    args: LearnArgs,
}

fn parsed(line: &str) -> Result<LearnArgs, String> {
    Cli::try_parse_from(line.split(' ')).map(|cli| cli.args).map_err(|error| error.to_string())
}

#[test]
fn records_come_from_a_log_or_a_guard() {
    assert_eq!(parsed("learn --for 1h").unwrap().time, Some(Duration::from_secs(3600)));
    let args = parsed("learn --log a b --allow lsm @interfere").unwrap();
    assert_eq!((args.log.len(), args.allow.iter().map(|named| named.0.len()).collect::<Vec<_>>()), (2, vec![1, 5]));
    for (wrong, why) in [
        ("learn", "--log <FILE>"),
        ("learn --log a --for 1h", "cannot be used with"),
        ("learn --for 1", "it is no time from 1s"),
        ("learn --for 0s", "it is no time from 1s"),
        ("learn --for 99999999999999999999s", "it is no time from 1s"),
        ("learn --for 1h --allow xdp", "it is none of lsm, modify_return, modules, probe_write_user"),
    ] {
        let error = parsed(wrong).unwrap_err();
        assert!(error.contains(why), "{wrong}: {error}");
    }
}

#[test]
fn the_guard_for_learning_records_everything() {
    let (policy, _) = guard_policy::parse("", RECORD_ALL).unwrap();
    assert!(policy.guard.count_only.is_empty() && policy.rules.len() == 1);
    assert_eq!(policy.rules[0].action, guard_policy::Action::Allow);
    assert!(include_str!("../../../../../docs/guard.md").contains(RECORD_ALL), "the documentation has another one");
}

/// A load of a program of type `xdp` by user 7.
fn load(seq: u64) -> Logged {
    let program = ProgramPart { r#type: 6, insns: 20, ..Record::of(0, Hook::ProgLoad).program().unwrap() };
    let record = Record {
        uid: 7,
        userns: 0xeffffffd,
        call: 1,
        cmd: 5,
        part: program.to_part(),
        ..Record::of(seq, Hook::ProgLoad)
    };
    Logged::Record(Line::of(&record, &NoNames))
}

fn time_of(boot_ns: u64) -> Time {
    Time::of(boot_ns, None)
}

fn start(file: u64) -> Start {
    Start {
        version: VERSION,
        program: "bpf-guard".to_owned(),
        kernel: "7.3.4".to_owned(),
        boot_id: "0123456789abcdef".to_owned(),
        guard: 1,
        file,
        time: time_of(1),
        seq: 0,
        read: 0,
        lost: 0,
        previous: None,
    }
}

fn end(lines: u64, read: u64, lost: u64) -> Logged {
    let counters = Counters { seq: read + lost, read, lost, kernel: None };
    Logged::End(End { why: EndReason::Stopped, time: time_of(9), lines, counters })
}

fn log(file: u64, lines: &[Logged]) -> String {
    let (mut chain, mut text) = Chain::begin(&start(file));
    for logged in lines {
        let (next, line) = chain.then(logged);
        (chain, text) = (next, text + &line);
    }
    text
}

/// What is learnt from a log of this text.
fn from(text: &str) -> Result<(Learner, Origin)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guard.jsonl");
    fs::write(&path, text).unwrap();
    let mut learner = Learner::default();
    let origin = from_log(&mut learner, &[path])?;
    Ok((learner, origin))
}

#[test]
fn a_whole_log_makes_a_policy() {
    let (learner, origin) = from(&log(1, &[load(0), load(1), end(3, 2, 0)])).unwrap();
    assert_eq!((&origin.kernels[..], origin.missing.len(), origin.notes.len()), (&["7.3.4".to_owned()][..], 0, 0));
    let text = policy(&learner, &origin).unwrap();
    assert!(
        text.contains("guard.jsonl\n") && text.contains("uid = 7\n") && text.contains("max_insns = 20\n"),
        "{text}"
    );
    assert!(!text.contains("INCOMPLETE"));
}

#[test]
fn an_edited_log_teaches_nothing() {
    let text = log(1, &[load(0), end(2, 1, 0)]).replace("\"uid\":7", "\"uid\":0");
    let error = from(&text).unwrap_err().to_string();
    assert!(
        error.starts_with("nothing is learnt: the log is not whole: ") && error.contains("line 2: record 0 was edited"),
        "{error}"
    );
    let error = from_log(&mut Learner::default(), &["/nowhere".into()]).unwrap_err().to_string();
    assert_eq!(error, "cannot open /nowhere");
}

#[test]
fn what_a_log_lacks_is_said() {
    let gap = |first, count, why| Logged::Gap(Gap { first, count, why });
    let lines = [gap(0, 4, GapReason::Begin), load(4), gap(5, 2, GapReason::Lost), load(7)];
    let (learner, origin) = from(&log(3, &lines)).unwrap();
    assert_eq!(origin.missing, ["2 records did not fit the rings", "4 records are older than the log"]);
    assert_eq!(origin.notes.len(), 2);
    let text = policy(&learner, &origin).unwrap();
    for part in ["# INCOMPLETE", "#     2 records did not fit", "begins with its file 3", "The log is not closed"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn no_policy_is_better_than_one_that_refuses_everything() {
    let Logged::Record(mut line) = load(0) else { unreachable!() };
    line.verdict = Verdict::Denied;
    let (learner, origin) = from(&log(1, &[Logged::Record(line), end(2, 1, 0)])).unwrap();
    let error = policy(&learner, &origin).unwrap_err().to_string();
    assert!(error.starts_with("nothing is learnt: there is no record"), "{error}");
}

#[test]
fn more_users_than_a_policy_can_have_are_an_error() {
    let learner = |users: u32| {
        let mut learner = Learner::default();
        for uid in 0..users {
            let record = Record { uid, call: 1, cmd: 5, ..Record::of(0, Hook::Bpf) };
            learner.see(&Line::of(&record, &NoNames));
        }
        learner
    };
    assert!(policy(&learner(64), &Origin::default()).is_ok());
    let error = policy(&learner(65), &Origin::default()).unwrap_err().to_string();
    assert!(
        error.starts_with("what was recorded makes no policy; learn from fewer records") && error.contains("64"),
        "{error}"
    );
}

#[test]
fn records_that_were_not_read_are_counted() {
    let tally = |seqs: &[u64]| {
        let mut tally = Tally::default();
        seqs.iter().for_each(|seq| tally.see(*seq));
        tally
    };
    assert_eq!(tally(&[0, 1, 2]).gaps(3), (None, None));
    assert_eq!(tally(&[]).gaps(0), (None, None));
    let (missing, older) = tally(&[7, 5, 9]).gaps(11);
    assert_eq!(missing.as_deref(), Some("3 records did not fit the rings, or another process read them"));
    assert!(older.unwrap().starts_with("5 records of this guard are older"));
    assert!(tally(&[]).gaps(4).1.is_some());
}
