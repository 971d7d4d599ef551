//! Builds the questions of a proof, as scenarios without a file, and reads what a VM says about a bpffs and its token.

use harness_protocol::{
    errno::Errno,
    mount_option::MountOption,
    name::{ContainerName, ScenarioName},
    outcome::{Answer, ScenarioEnd, ScenarioOutcome, UnitFact},
    plan::{self, Actor, Attempt, BpffsFd, Call, Container, Exec, ObjectLoad, Token},
};
use harness_scenario::{
    expanded::{Expanded, ExpandedAttempt, ExpandedCase},
    layout::AttemptRole,
    spec::Isolation,
};
use harness_uapi::{delegation::Delegation, vocabulary::Vocabulary};
use harness_verdict::{
    judge,
    judgement::Fault,
    reason::Reason,
    verdict::{Refusal, Verdict},
};

use crate::setting::{TrialSetting, TrialSite, UserNamespace};

/// The uid and gid as which the containers of proofs start.
const USER: u32 = 1000;

/// The time limit of a scenario without its loads, in milliseconds.
const BASE_MS: u64 = 30_000;

/// The time that systemd may take to start and stop a unit, in milliseconds.
const UNIT_MS: u64 = 60_000;

/// The average time that a load and its controls may take, in milliseconds.
const LOAD_MS: u64 = 10_000;

/// Whether the kernel with these names refuses these options, by its own parsing rules.
pub fn is_refused(options: &[MountOption], vocabulary: &Vocabulary) -> bool {
    has_tokens(vocabulary) && Delegation::requested(options, vocabulary).is_err()
}

/// Asks whether the kernel accepts the options at all, from root in the initial namespaces.
pub fn mount(name: ScenarioName, options: &[MountOption]) -> Expanded {
    let call = Call::MountDelegate { options: options.to_vec(), create: true };
    let attempt = (Attempt::new(Actor::Host, Token::None, call), described("mount_delegate", "host", None));
    expanded(name, Vec::new(), vec![attempt], BASE_MS)
}

/// Asks what the bpffs of a container shows, and whether the container can create a token from it.
pub fn token(name: ScenarioName, place: &TrialSite, vocabulary: &Vocabulary) -> Expanded {
    let container = container(0, place, vocabulary);
    let actor = Actor::Container(container.name.clone());
    let call = Call::TokenCreate { from: actor.clone(), fd: BpffsFd::Root, flags: 0 };
    let missing = (!has_tokens(vocabulary)).then(|| "this kernel has no `token_create`".to_owned());
    let described = described("token_create", container.name.as_str(), missing);
    expanded(name, vec![container], vec![(Attempt::new(actor, Token::None, call), described)], BASE_MS + time_of(place))
}

/// Asks whether each of several containers can load an object.
pub fn object(name: ScenarioName, places: &[TrialSite], load: &ObjectLoad, vocabulary: &Vocabulary) -> Expanded {
    same(name, places, &Call::Object(load.clone()), LOAD_MS, vocabulary)
}

/// Asks whether a program does its work in each of several containers.
pub fn exec(name: ScenarioName, places: &[TrialSite], exec: &Exec, vocabulary: &Vocabulary) -> Expanded {
    // The guest ends a program that takes longer, and needs some time for that.
    same(name, places, &Call::Exec(exec.clone()), exec.limit_ms + LOAD_MS, vocabulary)
}

/// Asks how each of several containers makes a call. They share the controls, since the call is the same.
fn same(name: ScenarioName, places: &[TrialSite], call: &Call, each_ms: u64, vocabulary: &Vocabulary) -> Expanded {
    let containers: Vec<Container> = (0..).zip(places).map(|(at, place)| container(at, place, vocabulary)).collect();
    let attempt = |(at, container): (usize, &Container)| {
        let actor = Actor::Container(container.name.clone());
        let attempt = Attempt::new(actor, Token::None, call.clone());
        let described = described(call.op(), container.name.as_str(), None);
        (Attempt { controls_of: (at > 0).then_some(0), ..attempt }, described)
    };
    let attempts: Vec<_> = containers.iter().enumerate().map(attempt).collect();
    let deadline = BASE_MS + each_ms * (attempts.len() as u64 + 2) + places.iter().map(time_of).sum::<u64>();
    expanded(name, containers, attempts, deadline)
}

fn has_tokens(vocabulary: &Vocabulary) -> bool {
    vocabulary.cmds.number("token_create").is_some()
}

fn has_bpffs(setting: &TrialSetting, vocabulary: &Vocabulary) -> bool {
    has_tokens(vocabulary) && setting.users == UserNamespace::Own
}

fn time_of(place: &TrialSite) -> u64 {
    match place {
        TrialSite::Container(_) => 0,
        TrialSite::Unit(_) => UNIT_MS,
    }
}

fn container(at: u32, place: &TrialSite, vocabulary: &Vocabulary) -> Container {
    let name: ContainerName = format!("container-{at}").parse().expect("letters and digits make a name");
    match place {
        TrialSite::Container(setting) => made_by_us(name, setting, vocabulary),
        TrialSite::Unit(unit) => {
            Container { unit: Some(unit.clone()), ..made_by_us(name, &TrialSetting::default(), vocabulary) }
        }
    }
}

fn made_by_us(name: ContainerName, setting: &TrialSetting, vocabulary: &Vocabulary) -> Container {
    Container {
        name,
        parent: None,
        unshare: setting.users == UserNamespace::Own,
        uid: USER,
        gid: USER,
        loginuid: None,
        namespaces: setting.namespaces.iter().copied().collect(),
        caps: setting.capabilities.iter().copied().collect(),
        options: if has_bpffs(setting, vocabulary) { setting.options.clone() } else { Vec::new() },
        token: false,
        restrictions: setting.restrictions.clone(),
        unit: None,
    }
}

fn described(op: &'static str, container: &str, missing: Option<String>) -> ExpandedAttempt {
    let container = container.to_owned();
    ExpandedAttempt { text: op.to_owned(), op, container, expect: None, missing, part: AttemptRole::Line }
}

fn expanded(
    name: ScenarioName,
    containers: Vec<Container>,
    attempts: Vec<(Attempt, ExpandedAttempt)>,
    deadline_ms: u64,
) -> Expanded {
    let (planned, described) = attempts.into_iter().unzip();
    let case = plan::Case { sysctls: Default::default(), containers, attempts: planned };
    Expanded {
        summary: "A proof".to_owned(),
        isolation: Isolation::Shared,
        cases: vec![ExpandedCase { label: String::new(), attempts: described }],
        grid: None,
        plan: plan::Scenario::new(name, deadline_ms, vec![case]),
    }
}

/// Returns how the kernel refused the options of a [`mount`] question, if it did.
///
/// # Errors
/// [`Fault`] if it was not answered.
pub fn read_mount(outcome: &ScenarioOutcome) -> Result<Option<Refusal>, Fault> {
    match (&outcome.end, outcome.attempts.first().map(|fact| &fact.answer)) {
        (_, Some(Answer::Ok { .. })) => Ok(None),
        (_, Some(Answer::Err { errno, step })) => Ok(Some(Refusal { errno: *errno, step: step.clone() })),
        (ScenarioEnd::Fault { message }, _) => Err(Fault::Guest(message.clone())),
        (ScenarioEnd::Crashed { how, .. }, _) => Err(Fault::Guest(how.clone())),
        (ScenarioEnd::Finished { .. }, _) => Err(Fault::Record("the mount was not answered".to_owned())),
    }
}

/// What a container shows of its delegation once it is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerProbe {
    /// The `delegate_*` options its bpffs shows in `/proc/self/mountinfo`.
    pub shown: Vec<MountOption>,
    /// Where that differs from what the options request by the kernel's own rules.
    pub disagreements: Vec<String>,
    /// Whether it can create a token.
    pub token: TokenProof,
    /// The token's masks by `fdinfo`: `any` or a hexadecimal number for each option. Only for a unit, which creates its token
    /// before it makes any attempt.
    pub masks: Option<[String; 4]>,
    /// What systemd reports about it, if it is a unit.
    pub unit: Option<UnitFact>,
}

/// Whether a container can create a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenProof {
    /// The verdict of `BPF_TOKEN_CREATE`: malformed where nothing is delegated, since the kernel refuses that to everybody.
    pub verdict: Verdict,
    /// Why it was denied, if it was.
    pub cause: Option<Reason>,
}

impl TokenProof {
    /// Returns the errno with which the kernel refused it; `None` if there is a token.
    pub fn errno(&self) -> Option<Errno> {
        self.verdict.errno()
    }
}

/// Reads the outcome of a [`token`] question.
///
/// # Errors
/// [`Fault`] if it was not answered.
pub fn read_token(
    asked: &Expanded,
    outcome: &ScenarioOutcome,
    vocabulary: &Vocabulary,
) -> Result<ContainerProbe, Fault> {
    let judgement = judge::judge(asked, outcome, vocabulary)?;
    let unanswered = || Fault::Record("the token was not answered".to_owned());
    let crashed = judgement.crash.map(|crash| Fault::Guest(crash.how));
    let case = judgement.cases.into_iter().next().ok_or_else(unanswered)?;
    let row = case.rows.into_iter().next().ok_or_else(unanswered)?;
    if let Some(fault) = crashed {
        return Err(fault);
    }
    let shown = case.mounted.into_iter().next().map(|(_, shown)| shown).unwrap_or_default();
    let token = TokenProof { verdict: row.verdict, cause: row.cause };
    let masks = case.tokens.into_iter().find_map(|(_, token)| token.ok());
    Ok(ContainerProbe { shown, disagreements: case.disagreements, token, masks, unit: read_unit(outcome) })
}

/// Returns what systemd reports about the unit of a trial, if there was one.
pub fn read_unit(outcome: &ScenarioOutcome) -> Option<UnitFact> {
    outcome.units.first().cloned()
}
