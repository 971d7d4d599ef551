use std::collections::BTreeMap;

use fastrand::Rng;
use guard_record::{
    HAS_TOKEN, Hook as Recorded, Kind, Line, MapPart, Names as RecordNames, OF_GUARD, ProgramPart, Reason, Record,
    Verdict,
};

use super::{event::TRACING, *};
use crate::{
    Compiled, Names, decide,
    decision::{Call, Event, Program, Target, map_bytes},
    findings, parse,
};

const CMDS: [u32; 7] = [0, 2, 5, 18, 21, 28, 36];
const MAP_CREATE: u32 = 0;
const PROG_LOAD: u32 = 5;

/// Names as the daemon has them: the project's, and functions from 1,000 to 1,999 as those of the kernel.
struct Known;

fn function(id: u32) -> Option<String> {
    match id {
        1998 => Some("security_file_open".to_owned()),
        1999 => Some("evil\"\nname".to_owned()),
        1000..=1997 => Some(format!("function_{id}")),
        _ => None,
    }
}

impl RecordNames for Known {
    fn name(&self, kind: Kind, number: u64) -> Option<String> {
        (kind == Kind::Capability).then(|| Family::Capability.shown(u32::try_from(number).unwrap()))
    }

    fn function(&self, btf: Option<u32>, id: u32) -> Option<String> {
        if btf.is_some() { None } else { function(id) }
    }

    fn executable(&self, record: &Record) -> Option<String> {
        (record.exe_ino == 7).then(|| "/usr/bin/agent\nmode = \"enforce\"".to_owned())
    }

    fn epoch_ns(&self) -> Option<u64> {
        Some(1_800_000_000_000_000_000)
    }
}

fn line(record: &Record) -> Line {
    Line::of(record, &Known)
}

/// A record of a user, of a call that a policy without rules would refuse in mode audit.
fn record(hook: Recorded, cmd: u32) -> Record {
    Record {
        cmd,
        call: 1,
        uid: 1000,
        userns: INITIAL_USERNS,
        verdict: Verdict::WouldDeny,
        reason: Reason::NoRule,
        comm: *b"agent\0\0\0\0\0\0\0\0\0\0\0",
        ..Record::of(0, hook)
    }
}

fn part() -> ProgramPart {
    Record::of(0, Recorded::ProgLoad).program().unwrap()
}

fn load(part: &ProgramPart) -> Record {
    Record { part: part.to_part(), ..record(Recorded::ProgLoad, PROG_LOAD) }
}

/// A program of type `socket_filter` that calls helpers.
fn calling(helpers: &[u32]) -> ProgramPart {
    let mut bits = [0; 4];
    helpers.iter().for_each(|helper| bits[*helper as usize / 64] |= 1 << (helper % 64));
    ProgramPart { r#type: 1, insns: 10, helpers: bits, ..part() }
}

fn learnt(records: &[Record]) -> Learner {
    learnt_with([], records)
}

fn learnt_with(allowed: impl IntoIterator<Item = Danger>, records: &[Record]) -> Learner {
    let mut learner = Learner::new(allowed);
    records.iter().for_each(|record| learner.see(&line(record)));
    learner
}

fn text(learner: &Learner) -> String {
    learner.to_toml(&Origin::default())
}

/// Reads a learnt policy, which must have nothing to warn of, and puts it in mode enforce.
fn compiled(text: &str) -> Compiled {
    let (mut policy, problems) = parse("learnt.guard.toml", text).unwrap_or_else(|report| panic!("{report}\n{text}"));
    assert_eq!((problems.len(), findings(&policy)), (0, Vec::new()), "{text}");
    assert_eq!(policy.mode, crate::Mode::Audit);
    policy.mode = crate::Mode::Enforce;
    policy.compile()
}

fn names() -> Names {
    let mut names = Names::default();
    (1000..=1998).for_each(|id| names.insert(&function(id).unwrap(), id));
    names
}

#[test]
fn a_policy_says_what_it_was_learnt_from() {
    let mut program = calling(&[1, 4, 36]);
    program.name[..5].copy_from_slice(b"write");
    let map = MapPart { r#type: 1, key_size: 4, value_size: 8, max_entries: 100, ..map_part() };
    let tokens = |record: Record| Record { uid: 100_000, userns: 5, flags: HAS_TOKEN, ..record };
    let records = [
        Record { exe_ino: 7, boot_ns: 1_500_000_000, ..record(Recorded::Bpf, PROG_LOAD) },
        load(&program),
        load(&ProgramPart { insns: 77, ..calling(&[1, 113]) }),
        load(&ProgramPart { r#type: TRACING, attach_type: 24, target: 1000, ..part() }),
        load(&ProgramPart { r#type: TRACING, attach_type: 24, target: 1998, ..part() }),
        load(&ProgramPart { r#type: 29, attach_type: 27, target: 1001, ..part() }),
        load(&ProgramPart { r#type: 99, ..part() }),
        load(&ProgramPart { kfuncs: 9, list: [1005; 8], ..calling(&[]) }),
        Record { part: map.to_part(), ..record(Recorded::MapCreate, MAP_CREATE) },
        Record { verdict: Verdict::Denied, reason: Reason::OwnMap, ..record(Recorded::Map, 14) },
        Record { verdict: Verdict::Denied, reason: Reason::Cmd, ..record(Recorded::Bpf, 14) },
        Record { flags: OF_GUARD, ..record(Recorded::Map, 14) },
        tokens(Record {
            verdict: Verdict::Allowed,
            reason: Reason::NoReason,
            what: 39,
            ..record(Recorded::TokenCapable, MAP_CREATE)
        }),
        tokens(Record { part: map.to_part(), ..record(Recorded::MapCreate, MAP_CREATE) }),
        Record {
            uid: 3,
            verdict: Verdict::Denied,
            reason: Reason::Rule,
            boot_ns: 90_000_000_000,
            ..record(Recorded::Bpf, PROG_LOAD)
        },
    ];
    let origin = Origin {
        from: vec!["/var/log/bpf-guard.jsonl".to_owned()],
        kernels: vec!["7.3.4\nmode = \"enforce\"".to_owned()],
        missing: vec!["3 records did not fit the rings".to_owned()],
        notes: vec!["The log is not closed.".to_owned()],
    };
    let learner = learnt(&records);
    let text = learner.to_toml(&origin);
    insta::assert_snapshot!(text);
    compiled(&text);
    assert_eq!(learner.shortcomings().len(), 2);
    assert_eq!(learner.dangers().into_iter().map(Danger::name).collect::<Vec<_>>(), ["lsm", "probe_write_user"]);
}

fn map_part() -> MapPart {
    Record::of(0, Recorded::MapCreate).map().unwrap()
}

#[test]
fn nothing_dangerous_is_learnt_unless_it_is_allowed() {
    let cases = [
        (Danger::LsmProgram, ProgramPart { r#type: 29, attach_type: 27, target: 1001, insns: 9, ..part() }),
        (Danger::ModifyReturn, ProgramPart { r#type: TRACING, attach_type: 26, target: 1001, insns: 9, ..part() }),
        (
            Danger::Modules,
            ProgramPart { r#type: TRACING, attach_type: 24, target: 5, target_btf: 3, insns: 9, ..part() },
        ),
        (Danger::Modules, ProgramPart { kfuncs: 1, list: [5000, 0, 0, 0, 0, 0, 0, 0], insns: 9, ..calling(&[]) }),
        (Danger::Helper(36), ProgramPart { insns: 9, ..calling(&[1, 36]) }),
        (Danger::Helper(58), ProgramPart { insns: 9, ..calling(&[1, 58]) }),
    ];
    for (danger, program) in cases {
        let records = [record(Recorded::Bpf, PROG_LOAD), load(&program)];
        let allowed_only = |danger| learnt_with([danger], &records);
        let without = learnt(&records);
        let (_, asked) = without.asked().next().unwrap();
        assert_eq!((asked.progs.len(), asked.max_insns, asked.cmds.len()), (0, 0, 1), "{danger:?}");
        assert!(
            text(&without).contains(&format!("1 time: {danger}; to learn it: --allow {}", danger.name())),
            "{}",
            text(&without)
        );
        compiled(&text(&without));
        for other in Danger::all().filter(|other| *other != danger) {
            assert_eq!(allowed_only(other).dangers(), [danger].into());
        }
        let with = allowed_only(danger);
        assert_eq!((with.dangers().len(), with.asked().next().unwrap().1.max_insns), (0, 9));
        let (policy, _) = parse("x", &text(&with)).unwrap();
        let event = event::of(&line(&records[1])).unwrap();
        let caller = User { uid: 1000, in_userns: false }.caller();
        assert_eq!(decide(&policy.compile(), &names(), &caller, &event).verdict, Verdict::Allowed, "{danger:?}");
    }
}

#[test]
fn a_guarded_function_is_never_learnt() {
    let all: Vec<Danger> = Danger::all().collect();
    let tracing = ProgramPart { r#type: TRACING, attach_type: 24, target: 1998, ..part() };
    let learner = learnt_with(all.clone(), &[record(Recorded::Bpf, PROG_LOAD), load(&tracing)]);
    assert!(!text(&learner).contains("targets") && text(&learner).contains("which the guard depends on"));
    // A program of type lsm is bound to such functions.
    let lsm = ProgramPart { r#type: 29, attach_type: 27, target: 1998, ..part() };
    assert!(text(&learnt_with(all, &[load(&lsm)])).contains("targets = [\"security_file_open\"]"));
}

#[test]
fn what_was_refused_teaches_nothing() {
    let teaching = load(&calling(&[1]));
    for reason in [Reason::GuardedFunction, Reason::OwnMap, Reason::OwnProcess, Reason::ReplacesLsm] {
        for verdict in [Verdict::Denied, Verdict::WouldDeny] {
            assert!(learnt(&[Record { verdict, reason, ..teaching.clone() }]).is_empty());
        }
    }
    assert!(learnt(&[Record { verdict: Verdict::Denied, reason: Reason::Helper, ..teaching.clone() }]).is_empty());
    assert!(learnt(&[Record { flags: OF_GUARD, ..teaching.clone() }]).is_empty());
    assert!(!learnt(&[Record { reason: Reason::Helper, ..teaching.clone() }]).is_empty());
    assert!(!learnt(&[teaching]).is_empty());
}

#[test]
fn what_may_have_been_counted_only_is_allowed() {
    let cmds =
        |reason| learnt(&[Record { reason, ..record(Recorded::Bpf, PROG_LOAD) }]).asked().next().unwrap().1.cmds.len();
    assert_eq!((cmds(Reason::NoRule), cmds(Reason::NoReason), cmds(Reason::Cmd)), (1, 12, 12));
    let allowed =
        learnt(&[Record { reason: Reason::NoReason, verdict: Verdict::Allowed, ..record(Recorded::Bpf, PROG_LOAD) }]);
    assert!(text(&allowed).contains("cmds = [\"prog_load\", \"@read\"]"), "{}", text(&allowed));
    let mut learner = Learner { all_on_record: true, ..Learner::default() };
    learner.see(&line(&Record { reason: Reason::NoReason, ..record(Recorded::Bpf, PROG_LOAD) }));
    assert!(text(&learner).contains("cmds = [\"prog_load\"]"), "{}", text(&learner));
}

#[test]
fn a_token_is_required_where_each_use_had_one() {
    let with = |flags| Record { flags, ..load(&calling(&[1])) };
    let is_required = |records: &[Record]| text(&learnt(records)).contains("token = \"required\"");
    assert!(is_required(&[with(HAS_TOKEN), with(HAS_TOKEN)]));
    assert!(!is_required(&[with(HAS_TOKEN), with(0)]));
    assert!(!is_required(&[record(Recorded::Bpf, PROG_LOAD)]));
}

#[test]
fn a_capability_that_is_not_on_record_is_a_shortcoming() {
    // The guard does not keep it where no rule takes the call.
    let learner = learnt(&[Record { what: 39, ..record(Recorded::TokenCapable, MAP_CREATE) }]);
    let [text] = &learner.shortcomings()[..] else { panic!() };
    assert!(text.starts_with("User 1000 in the initial user namespace: 1 time: a capability"), "{text}");
}

#[test]
fn nobody_fills_the_policy_or_makes_it_incomplete_by_calls_that_the_kernel_does_not_know() {
    let mut records: Vec<Record> = (64..1064).map(|cmd| record(Recorded::Bpf, cmd)).collect();
    for name in 0..1000_u32 {
        let mut comm = [0; 16];
        comm[..4].copy_from_slice(&(name + 0x3030_3030).to_le_bytes());
        records.push(Record { comm, ..record(Recorded::Bpf, PROG_LOAD) });
    }
    let learner = learnt(&records);
    assert_eq!(learner.shortcomings().len(), 0);
    let text = text(&learner);
    assert!(text.contains("#     1000 times: a command of 64 or more, which no policy allows\n"), "{text}");
    assert!(text.contains("#     992 calls by other programs\n") && text.lines().count() < 50, "{text}");
    let unknown = learnt(&[record(Recorded::Bpf, 63)]);
    assert_eq!(unknown.shortcomings().len(), 1, "a newer kernel may know it");
}

/// Draws records of few users, so that profiles grow, and of everything that a policy can name.
fn drawn(rng: &mut Rng) -> Record {
    let number = |family: Family, rng: &mut Rng| {
        let names = family.names();
        names[rng.usize(..names.len())].1
    };
    let (hook, cmd) = match rng.u32(..6) {
        0 | 1 => (Recorded::ProgLoad, PROG_LOAD),
        2 | 3 => (Recorded::MapCreate, MAP_CREATE),
        4 => (Recorded::TokenCapable, MAP_CREATE),
        _ => (Recorded::Bpf, CMDS[rng.usize(..CMDS.len())]),
    };
    let drawn = Record {
        uid: rng.u32(1000..1003),
        userns: if rng.bool() { INITIAL_USERNS } else { 9 },
        flags: if rng.u32(..4) == 0 { 0 } else { HAS_TOKEN },
        ..record(hook, cmd)
    };
    if hook == Recorded::TokenCapable {
        return Record { verdict: Verdict::Allowed, reason: Reason::NoReason, what: rng.u64(..41), ..drawn };
    }
    let kind = number(Family::Prog, rng);
    let target = if rng.bool() { rng.u32(1000..1020) } else { 0 };
    let helpers: Vec<u32> =
        (0..rng.u32(..4)).map(|_| number(Family::Helper, rng)).filter(|helper| *helper < 256).collect();
    let program = ProgramPart {
        r#type: kind,
        attach_type: number(Family::Attach, rng),
        target,
        insns: rng.u32(1..5000),
        kfuncs: rng.u32(..3),
        list: std::array::from_fn(|_| rng.u32(1000..1020)),
        ..calling(&helpers)
    };
    let (key_size, value_size, max_entries) = (rng.u32(..40), rng.u32(..5000), rng.u32(..1_000_000));
    let map = MapPart { r#type: number(Family::Map, rng), key_size, value_size, max_entries, ..map_part() };
    let part = match hook {
        Recorded::ProgLoad => program.to_part(),
        Recorded::MapCreate => map.to_part(),
        _ => drawn.part,
    };
    Record { part, ..drawn }
}

#[test]
fn a_learnt_policy_allows_what_was_learnt_and_nothing_more() {
    let seed = std::env::var("BPF_GUARD_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("BPF_GUARD_SEED={seed}");
    let (mut rng, names) = (Rng::with_seed(seed), names());
    let (mut allowed, mut refused) = (0, BTreeMap::<Reason, u32>::new());
    for _ in 0..60 {
        let records: Vec<Record> = (0..rng.usize(1..60)).map(|_| drawn(&mut rng)).collect();
        let learner = learnt(&records);
        if learner.is_empty() {
            continue;
        }
        let policy = compiled(&text(&learner));
        let users: BTreeMap<User, Asked> = learner.asked().map(|(user, asked)| (user, asked.clone())).collect();
        for record in &records {
            let line = line(record);
            let (user, event) = (User::of(&line), event::of(&line).unwrap());
            let verdict = |event: &Event| decide(&policy, &names, &user.caller(), event);
            let is_learnt = !obstacles(&line).iter().any(Obstacle::is_blocking);
            if is_learnt {
                let decision = verdict(&event);
                assert_eq!(decision.verdict, Verdict::Allowed, "{decision:?} {event:?}\n{}", text(&learner));
                allowed += 1;
                for (more, reason) in more(&users[&user], &event) {
                    let decision = verdict(&more);
                    assert_eq!(
                        (decision.verdict, decision.reason),
                        (Verdict::Denied, reason),
                        "{more:?}\n{}",
                        text(&learner)
                    );
                    *refused.entry(reason).or_default() += 1;
                }
            }
        }
        let stranger = User { uid: 999, in_userns: false }.caller();
        let decision = decide(&policy, &names, &stranger, &Event::new(PROG_LOAD, Hook::Bpf));
        assert_eq!((decision.verdict, decision.reason), (Verdict::Denied, Reason::NoRule));
    }
    let all = [
        Reason::Cmd,
        Reason::ProgType,
        Reason::AttachType,
        Reason::Target,
        Reason::TargetOfModule,
        Reason::Insns,
        Reason::Helper,
        Reason::Kfunc,
        Reason::KfuncOfModule,
        Reason::MapType,
        Reason::MapEntries,
        Reason::MapBytes,
        Reason::TokenMissing,
        Reason::TokenCap,
    ];
    let missing: Vec<&Reason> = all.iter().filter(|reason| !refused.contains_key(reason)).collect();
    assert!(allowed > 200 && missing.is_empty(), "{allowed} allowed, nothing refused for {missing:?}: {refused:?}");
}

/// Events that differ from a learnt one by one thing that the user never asked for, and why they are refused.
fn more(asked: &Asked, event: &Event) -> Vec<(Event, Reason)> {
    let of = |hook| Event { hook, ..event.clone() };
    match &event.hook {
        Hook::Bpf => {
            let other = (0..64).find(|cmd| !asked.cmds.contains(cmd)).unwrap();
            vec![(Event::new(other, Hook::Bpf), Reason::Cmd)]
        }
        Hook::TokenCapable { .. } => {
            let caps = asked.token_caps.as_ref().unwrap();
            let other = (0..64).find(|cap| !caps.contains(cap)).unwrap();
            vec![(of(Hook::TokenCapable { cap: other }), Reason::TokenCap)]
        }
        Hook::ProgLoad(program) => more_of_program(asked, program)
            .into_iter()
            .map(|(program, reason)| (of(Hook::ProgLoad(program)), reason))
            .collect(),
        Hook::MapCreate { kind, key_size, value_size, max_entries, has_token } => {
            let map = |kind, key_size, max_entries, has_token| {
                of(Hook::MapCreate { kind, key_size, value_size: *value_size, max_entries, has_token })
            };
            let other = (0..64).find(|kind| !asked.maps.contains(kind)).unwrap();
            let mut more = vec![
                (map(other, *key_size, *max_entries, *has_token), Reason::MapType),
                (map(*kind, *key_size, asked.max_entries + 1, *has_token), Reason::MapEntries),
            ];
            let larger = u32::try_from(asked.max_bytes / u64::from((*max_entries).max(1)) + 8).unwrap_or(u32::MAX - 8);
            if map_bytes(*kind, larger, *value_size, *max_entries) > asked.max_bytes {
                more.push((map(*kind, larger, *max_entries, *has_token), Reason::MapBytes));
            }
            if asked.tokens.0 == asked.tokens.1 {
                more.push((map(*kind, *key_size, *max_entries, false), Reason::TokenMissing));
            }
            more
        }
        Hook::TokenCmd { .. } | Hook::TokenCreate | Hook::Prog { .. } | Hook::Map => Vec::new(),
    }
}

fn more_of_program(asked: &Asked, program: &Program) -> Vec<(Program, Reason)> {
    let with = |call| Program { calls: program.calls.iter().copied().chain([call]).collect(), ..program.clone() };
    let helper = (0..256).find(|helper| !asked.helpers.contains(helper)).unwrap();
    let stranger = (1000..).find(|id| {
        let name = function(*id).unwrap();
        !asked.kfuncs.contains(&name) && !asked.targets.contains(&name)
    });
    let stranger = stranger.unwrap();
    let target = |btf_id, of_module| Program { target: Some(Target { btf_id, of_module }), ..program.clone() };
    let kfunc = |btf_id, of_module| with(Call::Kfunc { btf_id, of_module });
    let kind = (0..64).find(|kind| !asked.progs.contains_key(kind)).unwrap();
    let mut more = vec![
        (Program { kind, ..program.clone() }, Reason::ProgType),
        (Program { insns: asked.max_insns + 1, ..program.clone() }, Reason::Insns),
        (with(Call::Helper(helper)), Reason::Helper),
        (kfunc(stranger, false), Reason::Kfunc),
        (kfunc(stranger, true), Reason::KfuncOfModule),
        (target(stranger, false), Reason::Target),
    ];
    if program.kind != crate::decision::EXT {
        more.push((target(stranger, true), Reason::TargetOfModule));
    }
    // The attach types of struct_ops programs differ between kernels, so a policy has any of them.
    if Family::Prog.shown(program.kind) != "struct_ops" {
        let attach_type = (0..128).find(|attach| !asked.progs[&program.kind].contains(attach)).unwrap();
        more.push((Program { attach_type, ..program.clone() }, Reason::AttachType));
    }
    if asked.tokens.0 == asked.tokens.1 {
        more.push((Program { has_token: false, ..program.clone() }, Reason::TokenMissing));
    }
    more
}
