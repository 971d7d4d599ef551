//! An object asks the same of the kernel whether a program loads it, whose calls its tracer reads from the registers, or the guest
//! program, whose calls are recorded where libbpf makes them.

use std::{fmt, fs, io, path::Path};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use harness_protocol::{
    errno::Errno,
    mount_option::OPTIONS,
    outcome::{Answer, AttemptFact, Control, ObjectAnswer, ObjectStep, ScenarioEnd},
    plan::{
        Actor, Attempt, Call, Exec, ExecToken, ExpectedKernel, FORMAT, OBJECTS_FOLDER, ObjectLoad, PLACED_FOLDER,
        PlacedContent, PlacedFile, Plan, Token,
    },
};
use harness_runner::session::{self, Deadlines, MachineKind, QemuMachine, RunFolder};
use serde_json::json;

use crate::{Built, Files};

/// The object.
const OBJECT: &str = "xdp-data.bpf.o";

/// The calls that only the program makes, with the type of what each is about, and why.
const ONLY_OF_THE_PROGRAM: [(&str, &str, &str); 2] = [
    (
        "prog_load",
        "socket_filter",
        "libbpf asks once in a process whether memory is charged to cgroups: the guest program has asked before",
    ),
    ("obj_pin", "", "the program pins what it loads: the guest program only loads it"),
];

/// An answer to a command, the one that the guest program gets, and why.
type Otherwise = (&'static str, Errno, Errno, &'static str);

/// `EOPNOTSUPP`.
const EOPNOTSUPP: Errno = Errno::from_raw(95);

/// What root is told otherwise.
const OTHERWISE_TO_ROOT: [Otherwise; 1] = [(
    "token_create",
    EOPNOTSUPP,
    Errno::EINVAL,
    "a program has a bpffs of the initial user namespace at /sys/fs/bpf, and the guest program of root has none there",
)];

/// libbpf puts the object's name before those of its global variables' maps: the program's is that of the file.
const OBJECT_NAMES: [&str; 2] = ["xdp_data.", "object."];

/// What libbpf's recorder in the guest program adds to the name of a map or program that the kernel was not given.
const UNNAMED: &str = ", without its name";

/// A call as both recordings have it.
#[derive(Clone, PartialEq, Eq)]
struct OneCall {
    command: String,
    /// The type of the map or program.
    kind: String,
    /// The name that the kernel was given; `None` if that is not recorded, as of the guest program's probes.
    name: Option<String>,
    token: bool,
    errno: Option<Errno>,
}

impl fmt::Display for OneCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, kind, name, token, errno } = self;
        let (name, token) = (name.as_deref().unwrap_or("?"), if *token { ", token" } else { "" });
        let answer = errno.map_or_else(|| "allowed".to_owned(), |errno| format!("refused {errno}"));
        write!(f, "{command} {kind} {name}{token}: {answer}")
    }
}

/// Compares what root and a container with every permission are told.
pub(crate) fn compared(built: &Built, files: &Files) -> Result<()> {
    let facts = run(built, files)?;
    let [program, guest] = &facts[..] else { bail!("{} outcomes, not 2", facts.len()) };
    let root = |fact: &AttemptFact| match &fact.root {
        Control::Made(answer) => Ok(answer.clone()),
        Control::NotMade(why) => Err(anyhow!("root: {why}")),
    };
    alike("a container", &program.answer, &guest.answer, &[])?;
    alike("root", &root(program)?, &root(guest)?, &OTHERWISE_TO_ROOT)
}

fn alike(who: &str, program: &Answer, guest: &Answer, otherwise: &[Otherwise]) -> Result<()> {
    let Answer::Exec(exec) = program else { bail!("{who} ran no program: {program:?}") };
    let Answer::Object(object) = guest else { bail!("{who} loaded no object: {guest:?}") };
    ensure!(exec.end.is_success() && exec.injected == 0, "{who}: the program {}\n{}", exec.end, exec.output);
    ensure!(object.failure.is_none(), "{who}: {:?}", object.failure);
    let mut of_program: Vec<OneCall> = calls(&exec.calls).map(by_program).collect();
    let of_guest: Vec<OneCall> = calls(object).map(by_guest).collect();
    for (command, kind, why) in ONLY_OF_THE_PROGRAM {
        let found = of_program.iter().position(|call| call.command == command && call.kind == kind);
        of_program.remove(found.with_context(|| format!("{who}: no {command} {kind}, although {why}"))?);
    }
    for (command, told, otherwise, why) in otherwise {
        let found = of_program.iter_mut().find(|call| call.command == *command && call.errno == Some(*told));
        let call = found.with_context(|| format!("{who}: no {command} with {told}, although {why}"))?;
        call.errno = Some(*otherwise);
    }
    let shown = |calls: &[OneCall]| calls.iter().map(OneCall::to_string).collect::<Vec<_>>().join("\n  ");
    let both = || format!("the program:\n  {}\nthe guest program:\n  {}", shown(&of_program), shown(&of_guest));
    ensure!(of_program.len() == of_guest.len() && of_guest.len() > 20, "{who}: not as many calls; {}", both());
    for (number, (of_program, of_guest)) in of_program.iter().zip(&of_guest).enumerate() {
        ensure!(same(of_program, of_guest), "{who}: call {number} is `{of_program}` or `{of_guest}`; {}", both());
    }
    println!("{who}: {} calls alike", of_guest.len());
    Ok(())
}

/// Returns whether the kernel was asked the same and gave the same answer. It keeps 15 bytes of a name.
fn same(of_program: &OneCall, of_guest: &OneCall) -> bool {
    let kept = |name: &str| name.chars().take(15).collect::<String>();
    let name = of_guest.name.as_deref().map_or_else(|| of_program.name.clone(), |name| Some(kept(name)));
    *of_program == OneCall { name, ..of_guest.clone() }
}

/// Returns the calls one by one.
fn calls(answer: &ObjectAnswer) -> impl Iterator<Item = &ObjectStep> {
    answer.steps.iter().flat_map(|step| std::iter::repeat_n(step, step.times as usize))
}

fn by_program(step: &ObjectStep) -> OneCall {
    // The tracer tells the attach type as well: `xdp NAME for xdp`.
    let (kind, name) = split(step.about.split(" for ").next().unwrap_or_default());
    of(step, kind, Some(name.to_owned()))
}

fn by_guest(step: &ObjectStep) -> OneCall {
    let (kind, name) = split(&step.about);
    let [here, there] = OBJECT_NAMES;
    let name = match name {
        "" => None,
        unnamed if unnamed.ends_with(UNNAMED) => Some(String::new()),
        named => Some(named.strip_prefix(there).map_or_else(|| named.to_owned(), |rest| [here, rest].concat())),
    };
    of(step, kind, name)
}

fn split(about: &str) -> (&str, &str) {
    about.split_once(' ').unwrap_or((about, ""))
}

fn of(step: &ObjectStep, kind: &str, name: Option<String>) -> OneCall {
    let ObjectStep { cmd, token, errno, .. } = step;
    OneCall { command: cmd.clone(), kind: kind.to_owned(), name, token: *token, errno: *errno }
}

/// Makes both attempts in a VM, in a container with everything delegated and every capability.
fn run(built: &Built, files: &Files) -> Result<Vec<AttemptFact>> {
    let container = Actor::Container("main".parse()?);
    let attempts = [
        Call::Exec(exec()),
        Call::Object(ObjectLoad { file: OBJECT.to_owned(), unexplained: true, ..ObjectLoad::default() }),
    ]
    .map(|call| Attempt::new(container.clone(), Token::None, call));
    let options: Vec<_> = OPTIONS.iter().map(|key| json!({ "key": key, "value": "any" })).collect();
    let capabilities: Vec<u8> = (0..=40).collect();
    let container = json!({
        "name": "main", "parent": null, "uid": 1000, "gid": 1000, "namespaces": ["net"], "caps": capabilities,
        "options": options, "token": false,
    });
    let scenario = json!({
        "name": "programs/same-calls", "deadline_ms": 300_000, "sysctls": {}, "own_vm": false,
        "cases": [{ "containers": [container], "attempts": attempts }],
    });
    let scenarios = vec![serde_json::from_value(scenario)?];
    let plan = Plan { format: FORMAT, kernel: ExpectedKernel::default(), marks_console: true, guard: None, scenarios };
    let folder = RunFolder::create(&built.runs)?;
    let spec = built.spec().map_err(|error| anyhow!("{error}"))?;
    let deadlines = Deadlines::of(spec.accel);
    let make_root = |into: &Path| built.image.private_copy(&built.guest, into).map(drop).map_err(io::Error::other);
    let fill_share = |share: &Path| {
        [OBJECTS_FOLDER, PLACED_FOLDER].iter().try_for_each(|folder| fs::create_dir_all(share.join(folder)))?;
        fs::copy(files.loaders.libbpf(), share.join(PLACED_FOLDER).join("load-by-libbpf"))?;
        let object = files.objects.path("xdp-data");
        [OBJECTS_FOLDER, PLACED_FOLDER]
            .iter()
            .try_for_each(|to| fs::copy(&object, share.join(to).join(OBJECT)).map(drop))
    };
    let (program, machine_kind) = (built.image.guest_command(), MachineKind::Own);
    let machine = QemuMachine { spec, program, machine_kind, make_root: &make_root, fill_share: &fill_share };
    let session = session::run(&plan, &machine, &folder, deadlines, &mut |_| {})?;
    let outcome = session.outcomes.into_iter().next().context("no outcome")?;
    ensure!(matches!(outcome.end, ScenarioEnd::Finished { .. }), "{:?}", outcome.end);
    Ok(outcome.attempts)
}

fn exec() -> Exec {
    let placed = |name: &str, executable| PlacedFile {
        path: format!("/opt/{name}"),
        content: PlacedContent::File { name: name.to_owned(), executable },
    };
    let files = vec![placed("load-by-libbpf", true), placed(OBJECT, false)];
    let program = files[0].path.clone();
    let args = vec![files[1].path.clone(), "/sys/fs/bpf".to_owned()];
    Exec { program, args, files, token: ExecToken::Own, limit_ms: 60_000, unexplained: true, ..Exec::default() }
}
