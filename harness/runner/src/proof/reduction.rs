//! Finds minimal grants of objects, by removing elements one by one in VMs.

use std::collections::BTreeMap;

use harness_proof::{
    minimizer::{Minimizer, NextStep, Reduction},
    object::{self, ObjectProof},
    question,
    search::Elements,
    setting::{TrialSetting, TrialSite},
};
use harness_protocol::{name::ScenarioName, plan::ObjectLoad};
use harness_uapi::permission::Grant;

use super::{
    ProofError,
    object::Object,
    program::Program,
    proved::{Asked, Criterion, NoProof},
    session::{self, ProofSession},
};
use crate::testbed::Testbed;

/// The maximum number of containers in one scenario; they share the two controls of a load, and exist at the same time.
const MOST_CONTAINERS: usize = 24;

/// What should work, and a grant that should be sufficient for all of it.
#[derive(Clone, Debug)]
pub struct ReductionInput {
    /// Its name in results.
    pub name: String,
    /// What should work.
    pub subjects: Vec<Subject>,
    /// The grant to start from.
    pub grant: Grant,
}

/// Something that works with a grant or not.
#[derive(Clone, Debug)]
pub enum Subject {
    /// An object, which libbpf loads, and when it counts as working.
    Object(Object, Criterion),
    /// A program, which is run. It works if it ends as it should, and unless losses are accepted, is refused nothing that it
    /// is not refused in a container with every permission.
    Program(Program),
}

impl Subject {
    /// Returns its name, as shown in results.
    pub fn name(&self) -> &str {
        match self {
            Self::Object(object, _) => object.name(),
            Self::Program(program) => program.name(),
        }
    }

    fn put(&self, session: &ProofSession<'_>, grants: &[Elements]) -> ScenarioName {
        let grants = grants.iter().map(|given| Grant::of(given.iter().copied()));
        let vocabulary = session.testbed().vocabulary();
        match self {
            Self::Object(object, criterion) => {
                let sites: Vec<TrialSite> = grants.map(|grant| TrialSetting::of(&grant).into()).collect();
                let load = ObjectLoad { unexplained: true, ..session.load_of(object, *criterion) };
                session.put(|name| question::object(name, &sites, &load, vocabulary))
            }
            Self::Program(program) => {
                let sites: Vec<TrialSite> = grants.map(|grant| TrialSetting::of_program(&grant).into()).collect();
                let exec = session.exec_of(program);
                session.put(|name| question::exec(name, &sites, &exec, vocabulary))
            }
        }
    }
}

/// The reductions for one kernel.
#[derive(Clone, Debug)]
pub struct Task<'a> {
    /// The kernel.
    pub testbed: &'a Testbed<'a>,
    /// What to reduce.
    pub inputs: Vec<ReductionInput>,
}

/// Where a grant is tried with one object: the question, and the index of the container in it.
type ProbeIndex = (ScenarioName, usize);

/// One round for an input: each grant with the probes of all objects.
type Round = Vec<(Elements, Vec<ProbeIndex>)>;

/// Removes elements from each input's grant until none can be spared. Returns one result per input, in the order of the
/// tasks.
///
/// A round is one VM per kernel for all of its inputs. If no element can be spared, there is one round; if all elements
/// that can be spared can be removed together, there are two. An object is loaded once for each grant that is tried,
/// and twice more for its controls.
///
/// # Errors
/// [`ProofError::Launch`] if no VM can be run. A question without an answer is reported in its result.
pub fn reduce(tasks: &[Task<'_>]) -> Result<Vec<Vec<Result<Reduction, NoProof>>>, ProofError> {
    let sessions: Vec<ProofSession<'_>> = tasks.iter().map(|task| ProofSession::new(task.testbed)).collect();
    let begin = |input: &ReductionInput| Ok(Minimizer::new(&input.grant));
    let mut minimizers: Vec<Vec<Result<Minimizer, NoProof>>> =
        tasks.iter().map(|task| task.inputs.iter().map(begin).collect()).collect();
    loop {
        let mut rounds: BTreeMap<(usize, usize), Round> = BTreeMap::new();
        for (at, (task, session)) in tasks.iter().zip(&sessions).enumerate() {
            for (of, input) in task.inputs.iter().enumerate() {
                if let Ok(NextStep::Try(grants)) = minimizers[at][of].as_ref().map(Minimizer::next) {
                    rounds.insert((at, of), put(session, input, &grants));
                }
            }
        }
        if rounds.is_empty() {
            break;
        }
        session::ask(&sessions)?;
        for ((at, of), round) in rounds {
            match read(&sessions[at], &tasks[at].inputs[of], round) {
                Err(error) => minimizers[at][of] = Err(error),
                Ok(round) => minimizers[at][of].iter_mut().for_each(|minimizer| minimizer.note(round.clone())),
            }
        }
    }
    Ok(minimizers
        .into_iter()
        .map(|of_task| of_task.into_iter().map(|minimizer| minimizer.map(known)).collect())
        .collect())
}

fn known(minimizer: Minimizer) -> Reduction {
    match minimizer.next() {
        NextStep::Known(reduction) => reduction,
        NextStep::Try(_) => unreachable!("the rounds ended because nothing was left to try"),
    }
}

fn put(session: &ProofSession<'_>, input: &ReductionInput, grants: &[Elements]) -> Round {
    let mut round: Round = grants.iter().map(|given| (given.clone(), Vec::new())).collect();
    for subject in &input.subjects {
        let chunks = grants.chunks(MOST_CONTAINERS).zip(round.chunks_mut(MOST_CONTAINERS));
        for (grants, round) in chunks {
            let name = subject.put(session, grants);
            round.iter_mut().enumerate().for_each(|(at, (_, probes))| probes.push((name.clone(), at)));
        }
    }
    round
}

type Answered = Vec<(Elements, Vec<(String, ObjectProof)>)>;

fn read(session: &ProofSession<'_>, input: &ReductionInput, round: Round) -> Result<Answered, NoProof> {
    let vocabulary = session.testbed().vocabulary();
    let mut known: BTreeMap<ScenarioName, Vec<ObjectProof>> = BTreeMap::new();
    let mut answered = Vec::new();
    for (given, probes) in round {
        let mut proofs = Vec::new();
        for (subject, (name, at)) in input.subjects.iter().zip(probes) {
            if !known.contains_key(&name) {
                let reduced = Asked::Reduced { object: subject.name().to_owned(), of: input.name.clone() };
                let read =
                    session.read(reduced, &name, |asked, outcome| object::read_objects(asked, outcome, vocabulary));
                known.insert(name.clone(), read?);
            }
            let accepted = |proof: &ObjectProof| match subject {
                Subject::Program(Program { with_losses: true, .. }) => {
                    ObjectProof { not_made: Vec::new(), ..proof.clone() }
                }
                Subject::Program(_) | Subject::Object(..) => proof.clone(),
            };
            proofs.extend(known[&name].get(at).map(|proof| (subject.name().to_owned(), accepted(proof))));
        }
        answered.push((given, proofs));
    }
    Ok(answered)
}
