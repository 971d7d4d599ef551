//! The least grants of objects, found by taking away what they have element by element in VMs.

use std::collections::BTreeMap;

use harness_proof::{
    minimizer::{Minimizer, NextStep, Reduction},
    object::{self, ObjectProof},
    question,
    search::Elements,
    setting::{self, TrialSetting},
};
use harness_protocol::{name::ScenarioName, plan::ObjectLoad};
use harness_uapi::permission::Grant;

use super::{
    ProofError,
    object::Object,
    proved::{Asked, Criterion, NoProof},
    session::{self, ProofSession},
};
use crate::testbed::Testbed;

/// Containers of one scenario: as many as share the two controls of a load, and stand at a time.
const MOST_CONTAINERS: usize = 24;

/// Objects, and what is believed to be enough for all of them.
#[derive(Clone, Debug)]
pub struct ReductionInput {
    /// What it is called when it is told of.
    pub name: String,
    /// The objects.
    pub objects: Vec<Object>,
    /// Where the reduction begins.
    pub grant: Grant,
    /// When an object works.
    pub criterion: Criterion,
}

/// What one kernel is to find out.
#[derive(Clone, Debug)]
pub struct Task<'a> {
    /// The kernel.
    pub testbed: &'a Testbed<'a>,
    /// Of what.
    pub subjects: Vec<ReductionInput>,
}

/// A grant that is tried with one object: which question, and which container of it.
type ProbeIndex = (ScenarioName, usize);

/// What one round asks of a subject: each grant with the places of all objects.
type Round = Vec<(Elements, Vec<ProbeIndex>)>;

/// Takes single elements away from what each subject was granted until none can be missed: a result a subject, in the
/// order of the tasks.
///
/// A round is one VM a kernel for all of its subjects. Where nothing can be missed there is one, and two where all that can be
/// missed can be missed together. A load is made once for each grant that is tried, and twice more for its controls.
///
/// # Errors
/// [`ProofError::Launch`] if no VM can be had. What could not be found out is told in its place.
pub fn reduce(tasks: &[Task<'_>]) -> Result<Vec<Vec<Result<Reduction, NoProof>>>, ProofError> {
    let desks: Vec<ProofSession<'_>> = tasks.iter().map(|task| ProofSession::new(task.testbed)).collect();
    let begin = |subject: &ReductionInput| Ok(Minimizer::new(&subject.grant));
    let mut inquiries: Vec<Vec<Result<Minimizer, NoProof>>> =
        tasks.iter().map(|task| task.subjects.iter().map(begin).collect()).collect();
    loop {
        let mut rounds: BTreeMap<(usize, usize), Round> = BTreeMap::new();
        for (at, (task, session)) in tasks.iter().zip(&desks).enumerate() {
            for (of, subject) in task.subjects.iter().enumerate() {
                if let Ok(NextStep::Try(grants)) = inquiries[at][of].as_ref().map(Minimizer::next) {
                    rounds.insert((at, of), put(session, subject, &grants));
                }
            }
        }
        if rounds.is_empty() {
            break;
        }
        session::ask(&desks)?;
        for ((at, of), round) in rounds {
            match read(&desks[at], &tasks[at].subjects[of], round) {
                Err(error) => inquiries[at][of] = Err(error),
                Ok(round) => inquiries[at][of].iter_mut().for_each(|minimizer| minimizer.note(round.clone())),
            }
        }
    }
    Ok(inquiries
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

fn put(session: &ProofSession<'_>, subject: &ReductionInput, grants: &[Elements]) -> Round {
    let setting = |given: &Elements| TrialSetting::of(&Grant::of(given.iter().copied()));
    let places: Vec<setting::TrialSite> = grants.iter().map(|given| setting(given).into()).collect();
    let mut round: Round = grants.iter().map(|given| (given.clone(), Vec::new())).collect();
    for object in &subject.objects {
        let load = ObjectLoad { unexplained: true, ..session.load_of(object, subject.criterion) };
        let chunks = places.chunks(MOST_CONTAINERS).zip(round.chunks_mut(MOST_CONTAINERS));
        for (places, round) in chunks {
            let vocabulary = session.testbed().vocabulary();
            let name = session.put(|name| question::object(name, places, &load, vocabulary));
            round.iter_mut().enumerate().for_each(|(at, (_, places))| places.push((name.clone(), at)));
        }
    }
    round
}

type Answered = Vec<(Elements, Vec<(String, ObjectProof)>)>;

fn read(session: &ProofSession<'_>, subject: &ReductionInput, round: Round) -> Result<Answered, NoProof> {
    let vocabulary = session.testbed().vocabulary();
    let mut known: BTreeMap<ScenarioName, Vec<ObjectProof>> = BTreeMap::new();
    let mut answered = Vec::new();
    for (given, places) in round {
        let mut proofs = Vec::new();
        for (object, (name, at)) in subject.objects.iter().zip(places) {
            if !known.contains_key(&name) {
                let reduced = Asked::Reduced { object: object.name().to_owned(), of: subject.name.clone() };
                let read =
                    session.read(reduced, &name, |asked, outcome| object::read_objects(asked, outcome, vocabulary));
                known.insert(name.clone(), read?);
            }
            proofs.extend(known[&name].get(at).map(|proof| (object.name().to_owned(), proof.clone())));
        }
        answered.push((given, proofs));
    }
    Ok(answered)
}
