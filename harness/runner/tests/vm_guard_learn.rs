//! A policy that was learnt from loading objects, in VMs: under it they load again, and one that calls another helper does not.
//! What `caps` computes from an object contains what is learnt from loading it.

#[allow(dead_code, reason = "this test uses only a part of it")]
mod built;

use std::{collections::BTreeSet, env, fs, io, path::Path, process::ExitCode, time::Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use guard_policy::{Danger, Learner, Origin, Policy, Profile};
use guard_record::{Line, Reason, Verdict};
use harness_builder::{
    cache::Cache,
    guest_program::guard::{self, GuardProgram},
    objects::{self, Objects},
    project::Project,
};
use harness_findings::guard::profile;
use harness_protocol::{
    mount_option::OPTIONS,
    outcome::{Answer, AttemptFact, ScenarioEnd},
    plan::{Actor, Attempt, Call, ExpectedKernel, FORMAT, GUARD_PROGRAM, OBJECTS_FOLDER, ObjectLoad, Plan, Token},
};
use harness_runner::{
    session::{self, Deadlines, MachineKind, QemuMachine, RunFolder},
    vm,
};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::json;

use built::Built;

/// A guard that records everything and refuses nothing.
const RECORD_ALL: &str = "version = 1\nmode = \"audit\"\nguard.count_only = []\n[[rule]]\nallow = true\n";

/// Objects that are learnt from: maps, global data, functions of their own, and types of each kind.
const LEARNT: [&str; 9] =
    ["xdp", "xdp-data", "xdp-subprogram", "queue", "kprobe", "fentry", "struct-ops", "unattached", "dead-branch"];

/// The object `xdp` with a call of a helper that is not learnt.
const MORE: &str = "xdp-helper";

/// The user of the container that loads with a token.
const CONTAINER_UID: u32 = 1000;

fn main() -> ExitCode {
    vm::run_child_if_asked();
    let name = "objects_load_under_the_policy_learnt_from_them_and_one_with_another_helper_does_not";
    let trial = Trial::ignorable_test(name, || match find() {
        Ok((built, guard, objects)) => match test(&built, &guard, &objects) {
            Ok(()) => Ok(Completion::Completed),
            Err(error) => Err(Failed::from(format!("{error:#}"))),
        },
        Err(error) if env::var_os("CI").is_some() => Err(Failed::from(format!("{error:#}"))),
        Err(error) => Ok(Completion::ignored_with(format!("{error:#}"))),
    });
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}

fn find() -> Result<(Built, GuardProgram, Objects)> {
    let kernel = env::var("BPF_GUARD_KERNEL").unwrap_or_else(|_| "6.12".to_owned());
    let built = Built::of_kernel(&kernel).map_err(|error| anyhow!("{error}"))?;
    let built = built.with_context(|| format!("kernel {kernel} is not built: `cargo xtask kernel build {kernel}`"))?;
    let (project, cache) = (Project::find()?, Cache::from_env()?);
    let guard = guard::find_built(project.root(), &cache)?;
    let objects = objects::find_built(&project.objects(), &cache)?;
    let advice = "`cargo xtask run --filter 'guard/*'`";
    Ok((
        built,
        guard.with_context(|| format!("the guard's program is not built: {advice}"))?,
        objects.with_context(|| format!("the objects are not built: {advice}"))?,
    ))
}

/// An object, and who loads it.
type Load = (&'static str, Actor);

fn loads(names: &[&'static str]) -> Result<Vec<Load>> {
    let container = Actor::Container("main".parse()?);
    Ok([Actor::Host, container].iter().flat_map(|actor| names.iter().map(|name| (*name, actor.clone()))).collect())
}

/// What became of a load, with the records of it.
struct Loaded {
    name: &'static str,
    actor: Actor,
    fact: AttemptFact,
    lines: Vec<Line>,
}

impl Loaded {
    fn is_good(&self) -> bool {
        matches!(&self.fact.answer, Answer::Object(answer) if answer.failure.is_none())
    }
}

fn test(built: &Built, guard: &GuardProgram, objects: &Objects) -> Result<()> {
    let started = Instant::now();
    let learning = run(built, guard, objects, RECORD_ALL, loads(&LEARNT)?)?;
    let mut learner = learner();
    for loaded in &learning {
        ensure!(loaded.is_good(), "{} by {:?}: {:?}", loaded.name, loaded.actor, loaded.fact.answer);
        ensure!(loaded.lines.iter().all(|line| line.verdict == Verdict::Allowed && line.lost == 0), "{}", loaded.name);
        loaded.lines.iter().for_each(|line| learner.see(line));
    }
    ensure!(learner.shortcomings().is_empty() && learner.dangers().is_empty(), "{:?}", learner.shortcomings());
    let text = learner.to_toml(&Origin::default());
    let users: Vec<(u32, bool)> = learner.asked().map(|(user, _)| (user.uid, user.in_userns)).collect();
    ensure!(users == [(0, false), (CONTAINER_UID, true)], "{text}");
    ensure!(text.matches("token = \"required\"").count() == 1, "only the container has a token\n{text}");
    of_each_object(built, objects, &learning)?;

    let enforced = text.replace("mode = \"audit\"", "mode = \"enforce\"");
    ensure!(enforced != text, "{text}");
    let names = [&LEARNT[..], &[MORE]].concat();
    for loaded in run(built, guard, objects, &enforced, loads(&names)?)? {
        let denials: Vec<&Line> = loaded.lines.iter().filter(|line| line.verdict != Verdict::Allowed).collect();
        let what = format!("{} by {:?}: {:?}\n{denials:#?}\n{text}", loaded.name, loaded.actor, loaded.fact.answer);
        if loaded.name == MORE {
            ensure!(!loaded.is_good() && !denials.is_empty(), "it was not refused: {what}");
            ensure!(denials.iter().all(|line| line.reason == Some(Reason::Helper)), "{what}");
        } else {
            ensure!(loaded.is_good() && denials.is_empty(), "it was refused: {what}");
        }
    }
    println!("kernel {}: {} records, {:.0} s", built.kernel.name, count(&learning), started.elapsed().as_secs_f64());
    Ok(())
}

fn learner() -> Learner {
    let mut learner = Learner::default();
    learner.all_on_record = true;
    learner
}

fn count(loaded: &[Loaded]) -> usize {
    loaded.iter().map(|loaded| loaded.lines.len()).sum()
}

/// What is learnt from loading each object as root is in the profile that `caps` prints for it.
fn of_each_object(built: &Built, objects: &Objects, learning: &[Loaded]) -> Result<()> {
    let release = built.kernel.name.as_str().parse()?;
    for loaded in learning.iter().filter(|loaded| loaded.actor == Actor::Host) {
        let object = harness_objects::read(&fs::read(objects.path(loaded.name))?)?;
        let computed = profile(&[(loaded.name.to_owned(), object)], &[release]);
        let mut learner = Learner::new(Danger::all());
        learner.all_on_record = true;
        loaded.lines.iter().for_each(|line| learner.see(line));
        let learnt = learner.to_toml(&Origin::default());
        let [computed_profile, learnt_profile] = [&computed, &learnt].map(|text| only_profile(text));
        let missing = not_in(&computed_profile?, &learnt_profile?);
        ensure!(missing.is_empty(), "{}: caps lacks {missing:?}\n{computed}\n{learnt}", loaded.name);
    }
    Ok(())
}

fn only_profile(text: &str) -> Result<Profile> {
    let (policy, _): (Policy, _) = guard_policy::parse("x", text).map_err(|report| anyhow!("{report}\n{text}"))?;
    let [profile] = &policy.profiles[..] else { bail!("{} profiles\n{text}", policy.profiles.len()) };
    Ok(profile.clone())
}

/// What a profile allows and another does not.
fn not_in(all: &Profile, part: &Profile) -> Vec<&'static str> {
    let names = |all: &Option<Vec<String>>, part: &Option<Vec<String>>| match (all, part) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(all), Some(part)) => part.iter().all(|name| all.contains(name)),
    };
    let limit = |all: Option<u64>, part: Option<u64>| all.is_none_or(|all| part.is_some_and(|part| part <= all));
    let has_maps = !part.maps.is_empty();
    let checks = [
        ("cmds", all.cmds.covers(&part.cmds)),
        ("progs", all.progs.covers(&part.progs)),
        ("attach", all.attach.iter().zip(&part.attach).all(|(all, part)| all.covers(part))),
        ("maps", all.maps.covers(&part.maps)),
        ("max_entries", !has_maps || limit(all.max_entries.map(u64::from), part.max_entries.map(u64::from))),
        ("max_bytes", !has_maps || limit(all.max_bytes, part.max_bytes)),
        ("helpers", all.helpers.covers(&part.helpers)),
        ("kfuncs", names(&all.kfuncs, &part.kfuncs)),
        ("targets", names(&all.targets, &part.targets)),
        ("max_insns", part.progs.is_empty() || limit(all.max_insns.map(u64::from), part.max_insns.map(u64::from))),
        ("modules", all.modules || !part.modules),
    ];
    checks.into_iter().filter(|(_, is_in)| !is_in).map(|(key, _)| key).collect()
}

/// Loads objects in a VM under a policy.
fn run(built: &Built, guard: &GuardProgram, objects: &Objects, policy: &str, loads: Vec<Load>) -> Result<Vec<Loaded>> {
    let file = |name: &str| format!("{name}.bpf.o");
    let attempt = |(name, actor): &Load| {
        let load = ObjectLoad { file: file(name), unexplained: true, ..ObjectLoad::default() };
        Attempt::new(actor.clone(), Token::None, Call::Object(load))
    };
    let attempts: Vec<Attempt> = loads.iter().map(attempt).collect();
    let options: Vec<_> = OPTIONS.iter().map(|key| json!({ "key": key, "value": "any" })).collect();
    let container = json!({
        "name": "main", "parent": null, "uid": CONTAINER_UID, "gid": CONTAINER_UID, "namespaces": [],
        // `bpf`, `net_admin`, `perfmon`, `sys_admin`
        "caps": [39, 12, 38, 21], "options": options, "token": false,
    });
    let scenario = json!({
        "name": "guard/learn", "deadline_ms": 300_000, "sysctls": {}, "guard": { "policy": policy }, "own_vm": false,
        "cases": [{ "containers": [container], "attempts": attempts }],
    });
    let scenarios = vec![serde_json::from_value(scenario)?];
    let plan = Plan { format: FORMAT, kernel: ExpectedKernel::default(), marks_console: true, guard: None, scenarios };
    let folder = RunFolder::create(&built.runs)?;
    let spec = built.spec().map_err(|error| anyhow!("{error}"))?;
    let deadlines = Deadlines::of(spec.accel);
    let make_root = |into: &Path| built.image.private_copy(&built.guest, into).map(drop).map_err(io::Error::other);
    let fill_share = |share: &Path| {
        fs::copy(guard.path(), share.join(GUARD_PROGRAM))?;
        fs::create_dir_all(share.join(OBJECTS_FOLDER))?;
        for name in loads.iter().map(|(name, _)| *name).collect::<BTreeSet<_>>() {
            fs::copy(objects.path(name), share.join(OBJECTS_FOLDER).join(file(name)))?;
        }
        Ok(())
    };
    let (program, machine_kind) = (built.image.guest_command(), MachineKind::Own);
    let machine = QemuMachine { spec, program, machine_kind, make_root: &make_root, fill_share: &fill_share };
    let session = session::run(&plan, &machine, &folder, deadlines, &mut |_| {})?;
    let outcome = session.outcomes.into_iter().next().context("no outcome")?;
    ensure!(matches!(outcome.end, ScenarioEnd::Finished { .. }), "{:?}\n{policy}", outcome.end);
    ensure!(outcome.attempts.len() == loads.len(), "{} outcomes of {}", outcome.attempts.len(), loads.len());
    let loaded = loads.into_iter().zip(outcome.attempts).map(|((name, actor), fact)| {
        let lines = fact.guard.iter().map(|line| serde_json::from_str(line)).collect::<Result<_, _>>()?;
        Ok(Loaded { name, actor, fact, lines })
    });
    loaded.collect()
}
