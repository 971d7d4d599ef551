//! Tries a container or unit on kernels: what its bpffs shows, whether it can create a token, and which objects load in
//! it.

use harness_proof::{object, question, setting::TrialSite};
use harness_protocol::name::{KernelName, ScenarioName};
use harness_verdict::verdict::Refusal;

use super::{
    ProofError,
    object::Object,
    proved::{Asked, Criterion, Mount, NoProof, Proof, ProvedObject, Reason},
    session::{self, ProofSession},
};
use crate::testbed::Testbed;

/// A trial: a container or unit, and the objects to load in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Its name in results.
    pub name: String,
    /// The container or unit.
    pub site: TrialSite,
    /// The objects to load, each in a fresh copy of the container. There may be none.
    pub objects: Vec<Object>,
    /// When an object counts as working.
    pub criterion: Criterion,
}

/// The questions of a trial.
#[derive(Default)]
struct Questions {
    /// `None` if there are no options.
    mount: Option<ScenarioName>,
    /// `None` if the kernel refuses the options.
    inside: Option<Inside>,
}

struct Inside {
    token: ScenarioName,
    objects: Vec<ScenarioName>,
}

/// Runs all trials on each of these kernels, all trials of a kernel in one VM.
///
/// # Errors
/// [`ProofError::Launch`] if no VM can be run. A question without an answer is reported in its result.
pub fn prove(testbeds: &[&Testbed<'_>], trials: &[Trial]) -> Result<Vec<(KernelName, Vec<Proof>)>, ProofError> {
    let sessions: Vec<ProofSession<'_>> = testbeds.iter().map(|testbed| ProofSession::new(testbed)).collect();
    let put = |session: &ProofSession<'_>, trial: &Trial| {
        let refused = question::is_refused(trial.site.options(), session.testbed().vocabulary());
        Questions { mount: put_mount(session, trial), inside: (!refused).then(|| put_inside(session, trial)) }
    };
    let mut asked: Vec<Vec<Questions>> =
        sessions.iter().map(|session| trials.iter().map(|trial| put(session, trial)).collect()).collect();
    session::ask(&sessions)?;
    if put_unexpected(&sessions, trials, &mut asked) {
        session::ask(&sessions)?;
    }
    let proofs = sessions.iter().zip(&asked).map(|(session, asked)| {
        let proofs = trials.iter().zip(asked).map(|(trial, asked)| read(session, trial, asked)).collect();
        (session.testbed().kernel_name().clone(), proofs)
    });
    Ok(proofs.collect())
}

/// Adds the remaining questions of trials whose options were expected to be refused but are not; returns whether there
/// are any.
fn put_unexpected(sessions: &[ProofSession<'_>], trials: &[Trial], asked: &mut [Vec<Questions>]) -> bool {
    let mut any = false;
    for (session, asked) in sessions.iter().zip(asked) {
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
    let options = trial.site.options();
    (!options.is_empty()).then(|| session.put(|name| question::mount(name, options)))
}

fn put_inside(session: &ProofSession<'_>, trial: &Trial) -> Inside {
    let vocabulary = session.testbed().vocabulary();
    let object = |object: &Object| {
        let load = session.load_of(object, trial.criterion);
        session.put(|name| question::object(name, std::slice::from_ref(&trial.site), &load, vocabulary))
    };
    Inside {
        token: session.put(|name| question::token(name, &trial.site, vocabulary)),
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
    let mount = session.read(Asked::Container(trial.name.clone()), &inside.token, |asked, outcome| {
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
    let mount = mount.map(|probe| Mount::Mounted(Box::new(probe)));
    Proof { trial: trial.name.clone(), mount, objects }
}

fn refused(session: &ProofSession<'_>, trial: &Trial, asked: &Questions) -> Proof {
    let nothing = || session.no_proof(Asked::Bpffs(trial.name.clone()), Reason::NotTried);
    let mount = refusal(session, trial, asked).and_then(|refusal| refusal.map(Mount::Refused).ok_or_else(nothing));
    Proof { trial: trial.name.clone(), mount, objects: Vec::new() }
}
