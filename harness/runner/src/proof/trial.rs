//! A container or unit tried on kernels: what its bpffs shows, whether it makes a token, and what becomes of objects in it.

use harness_proof::{object, question, setting::TrialSite};
use harness_protocol::name::{KernelName, ScenarioName};
use harness_verdict::verdict::Refusal;

use super::{
    ProofError,
    object::Object,
    proved::{Asked, Criterion, Mount, NoProof, Proof, ProvedObject, Why},
    session::{self, ProofSession},
};
use crate::testbed::Testbed;

/// One thing to try: a container or unit, and what is to be loaded in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// What it is called when it is told of.
    pub name: String,
    /// The container or unit.
    pub place: TrialSite,
    /// What is loaded in it, each in a container of its own that is made the same. There may be none.
    pub objects: Vec<Object>,
    /// What is done with each of them.
    pub criterion: Criterion,
}

/// The questions of a trial.
#[derive(Default)]
struct Questions {
    /// Only if there are options.
    mount: Option<ScenarioName>,
    /// Not where the options are refused.
    inside: Option<Inside>,
}

struct Inside {
    token: ScenarioName,
    objects: Vec<ScenarioName>,
}

/// Tries all of them on each of these kernels, all trials of a kernel in one VM.
///
/// # Errors
/// [`ProofError::Launch`] if no VM can be had. What could not be found out is told in its place.
pub fn prove(testbeds: &[&Testbed<'_>], trials: &[Trial]) -> Result<Vec<(KernelName, Vec<Proof>)>, ProofError> {
    let desks: Vec<ProofSession<'_>> = testbeds.iter().map(|testbed| ProofSession::new(testbed)).collect();
    let put = |session: &ProofSession<'_>, trial: &Trial| {
        let refused = question::is_refused(trial.place.options(), session.testbed().vocabulary());
        Questions { mount: put_mount(session, trial), inside: (!refused).then(|| put_inside(session, trial)) }
    };
    let mut asked: Vec<Vec<Questions>> =
        desks.iter().map(|session| trials.iter().map(|trial| put(session, trial)).collect()).collect();
    session::ask(&desks)?;
    if put_surprises(&desks, trials, &mut asked) {
        session::ask(&desks)?;
    }
    let proofs = desks.iter().zip(&asked).map(|(session, asked)| {
        let proofs = trials.iter().zip(asked).map(|(trial, asked)| read(session, trial, asked)).collect();
        (session.testbed().kernel_name().clone(), proofs)
    });
    Ok(proofs.collect())
}

/// Asks the rest of trials whose options were taken to be refused, and are not; whether there are any.
fn put_surprises(desks: &[ProofSession<'_>], trials: &[Trial], asked: &mut [Vec<Questions>]) -> bool {
    let mut any = false;
    for (session, asked) in desks.iter().zip(asked) {
        for (trial, asked) in trials.iter().zip(asked).filter(|(_, asked)| asked.inside.is_none()) {
            if refusal(session, trial, asked) == Ok(None) {
                asked.inside = Some(put_inside(session, trial));
                any = true;
            }
        }
    }
    any
}

fn put_mount(session: &ProofSession<'_>, trial: &Trial) -> Option<ScenarioName> {
    let options = trial.place.options();
    (!options.is_empty()).then(|| session.put(|name| question::mount(name, options)))
}

fn put_inside(session: &ProofSession<'_>, trial: &Trial) -> Inside {
    let vocabulary = session.testbed().vocabulary();
    let object = |object: &Object| {
        let load = session.load_of(object, trial.criterion);
        session.put(|name| question::object(name, std::slice::from_ref(&trial.place), &load, vocabulary))
    };
    Inside {
        token: session.put(|name| question::token(name, &trial.place, vocabulary)),
        objects: trial.objects.iter().map(object).collect(),
    }
}

fn refusal(session: &ProofSession<'_>, trial: &Trial, asked: &Questions) -> Result<Option<Refusal>, NoProof> {
    let Some(mount) = &asked.mount else { return Ok(None) };
    session.read(Asked::Bpffs(trial.name.clone()), mount, |_, outcome| question::read_mount(outcome))
}

fn read(session: &ProofSession<'_>, trial: &Trial, asked: &Questions) -> Proof {
    let Some(inside) = &asked.inside else { return refused(session, trial, asked) };
    if let Ok(Some(_)) = refusal(session, trial, asked) {
        return refused(session, trial, asked);
    }
    let vocabulary = session.testbed().vocabulary();
    let stand = session.read(Asked::Container(trial.name.clone()), &inside.token, |asked, outcome| {
        question::read_token(asked, outcome, vocabulary)
    });
    let object = |(object, name): (&Object, &ScenarioName)| {
        let tried = Asked::Tried { object: object.name().to_owned(), within: trial.name.clone() };
        let read = session.read(tried, name, |asked, outcome| {
            Ok((object::read_objects(asked, outcome, vocabulary)?, question::read_unit(outcome)))
        });
        let (proof, unit) = match read {
            Ok((proofs, unit)) => (Ok(proofs.into_iter().next().expect("an outcome that fits its plan has one")), unit),
            Err(error) => (Err(error), None),
        };
        ProvedObject { object: object.name().to_owned(), proof, unit }
    };
    let objects = trial.objects.iter().zip(&inside.objects).map(object).collect();
    let stand = stand.map(|stand| Mount::Stands(Box::new(stand)));
    Proof { trial: trial.name.clone(), stand, objects }
}

fn refused(session: &ProofSession<'_>, trial: &Trial, asked: &Questions) -> Proof {
    let nothing = || session.no_proof(Asked::Bpffs(trial.name.clone()), Why::NotTried);
    let stand = refusal(session, trial, asked).and_then(|refusal| refusal.map(Mount::Refused).ok_or_else(nothing));
    Proof { trial: trial.name.clone(), stand, objects: Vec::new() }
}
