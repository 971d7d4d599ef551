//! A container or unit tried on kernels: what its bpffs shows, whether it makes a token, and what becomes of objects in it.

use harness_model::{
    name::{KernelName, ScenarioName},
    outcome::UnitFact,
    proof::{self, ObjectProof, Place, Stand},
    verdict::Refusal,
};

use super::{
    Criterion, NoProof, Object, ProofError,
    desk::{self, Desk},
};
use crate::testbed::Testbed;

/// One thing to try: a container or unit, and what is to be loaded in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// What it is called when it is told of.
    pub name: String,
    /// The container or unit.
    pub place: Place,
    /// What is loaded in it, each in a container of its own that is made the same. There may be none.
    pub objects: Vec<Object>,
    /// What is done with each of them.
    pub criterion: Criterion,
}

/// What came of a trial on one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The trial's name.
    pub trial: String,
    /// What became of its bpffs.
    pub stand: Result<Mount, NoProof>,
    /// What became of each object, in their order; none if its options are refused.
    pub objects: Vec<ProvedObject>,
}

/// What became of a bpffs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mount {
    /// The kernel refused an option: its step names the call and the option's key.
    Refused(Refusal),
    /// It stands in its container.
    Stands(Box<Stand>),
}

/// What became of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvedObject {
    /// Its name.
    pub object: String,
    /// What is known of it.
    pub proof: Result<ObjectProof, NoProof>,
    /// What systemd says of the unit it was tried in, if it was one.
    pub unit: Option<UnitFact>,
}

/// The questions of a trial.
#[derive(Default)]
struct Asked {
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
    let desks: Vec<Desk<'_>> = testbeds.iter().map(|testbed| Desk::new(testbed)).collect();
    let put = |desk: &Desk<'_>, trial: &Trial| {
        let refused = proof::is_refused(trial.place.options(), desk.testbed().vocabulary());
        Asked { mount: put_mount(desk, trial), inside: (!refused).then(|| put_inside(desk, trial)) }
    };
    let mut asked: Vec<Vec<Asked>> =
        desks.iter().map(|desk| trials.iter().map(|trial| put(desk, trial)).collect()).collect();
    desk::ask(&desks)?;
    if put_surprises(&desks, trials, &mut asked) {
        desk::ask(&desks)?;
    }
    let proofs = desks.iter().zip(&asked).map(|(desk, asked)| {
        let proofs = trials.iter().zip(asked).map(|(trial, asked)| read(desk, trial, asked)).collect();
        (desk.testbed().kernel_name().clone(), proofs)
    });
    Ok(proofs.collect())
}

/// Asks the rest of trials whose options were taken to be refused, and are not; whether there are any.
fn put_surprises(desks: &[Desk<'_>], trials: &[Trial], asked: &mut [Vec<Asked>]) -> bool {
    let mut any = false;
    for (desk, asked) in desks.iter().zip(asked) {
        for (trial, asked) in trials.iter().zip(asked).filter(|(_, asked)| asked.inside.is_none()) {
            if refusal(desk, trial, asked) == Ok(None) {
                asked.inside = Some(put_inside(desk, trial));
                any = true;
            }
        }
    }
    any
}

fn put_mount(desk: &Desk<'_>, trial: &Trial) -> Option<ScenarioName> {
    let options = trial.place.options();
    (!options.is_empty()).then(|| desk.put(|name| proof::mount(name, options)))
}

fn put_inside(desk: &Desk<'_>, trial: &Trial) -> Inside {
    let vocabulary = desk.testbed().vocabulary();
    let object = |object: &Object| {
        let load = desk.load_of(object, trial.criterion);
        desk.put(|name| proof::object(name, std::slice::from_ref(&trial.place), &load, vocabulary))
    };
    Inside {
        token: desk.put(|name| proof::token(name, &trial.place, vocabulary)),
        objects: trial.objects.iter().map(object).collect(),
    }
}

fn refusal(desk: &Desk<'_>, trial: &Trial, asked: &Asked) -> Result<Option<Refusal>, NoProof> {
    let Some(mount) = &asked.mount else { return Ok(None) };
    desk.read(&format!("the bpffs of {}", trial.name), mount, |_, outcome| proof::read_mount(outcome))
}

fn read(desk: &Desk<'_>, trial: &Trial, asked: &Asked) -> Proof {
    let Some(inside) = &asked.inside else { return refused(desk, trial, asked) };
    if let Ok(Some(_)) = refusal(desk, trial, asked) {
        return refused(desk, trial, asked);
    }
    let vocabulary = desk.testbed().vocabulary();
    let what = format!("the container of {}", trial.name);
    let stand = desk.read(&what, &inside.token, |asked, outcome| proof::read_token(asked, outcome, vocabulary));
    let object = |(object, name): (&Object, &ScenarioName)| {
        let what = format!("{} in {}", object.name(), trial.name);
        let read = desk.read(&what, name, |asked, outcome| {
            Ok((proof::read_objects(asked, outcome, vocabulary)?, proof::read_unit(outcome)))
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

fn refused(desk: &Desk<'_>, trial: &Trial, asked: &Asked) -> Proof {
    let nothing = || NoProof {
        what: format!("the bpffs of {}", trial.name),
        kernel: desk.testbed().kernel_name().clone(),
        why: "its options were neither refused nor tried".to_owned(),
    };
    let stand = refusal(desk, trial, asked).and_then(|refusal| refusal.map(Mount::Refused).ok_or_else(nothing));
    Proof { trial: trial.name.clone(), stand, objects: Vec::new() }
}
