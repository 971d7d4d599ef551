//! Removes elements from a grant until none can be spared, and remembers what each is needed for.

use std::collections::BTreeMap;

use harness_protocol::outcome::Feature;
use harness_uapi::permission::{Element, Grant};

use crate::{
    object::{ObjectDefect, ObjectProof},
    search::{self, Elements, SearchStep},
};

/// The reduction of a grant for some objects, while it is in progress.
#[derive(Clone, Debug)]
pub struct Minimizer {
    initial: Elements,
    /// The objects that failed with each grant tried; empty where all worked.
    tried: BTreeMap<Elements, Vec<FailedObject>>,
    lost: BTreeMap<Elements, Vec<(String, Feature)>>,
    rounds: u32,
    loads: u32,
}

/// An object that does not work, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedObject {
    /// The object's name.
    pub object: String,
    /// What is wrong with it.
    pub defect: ObjectDefect,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Try each of these grants with each object.
    Try(Vec<Elements>),
    /// The reduction is complete.
    Known(Reduction),
}

/// The result of a reduction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// A grant from which nothing can be removed.
    Minimal(Minimal),
    /// The initial grant is not enough; these objects fail with it.
    Insufficient(Vec<FailedObject>),
}

/// A 1-minimal grant: with it every object works, and without any single element at least one fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minimal {
    /// The grant.
    pub grant: Grant,
    /// The objects that fail without each of its elements.
    pub needed: BTreeMap<Element, Vec<FailedObject>>,
    /// The elements of the initial grant that are not needed.
    pub superfluous: Elements,
    /// The features that libbpf silently does without under this grant, by object.
    pub lost: Vec<(String, Feature)>,
    /// The number of rounds of trials.
    pub rounds: u32,
    /// The number of loads in containers, without controls.
    pub loads: u32,
}

impl Minimizer {
    /// Starts from a grant that is believed to be enough.
    pub fn new(grant: &Grant) -> Self {
        let (tried, lost) = Default::default();
        Self { initial: grant.elements().collect(), tried, lost, rounds: 0, loads: 0 }
    }

    /// What to do next.
    pub fn next(&self) -> NextStep {
        let works = self.tried.iter().map(|(given, needs)| (given.clone(), needs.is_empty())).collect();
        match search::search(&self.initial, &works) {
            SearchStep::Try(grants) => NextStep::Try(grants),
            SearchStep::Insufficient => NextStep::Known(Reduction::Insufficient(self.tried[&self.initial].clone())),
            SearchStep::Minimal(found) => NextStep::Known(Reduction::Minimal(self.minimal(&found))),
        }
    }

    /// Records how each object, by name, loaded with each of the grants of a round.
    pub fn note(&mut self, round: Vec<(Elements, Vec<(String, ObjectProof)>)>) {
        self.rounds += 1;
        for (given, proofs) in round {
            self.loads += proofs.len() as u32;
            let lost = |(object, proof): &(String, ObjectProof)| {
                let object = object.clone();
                proof.lost.clone().into_iter().map(move |feature| (object.clone(), feature)).collect::<Vec<_>>()
            };
            self.lost.insert(given.clone(), proofs.iter().flat_map(lost).collect());
            let need = |(object, proof): (String, ObjectProof)| Some(FailedObject { object, defect: proof.defect()? });
            self.tried.insert(given, proofs.into_iter().filter_map(need).collect());
        }
    }

    fn minimal(&self, found: &Elements) -> Minimal {
        let without = |one: &Element| found.iter().copied().filter(|other| other != one).collect::<Elements>();
        let needs = |one: &Element| self.tried.get(&without(one)).cloned().unwrap_or_default();
        Minimal {
            grant: Grant::of(found.iter().copied()),
            needed: found.iter().map(|one| (*one, needs(one))).collect(),
            superfluous: self.initial.difference(found).copied().collect(),
            lost: self.lost.get(found).cloned().unwrap_or_default(),
            rounds: self.rounds,
            loads: self.loads,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_protocol::errno::Errno;
    use harness_uapi::{
        permission::{Bit, Capability},
        vocabulary::Kind,
    };
    use harness_verdict::verdict::{Refusal, Verdict};

    fn proof(works: bool) -> ObjectProof {
        let refusal = Refusal { errno: Errno::EPERM, step: Some("load".to_owned()) };
        let verdict = if works { Verdict::Allowed { detail: None } } else { Verdict::Denied(refusal) };
        let (calls, lost, not_made) = Default::default();
        ObjectProof { verdict, cause: None, calls, is_program: false, omitted: 0, lost, not_made }
    }

    const HASH: Element = Element::Bit(Bit { kind: Kind::Map, number: 1 });
    const ARRAY: Element = Element::Bit(Bit { kind: Kind::Map, number: 2 });
    const BPF: Element = Element::Capability(Capability::Bpf);

    fn carried_out(grant: &Grant, needed: &[(&str, Element)]) -> Reduction {
        let mut minimizer = Minimizer::new(grant);
        loop {
            let grants = match minimizer.next() {
                NextStep::Known(reduction) => return reduction,
                NextStep::Try(grants) => grants,
            };
            let tried = |given: Elements| {
                let proof =
                    |(object, element): &(&str, Element)| ((*object).to_owned(), proof(given.contains(element)));
                let proofs = needed.iter().map(proof).collect();
                (given, proofs)
            };
            minimizer.note(grants.into_iter().map(tried).collect());
        }
    }

    #[test]
    fn each_element_is_told_with_the_objects_that_need_it() {
        let reduction = carried_out(&Grant::of([HASH, ARRAY, BPF]), &[("one", HASH), ("two", BPF)]);
        let Reduction::Minimal(minimal) = reduction else { panic!("{reduction:?}") };
        assert_eq!(minimal.grant, Grant::of([HASH, BPF]));
        let objects = |element: Element| -> Vec<&str> {
            minimal.needed[&element].iter().map(|need| need.object.as_str()).collect()
        };
        assert_eq!((objects(HASH), objects(BPF)), (vec!["one"], vec!["two"]));
        assert_eq!(minimal.needed[&HASH][0].defect.to_string(), "load: denied EPERM");
        assert_eq!(minimal.superfluous, [ARRAY].into());
        assert_eq!((minimal.rounds, minimal.loads), (2, 12));
    }

    #[test]
    fn too_little_is_told_with_what_fails() {
        let reduction = carried_out(&Grant::of([HASH]), &[("one", HASH), ("two", BPF)]);
        let Reduction::Insufficient(needs) = reduction else { panic!("{reduction:?}") };
        assert_eq!(needs.iter().map(|need| need.object.as_str()).collect::<Vec<_>>(), ["two"]);
    }
}
