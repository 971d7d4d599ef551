//! The BPF programs of the guard decide as `guard_policy::decide`: random policies and random calls, in VMs.
//!
//! The seed is printed, and `BPF_GUARD_SEED` sets it.

#[allow(dead_code, reason = "this test uses only a part of it")]
mod built;
mod drawn;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs, io,
    path::Path,
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};
use fastrand::Rng;
use guard_policy::{Caller, Decision, Event, Hook, Names, Program, Target, UsedMap, decide, map_bytes};
use guard_record::{Hook as Recorded, Line, Verdict};
use harness_builder::{
    cache::Cache,
    guest_program::guard::{self, GuardProgram},
    project::Project,
};
use harness_protocol::{
    outcome::{Answer, ScenarioEnd},
    plan::{
        Attempt, Body, Call, ExpectedKernel, FORMAT, GUARD_PROGRAM, KernelType, ObjectKind, Plan, ProgTarget, Token,
    },
};
use harness_runner::{
    session::{self, Deadlines, MachineKind, QemuMachine, RunFolder, Session},
    vm,
};
use harness_uapi::btf::{Btf, BtfKind};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use built::Built;
use drawn::{Draw, Drawn, Ids};

/// The kernels: the default ones, of which the first has no token in the hook's argument and the second has.
const KERNELS: [&str; 2] = ["6.12", "7.3"];
/// How many policies are drawn for a kernel; `BPF_GUARD_POLICIES` sets it, and every reason comes up with at least `ALL`.
const POLICIES: usize = 3;
const ALL: usize = 25;
/// How many attempts are made with each.
const ATTEMPTS: usize = 8;

/// The inode of the initial user namespace (`PROC_USER_INIT_INO`, `include/linux/proc_ns.h`).
const INITIAL_USERNS: u32 = 0xeffffffd;
/// The numbers of commands (`enum bpf_cmd`).
const MAP_CREATE: u32 = 0;
const PROG_LOAD: u32 = 5;

/// Reasons that calls as they are drawn are refused for.
const REASONS: [&str; 17] = [
    "NoRule",
    "Rule",
    "Cmd",
    "ProgType",
    "AttachType",
    "Target",
    "Insns",
    "Helper",
    "Kfunc",
    "KfuncOfModule",
    "MapType",
    "MapEntries",
    "MapBytes",
    "TokenMissing",
    "TokenCap",
    "MapOfOther",
    "GuardedFunction",
];

fn main() -> ExitCode {
    vm::run_child_if_asked();
    let trials = KERNELS.map(|kernel| {
        Trial::ignorable_test(format!("programs_decide_as_the_function_does::{kernel}"), move || match find(kernel) {
            Ok((built, guard)) => match test(&built, &guard) {
                Ok(()) => Ok(Completion::Completed),
                Err(error) => Err(Failed::from(format!("{error:#}"))),
            },
            Err(error) if env::var_os("CI").is_some() => Err(Failed::from(format!("{error:#}"))),
            Err(error) => Ok(Completion::ignored_with(format!("{error:#}"))),
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

fn find(kernel: &str) -> Result<(Built, GuardProgram)> {
    let built = Built::of_kernel(kernel).map_err(|error| anyhow::anyhow!("{error}"))?;
    let built = built.with_context(|| format!("kernel {kernel} is not built: `cargo xtask kernel build {kernel}`"))?;
    let guard = guard::find_built(Project::find()?.root(), &Cache::from_env()?)?;
    Ok((built, guard.context("the guard's program is not built: `cargo xtask run --filter 'guard/*'`")?))
}

fn test(built: &Built, guard: &GuardProgram) -> Result<()> {
    let number = |variable: &str| env::var(variable).ok().map(|text| text.parse::<u64>()).transpose();
    let seed = number("BPF_GUARD_SEED").context("BPF_GUARD_SEED is no number")?.unwrap_or_else(|| fastrand::u64(..));
    let policies = number("BPF_GUARD_POLICIES").context("BPF_GUARD_POLICIES is no number")?;
    let policies = policies.map_or(Ok(POLICIES), usize::try_from)?;
    println!("BPF_GUARD_SEED={seed}");
    let bytes = fs::read(built.kernel.btf())?;
    let ids = ids(&bytes)?;
    let mut draw = Draw { rng: Rng::with_seed(seed), ids: &ids };
    let drawn: Vec<Drawn> = (0..policies).map(|number| draw.scenario(number, ATTEMPTS)).collect();
    let started = Instant::now();
    let session = run(built, guard, &drawn)?;
    let took = started.elapsed();
    let mut tally = Tally { names: draw.names(), ids: ids.clone(), ..Tally::default() };
    for (drawn, outcome) in drawn.iter().zip(&session.outcomes) {
        let name = &drawn.scenario.name;
        ensure!(matches!(outcome.end, ScenarioEnd::Finished { .. }), "{name}: {:?}\n{}", outcome.end, drawn.policy);
        tally.makers.clear();
        let attempts = &drawn.scenario.cases[0].attempts;
        ensure!(outcome.attempts.len() == attempts.len(), "{name}: {} outcomes", outcome.attempts.len());
        for (index, (attempt, fact)) in attempts.iter().zip(&outcome.attempts).enumerate() {
            tally.attempt(drawn, attempt, &fact.answer, &fact.guard).with_context(|| {
                format!("seed {seed}, {name}, attempt {index} by {:?}\n{}", attempt.actor, drawn.policy)
            })?;
        }
    }
    println!(
        "kernel {}: {} calls, {} records, {} VMs, {:.0} s: {:?}",
        built.kernel.name,
        tally.calls,
        tally.records,
        session.vms.len(),
        took.as_secs_f64(),
        tally.reasons
    );
    let missing: Vec<&&str> = REASONS.iter().filter(|reason| !tally.reasons.contains_key(**reason)).collect();
    ensure!(policies < ALL || missing.is_empty(), "seed {seed}: no call was refused for {missing:?}");
    let due = policies * ATTEMPTS * drawn::CALLS_AT_ONCE;
    ensure!(tally.calls >= due && tally.reasons.len() > 5, "only {} calls, of {due}: {:?}", tally.calls, tally.reasons);
    Ok(())
}

/// The ids of functions that policies and programs name.
fn ids(bytes: &[u8]) -> Result<Ids> {
    let btf = Btf::of(bytes)?;
    let id = |name: &'static str| {
        let found = btf.named(BtfKind::Func, name);
        found.map(|(id, _)| (name, id)).with_context(|| format!("the kernel has no function {name}"))
    };
    drawn::KFUNCS.into_iter().chain(drawn::TARGETS).map(id).collect()
}

fn run(built: &Built, guard: &GuardProgram, drawn: &[Drawn]) -> Result<Session> {
    let scenarios = drawn.iter().map(|drawn| drawn.scenario.clone()).collect();
    let plan = Plan { format: FORMAT, kernel: ExpectedKernel::default(), marks_console: true, guard: None, scenarios };
    let folder = RunFolder::create(&built.runs)?;
    let spec = built.spec().map_err(|error| anyhow::anyhow!("{error}"))?;
    let deadlines = Deadlines::of(spec.accel);
    let make_root = |into: &Path| built.image.private_copy(&built.guest, into).map(drop).map_err(io::Error::other);
    let fill_share = |share: &Path| fs::copy(guard.path(), share.join(GUARD_PROGRAM)).map(drop);
    let (program, machine_kind) = (built.image.guest_command(), MachineKind::Own);
    let machine = QemuMachine { spec, program, machine_kind, make_root: &make_root, fill_share: &fill_share };
    Ok(session::run(&plan, &machine, &folder, deadlines, &mut |_| {})?)
}

/// What was compared.
#[derive(Default)]
struct Tally {
    ids: Ids,
    names: Names,
    /// The users that made maps while the guard was on, by the maps' ids.
    makers: BTreeMap<u32, u32>,
    calls: usize,
    records: usize,
    reasons: BTreeMap<String, usize>,
}

impl Tally {
    /// Compares all records of an attempt with what they must be.
    fn attempt(&mut self, drawn: &Drawn, attempt: &Attempt, answer: &Answer, records: &[String]) -> Result<()> {
        let single = std::slice::from_ref(&attempt.call);
        let (calls, errnos): (_, Vec<i32>) = match (&attempt.call, answer) {
            (Call::Several(calls), Answer::Ok { detail: Some(detail) }) => {
                (calls.as_slice(), detail.split(' ').map(str::parse).collect::<Result<_, _>>()?)
            }
            (Call::Several(_), other) => bail!("{other:?}"),
            (_, Answer::Err { errno, .. }) => (single, vec![errno.raw()]),
            (_, Answer::Ok { .. }) => (single, vec![0]),
            (_, other) => bail!("{other:?}"),
        };
        let lines = records.iter().map(|record| serde_json::from_str(record));
        let mut lines = lines.collect::<Result<Vec<Line>, _>>()?;
        // Denials have a ring of their own, which may be read a round before or after the other.
        lines.sort_by_key(|line| line.seq);
        let of_calls: Vec<&[Line]> = lines.chunk_by(|one, next| one.call == next.call).collect();
        ensure!(
            of_calls.len() == calls.len() && calls.len() == errnos.len(),
            "{} calls have {} errnos and records of {} calls: {:?}",
            calls.len(),
            errnos.len(),
            of_calls.len(),
            lines.iter().map(|line| (line.seq, line.call, line.hook, line.verdict)).collect::<Vec<_>>()
        );
        for ((call, errno), lines) in calls.iter().zip(errnos).zip(of_calls) {
            self.calls += 1;
            self.records += lines.len();
            self.call(drawn, attempt, call, errno, lines)
                .with_context(|| format!("{call:?}, errno {errno}, records {lines:#?}"))?;
        }
        Ok(())
    }

    fn call(&mut self, drawn: &Drawn, attempt: &Attempt, call: &Call, errno: i32, lines: &[Line]) -> Result<()> {
        let cmd = command(call)?;
        let (uid, initial_userns) = drawn::identity(&attempt.actor);
        let caller = Caller {
            uid,
            loginuid: u32::MAX,
            initial_userns,
            cgroup: "/bpf-token-guest/it".to_owned(),
            loader: 0,
            is_guard: false,
        };
        ensure!(lines[0].hook == Recorded::Bpf, "the first record is not of the hook bpf");
        let mut has_token = attempt.token != Token::None;
        let mut caps_seen = 0;
        for line in lines {
            ensure!(line.command.as_ref().is_some_and(|command| command.number == u64::from(cmd)), "another command");
            ensure!(line.who.uid == uid && line.who.loginuid.is_none(), "another user");
            ensure!((line.who.userns == INITIAL_USERNS) == initial_userns, "another user namespace");
            ensure!(line.lost == 0, "records were lost");
            let hooks = self.hooks(call, cmd, line, has_token, &mut caps_seen)?;
            let of = |hook: Hook| self.decision(drawn, &caller, cmd, hook, call);
            let expected: Vec<Decision> = hooks.into_iter().map(of).collect();
            ensure!(expected.iter().any(|expected| is_as(line, expected)), "expected {expected:?} of {:?}", line.hook);
            if line.hook == Recorded::TokenCmd && line.verdict == Verdict::Denied {
                has_token = false;
            }
            if line.hook == Recorded::Map && cmd == MAP_CREATE {
                let id = line.map.as_ref().and_then(|map| map.id).context("a map without an id")?;
                self.makers.insert(id, uid);
            }
            if let Some(reason) = line.reason {
                *self.reasons.entry(format!("{reason:?}")).or_default() += 1;
            }
        }
        consequences(cmd, errno, lines)
    }

    fn decision(&self, drawn: &Drawn, caller: &Caller, cmd: u32, hook: Hook, call: &Call) -> Decision {
        let hard = match (&hook, call) {
            (Hook::ProgLoad(_), Call::ProgLoad { prog_type: 26, target: ProgTarget::Kernel(kernel), .. }) => {
                guarded(kernel).map(|()| guard_policy::Hard {
                    reason: guard_policy::layout::Reason::GuardedFunction,
                    what: target_id(&hook).into(),
                })
            }
            _ => None,
        };
        decide(&drawn.compiled, &self.names, caller, &Event { hard, ..Event::new(cmd, hook) })
    }

    /// What the hook of a record must have seen; there may be several possibilities for a capability, which the record of
    /// an allowed call does not name.
    fn hooks(&self, call: &Call, cmd: u32, line: &Line, has_token: bool, caps_seen: &mut u32) -> Result<Vec<Hook>> {
        let facts = |hook| Ok(vec![hook]);
        match line.hook {
            Recorded::Bpf => facts(Hook::Bpf),
            Recorded::Map => facts(Hook::Map),
            Recorded::TokenCreate => facts(Hook::TokenCreate),
            Recorded::TokenCmd => facts(Hook::TokenCmd { cmd }),
            Recorded::TokenCapable => {
                *caps_seen += 1;
                // CAP_BPF is always the first that is asked for.
                let caps: &[u32] = if *caps_seen == 1 { &[39] } else { &[39, 38, 12, 21] };
                Ok(caps.iter().map(|cap| Hook::TokenCapable { cap: *cap }).collect())
            }
            Recorded::MapCreate => {
                let Call::MapCreate { map_type, key_size, value_size, max_entries, .. } = call else {
                    bail!("a record of a map")
                };
                let map = line.map.as_ref().context("no map in the record")?;
                let seen = (map.r#type.number, map.key_size, map.value_size, map.max_entries, map.bytes);
                let bytes = map_bytes(*map_type, *key_size, *value_size, *max_entries);
                let made = (u64::from(*map_type), *key_size, *value_size, *max_entries, bytes);
                ensure!(seen == made, "the record has the map {seen:?}");
                ensure!(line.token == has_token, "token: {}", line.token);
                let (kind, key_size, value_size, max_entries) = (*map_type, *key_size, *value_size, *max_entries);
                facts(Hook::MapCreate { kind, key_size, value_size, max_entries, has_token })
            }
            Recorded::ProgLoad => {
                ensure!(line.token == has_token, "token: {}", line.token);
                facts(Hook::ProgLoad(self.program(call, line, has_token)?))
            }
            Recorded::Prog => {
                let program = line.program.as_ref().context("no program in the record")?;
                let used = program.maps.iter().map(|id| UsedMap { id: *id, made_by: self.makers.get(id).copied() });
                facts(Hook::Prog { tag: [0; 8], maps: used.collect() })
            }
            other => bail!("a record of the hook {other:?}"),
        }
    }

    /// The program of a call; its record must say the same.
    fn program(&self, call: &Call, line: &Line, has_token: bool) -> Result<Program> {
        let Call::ProgLoad { prog_type, expected_attach_type, body: Body::Instructions(body), target, .. } = call
        else {
            bail!("a record of a program")
        };
        let recorded = line.program.as_ref().context("no program in the record")?;
        let target = match target {
            ProgTarget::Kernel(kernel) => Some(Target { btf_id: self.id(kernel)?, of_module: false }),
            _ => None,
        };
        let calls: Vec<guard_policy::Call> = body.iter().filter_map(|insn| call_of(*insn)).collect();
        let helpers: BTreeSet<u64> = calls
            .iter()
            .filter_map(|call| match call {
                guard_policy::Call::Helper(id) if *id < 212 => Some(u64::from(*id)),
                _ => None,
            })
            .collect();
        let kfuncs = calls.iter().filter(|call| matches!(call, guard_policy::Call::Kfunc { .. })).count();
        let seen = (
            recorded.r#type.number,
            recorded.attach_type.number,
            recorded.insns as usize,
            recorded.target.as_ref().map(|target| target.number),
            recorded.helpers.iter().map(|helper| helper.number).collect(),
            recorded.kfunc_calls as usize,
        );
        let attach_type = attach_type(*prog_type, *expected_attach_type);
        let made = (
            u64::from(*prog_type),
            u64::from(attach_type),
            body.len(),
            target.map(|target| target.btf_id.into()),
            helpers,
            kfuncs,
        );
        ensure!(seen == made, "the record has the program {seen:?} instead of {made:?}");
        let insns = body.len().try_into()?;
        Ok(Program { kind: *prog_type, attach_type, insns, has_token, signed_by: None, target, calls })
    }

    fn id(&self, kernel: &KernelType) -> Result<u32> {
        let KernelType::Func(name) = kernel else { bail!("{kernel:?} is no function") };
        self.ids.get(name.as_str()).copied().with_context(|| format!("no id of {name}"))
    }
}

fn guarded(kernel: &KernelType) -> Option<()> {
    let KernelType::Func(name) = kernel else { return None };
    (name.starts_with("security_") || name.starts_with("bpf_lsm_")).then_some(())
}

fn target_id(hook: &Hook) -> u32 {
    match hook {
        Hook::ProgLoad(Program { target: Some(target), .. }) => target.btf_id,
        _ => 0,
    }
}

/// Whether a record says what was decided.
fn is_as(line: &Line, expected: &Decision) -> bool {
    let reason = line.reason.map_or(0, |reason| reason as u16);
    let what = line.what.as_ref().map_or(0, |what| what.number);
    let profile = line.profile.as_ref().map(|profile| profile.number);
    line.verdict as u8 == expected.verdict.number()
        && reason == expected.reason.number()
        && what == expected.what
        && line.rule.unwrap_or(0) == expected.rule
        && profile == expected.profile.map(u64::from)
        && !expected.is_counted
}

/// What must follow from the records of a call: a denial is EPERM and ends the call, and what succeeds has asked all hooks.
fn consequences(cmd: u32, errno: i32, lines: &[Line]) -> Result<()> {
    let asked = |hook: Recorded| lines.iter().any(|line| line.hook == hook);
    let is_fatal = |line: &Line| {
        line.verdict == Verdict::Denied && !matches!(line.hook, Recorded::TokenCmd | Recorded::TokenCapable)
    };
    if let Some(at) = lines.iter().position(is_fatal) {
        ensure!(errno == 1, "a denial is EPERM");
        ensure!(at + 1 == lines.len(), "a denial ends the call");
    } else if errno == 0 {
        match cmd {
            MAP_CREATE => ensure!(asked(Recorded::MapCreate) && asked(Recorded::Map), "a hook was not asked"),
            PROG_LOAD => ensure!(asked(Recorded::ProgLoad) && asked(Recorded::Prog), "a hook was not asked"),
            _ => {}
        }
    }
    Ok(())
}

/// The attach type that a program has at the hook: the kernel puts one in place of none
/// (`bpf_prog_load_fixup_attach_type`, `kernel/bpf/syscall.c`).
fn attach_type(prog_type: u32, asked: u32) -> u32 {
    match (prog_type, asked) {
        (9, 0) => 2,
        _ => asked,
    }
}

/// The call that an instruction is (RFC 9669).
fn call_of(insn: u64) -> Option<guard_policy::Call> {
    let (source, offset, immediate) = (insn >> 12 & 0xf, insn >> 16 & 0xffff, (insn >> 32) as u32);
    match (insn & 0xff, source) {
        (0x85, 0) => Some(guard_policy::Call::Helper(immediate)),
        (0x85, 2) => Some(guard_policy::Call::Kfunc { btf_id: immediate, of_module: offset != 0 }),
        _ => None,
    }
}

/// The number of a call's command (`enum bpf_cmd`).
fn command(call: &Call) -> Result<u32> {
    Ok(match call {
        Call::MapCreate { .. } => MAP_CREATE,
        Call::ProgLoad { .. } => PROG_LOAD,
        Call::NextId { kind: ObjectKind::Prog, .. } => 11,
        Call::NextId { kind: ObjectKind::Map, .. } => 12,
        Call::BtfLoad => 18,
        Call::NextId { kind: ObjectKind::Btf, .. } => 23,
        Call::NextId { kind: ObjectKind::Link, .. } => 31,
        Call::TokenCreate { .. } => 36,
        other => bail!("{other:?} is not drawn"),
    })
}
