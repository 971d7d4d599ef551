//! What programs ask the kernel for as root, and the least grant with which they work in a container.

use std::collections::BTreeSet;

use harness_proof::{minimizer::Reduction, question, setting::TrialSetting};
use harness_protocol::{
    mount_option::delegate_any,
    name::{KernelName, ScenarioName},
    outcome::{
        Answer, Asked as AskedOfToken, AttemptFact, Control, ExecAnswer, ObjectStep, ScenarioEnd, ScenarioOutcome,
    },
    plan::{Exec, ExecToken, Namespace, TokenCommand},
};
use harness_uapi::{
    permission::{Bit, Capability, Element, Grant},
    vocabulary::Kind,
};
use harness_verdict::{judgement::Fault, object};

use super::{
    ProofError,
    program::Program,
    proved::{Asked, NoProof},
    reduction::{self, ReductionInput, Subject, Task},
    session::{self, ProofSession},
};
use crate::testbed::Testbed;

/// How a program ran with every permission.
#[derive(Clone, Debug)]
pub struct Recording {
    /// As root in the initial user namespace.
    pub root: ExecAnswer,
    /// In a container with everything delegated and every capability.
    pub container: ExecAnswer,
    /// Whose token it used there: its own if it made one, otherwise one that was handed over.
    pub token: ExecToken,
}

impl Recording {
    /// Returns the calls that the kernel does for root and refuses to a container with every permission, each once: what no
    /// token covers.
    pub fn not_delegable(&self) -> Vec<&ObjectStep> {
        self.refused().filter(|step| !lacks_token(step)).collect()
    }

    /// Returns the calls, each once, that are refused there because the program makes them without the token that it has.
    pub fn without_token(&self) -> Vec<&ObjectStep> {
        self.refused().filter(|step| lacks_token(step)).collect()
    }

    fn refused(&self) -> impl Iterator<Item = &ObjectStep> {
        object::never_done(&self.container.calls, &self.root.calls).into_iter()
    }

    /// Returns whether it loads a program that may call `bpf(2)` itself, as the loaders of light skeletons do: what those ask
    /// for is not in the recording.
    pub fn has_loader(&self) -> bool {
        // `BPF_PROG_TYPE_SYSCALL` (`include/uapi/linux/bpf.h`).
        const SYSCALL: u32 = 31;
        let loads = |asked: &AskedOfToken| asked.command == TokenCommand::ProgLoad && asked.kind == SYSCALL;
        self.root.asked.iter().any(loads)
    }

    /// Returns whether it does its work in a container at all.
    pub const fn works(&self) -> bool {
        self.container.end.is_success()
    }

    /// Returns a grant that lacks nothing that its calls ask for.
    fn grant(&self) -> Grant {
        let asked: BTreeSet<Element> = [&self.root, &self.container].into_iter().flat_map(bits).collect();
        // CAP_SYS_BOOT is checked in the initial namespace only.
        let capabilities = Capability::ALL.into_iter().filter(|one| *one != Capability::SysBoot);
        Grant::of(asked.into_iter().chain(capabilities.map(Element::Capability)))
    }
}

/// Returns whether a call could have handed over a token and did not. Opening BTF by id takes one on later kernels only.
fn lacks_token(step: &ObjectStep) -> bool {
    let commands = [TokenCommand::MapCreate, TokenCommand::ProgLoad, TokenCommand::BtfLoad];
    !step.token && commands.iter().any(|command| command.name() == step.cmd)
}

/// Returns what the delegation has to have for the calls of an answer.
fn bits(answer: &ExecAnswer) -> Vec<Element> {
    let bit = |kind, number| Element::Bit(Bit { kind, number });
    let of = |asked: &AskedOfToken| {
        let command = bit(Kind::Cmd, asked.command.number());
        match asked.command {
            TokenCommand::MapCreate => vec![command, bit(Kind::Map, asked.kind)],
            TokenCommand::ProgLoad => vec![command, bit(Kind::Prog, asked.kind), bit(Kind::Attach, asked.attach)],
            TokenCommand::BtfLoad | TokenCommand::BtfGetFdById => vec![command],
        }
    };
    answer.asked.iter().flat_map(of).collect()
}

/// What a program needs on a kernel.
#[derive(Clone, Debug)]
pub struct ProgramProof {
    /// How it ran with every permission.
    pub recording: Result<Recording, NoProof>,
    /// The least grant with which it works; `None` if it works with none.
    pub reduction: Option<Result<Reduction, NoProof>>,
}

/// Runs a program on each of these kernels with every permission, then with less and less.
///
/// # Errors
/// [`ProofError::Launch`] if no VM can be run.
pub fn prove_program(
    testbeds: &[&Testbed<'_>],
    program: &Program,
) -> Result<Vec<(KernelName, ProgramProof)>, ProofError> {
    let recordings = record(testbeds, program)?;
    let with = |token| Program { exec: Exec { token, ..program.exec.clone() }, ..program.clone() };
    let input = |program, grant| ReductionInput {
        name: "the program".to_owned(),
        subjects: vec![Subject::Program(program)],
        grant,
    };
    let mut tasks = Vec::new();
    for (testbed, recording) in testbeds.iter().zip(&recordings) {
        if let Some(recording) = recording.as_ref().ok().filter(|recording| recording.works()) {
            tasks.push(Task { testbed, inputs: vec![input(with(recording.token), recording.grant())] });
        }
    }
    let mut reduced = reduction::reduce(&tasks)?.into_iter().flatten();
    let proofs = testbeds.iter().zip(recordings).map(|(testbed, recording)| {
        let reduction = recording.as_ref().is_ok_and(Recording::works).then(|| reduced.next()).flatten();
        (testbed.kernel_name().clone(), ProgramProof { recording, reduction })
    });
    Ok(proofs.collect())
}

/// Runs it on each kernel, in a container with every permission and as root: once left to itself, and once with a token
/// handed over. If it makes a token itself, the first counts.
fn record(testbeds: &[&Testbed<'_>], program: &Program) -> Result<Vec<Result<Recording, NoProof>>, ProofError> {
    let sessions: Vec<ProofSession<'_>> = testbeds.iter().map(|testbed| ProofSession::new(testbed)).collect();
    let put = |session: &ProofSession<'_>| {
        let setting =
            TrialSetting { options: delegate_any(), namespaces: [Namespace::Net].into(), ..TrialSetting::default() };
        [ExecToken::Own, ExecToken::Inject].map(|token| {
            let exec = Exec { token, sites: true, ..session.exec_of(program) };
            let sites = [setting.clone().into()];
            session.put(|name| question::exec(name, &sites, &exec, session.testbed().vocabulary()))
        })
    };
    let asked: Vec<[ScenarioName; 2]> = sessions.iter().map(put).collect();
    session::ask(&sessions)?;
    let recording = |session: &ProofSession<'_>, name: &ScenarioName, token| {
        let what = Asked::Recorded(program.name().to_owned());
        session.read(what, name, |_, outcome| read(outcome, token))
    };
    let chosen = |(session, [own, handed]): (&ProofSession<'_>, &[ScenarioName; 2])| {
        let own = recording(session, own, ExecToken::Own)?;
        if makes_token(&own.container) { Ok(own) } else { recording(session, handed, ExecToken::Inject) }
    };
    Ok(sessions.iter().zip(&asked).map(chosen).collect())
}

/// Returns whether a program handed a token over itself.
fn makes_token(answer: &ExecAnswer) -> bool {
    answer.calls.steps.iter().any(|step| step.token)
}

fn read(outcome: &ScenarioOutcome, token: ExecToken) -> Result<Recording, Fault> {
    match (&outcome.end, outcome.attempts.first()) {
        (ScenarioEnd::Finished { .. }, Some(AttemptFact { answer: Answer::Exec(container), root, .. })) => match root {
            Control::Made(Answer::Exec(root)) => {
                Ok(Recording { root: (**root).clone(), container: (**container).clone(), token })
            }
            Control::Made(_) => Err(Fault::Record("root ran no program".to_owned())),
            Control::NotMade(why) => Err(Fault::Guest(why.clone())),
        },
        (ScenarioEnd::Finished { .. }, _) => Err(Fault::Record("no program was run".to_owned())),
        (ScenarioEnd::Fault { message }, _) => Err(Fault::Guest(message.clone())),
        (ScenarioEnd::Crashed { how, .. }, _) => Err(Fault::Guest(how.clone())),
    }
}

#[cfg(test)]
mod tests {
    use harness_protocol::{
        errno::Errno,
        outcome::{ExecEnd, ObjectAnswer, Purpose},
    };

    use super::*;

    fn answer(steps: &[(&str, Option<Errno>)], asked: Vec<AskedOfToken>) -> ExecAnswer {
        let step = |(cmd, errno): &(&str, Option<Errno>)| ObjectStep {
            cmd: (*cmd).to_owned(),
            about: String::new(),
            purpose: Purpose::Work,
            token: false,
            errno: *errno,
            times: 1,
            ..Default::default()
        };
        let calls = ObjectAnswer { steps: steps.iter().map(step).collect(), ..Default::default() };
        ExecAnswer {
            end: ExecEnd::Exited(0),
            took_ms: 0,
            calls,
            injected: 0,
            asked,
            sites: Vec::new(),
            output: String::new(),
        }
    }

    #[test]
    fn what_root_may_and_no_container_may_is_not_delegable() {
        let eperm = Some(Errno::EPERM);
        let root = answer(
            &[
                ("btf_load", None),
                ("map_get_next_id", None),
                ("prog_load", eperm),
                ("obj_pin", None),
                ("map_create", None),
            ],
            vec![],
        );
        let container = answer(
            &[
                ("map_get_next_id", eperm),
                ("obj_pin", None),
                ("map_get_next_id", eperm),
                ("prog_load", eperm),
                // Without a token, and with one.
                ("map_create", eperm),
                ("map_create", None),
                ("btf_load", eperm),
            ],
            vec![],
        );
        let recording = Recording { root, container, token: ExecToken::Inject };
        let found: Vec<&str> = recording.not_delegable().iter().map(|step| step.cmd.as_str()).collect();
        assert_eq!(found, ["map_get_next_id"]);
        let found: Vec<&str> = recording.without_token().iter().map(|step| step.cmd.as_str()).collect();
        assert_eq!(found, ["btf_load"]);
    }

    #[test]
    fn the_first_grant_has_what_any_call_asks_for_and_every_capability() {
        let asked = |command, kind, attach| AskedOfToken { command, kind, attach };
        let root = answer(&[], vec![asked(TokenCommand::MapCreate, 1, 0), asked(TokenCommand::ProgLoad, 8, 1)]);
        let container = answer(&[], vec![asked(TokenCommand::BtfLoad, 0, 0)]);
        let grant = Recording { root, container, token: ExecToken::Inject }.grant();
        let bit = |kind, number| Element::Bit(Bit { kind, number });
        let expected = [
            bit(Kind::Cmd, 0),
            bit(Kind::Cmd, 5),
            bit(Kind::Cmd, 18),
            bit(Kind::Map, 1),
            bit(Kind::Prog, 8),
            bit(Kind::Attach, 1),
        ];
        let capabilities = [Capability::Bpf, Capability::NetAdmin, Capability::Perfmon, Capability::SysAdmin];
        let all: BTreeSet<Element> = expected.into_iter().chain(capabilities.map(Element::Capability)).collect();
        assert_eq!(grant.elements().collect::<BTreeSet<_>>(), all);
    }
}
