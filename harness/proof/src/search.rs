//! Decides which grants to try next, until one is found from which nothing can be removed.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use harness_uapi::permission::{Capability, Element};

/// A grant as a set of elements.
pub type Elements = BTreeSet<Element>;

/// The next step of the search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SearchStep {
    /// Find out whether these work.
    Try(Vec<Elements>),
    /// This works, and does not work without any single element.
    Minimal(Elements),
    /// The initial grant does not work.
    Insufficient,
}

/// Decides by what was tried, and always the same for the same results. Nothing is concluded from what should be needed,
/// nor that a smaller grant works because a larger one does.
pub(super) fn search(initial: &Elements, tried: &BTreeMap<Elements, bool>) -> SearchStep {
    let unknown = |wanted: Vec<Elements>| -> Vec<Elements> {
        let fresh: BTreeSet<Elements> = wanted.into_iter().filter(|one| !tried.contains_key(one)).collect();
        fresh.into_iter().collect()
    };
    match tried.get(initial) {
        // All single removals at once: usually this is the only round.
        None => return SearchStep::Try(unknown([vec![initial.clone()], singles(initial)].concat())),
        Some(false) => return SearchStep::Insufficient,
        Some(true) => {}
    }
    let mut base = initial.clone();
    loop {
        let open = unknown(singles(&base));
        if !open.is_empty() {
            return SearchStep::Try(open);
        }
        let works = |one: &Elements| tried.get(one) == Some(&true);
        let mut idle: Vec<Element> = base.iter().copied().filter(|one| works(&without(&base, *one))).collect();
        idle.sort_by_key(|one| rank(*one));
        if idle.is_empty() {
            return SearchStep::Minimal(base);
        }
        let left = |count: usize| base.iter().copied().filter(|one| !idle[..count].contains(one)).collect();
        let fewer: Vec<Elements> = counts(idle.len()).map(left).collect();
        let open = unknown(fewer.clone());
        if !open.is_empty() {
            // If all of them can be removed together, this already answers the next round.
            return SearchStep::Try(unknown([open, singles(&fewer[0])].concat()));
        }
        base = fewer.into_iter().find(works).expect("without the first of them it works");
    }
}

/// Returns how many elements to leave out at once: all, then fewer. If there are few, every number, since a round costs more
/// than a load; if there are many, repeated halves.
fn counts(all: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(all), |count| if *count > FEW { Some(count / 2) } else { count.checked_sub(1) })
        .take_while(|count| *count > 0)
}

/// About the number of loads that take as long as a boot, divided by the trials of each.
const FEW: usize = 16;

fn singles(of: &Elements) -> Vec<Elements> {
    of.iter().map(|one| without(of, *one)).collect()
}

fn without(all: &Elements, one: Element) -> Elements {
    all.iter().copied().filter(|other| *other != one).collect()
}

/// Sort key: elements that should rather be removed come first. These are elements that stand for others, then far-reaching
/// ones, then newer ones.
fn rank(element: Element) -> (u8, Reverse<u32>) {
    match element {
        Element::Capability(Capability::SysAdmin) => (0, Reverse(0)),
        Element::Capability(Capability::SysBoot) => (1, Reverse(0)),
        Element::Capability(Capability::Perfmon) => (2, Reverse(0)),
        Element::Capability(Capability::NetAdmin) => (3, Reverse(0)),
        Element::Capability(Capability::Bpf) => (4, Reverse(0)),
        Element::Bit(bit) => (5, Reverse(bit.number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_uapi::{permission::Bit, vocabulary::Kind};

    fn map(number: u32) -> Element {
        Element::Bit(Bit { kind: Kind::Map, number })
    }

    fn cap(capability: Capability) -> Element {
        Element::Capability(capability)
    }

    /// Runs a search in which `works` decides; returns its result and the number of rounds and trials.
    fn carried_out(initial: &[Element], works: impl Fn(&Elements) -> bool) -> (Option<Vec<Element>>, usize, usize) {
        let (initial, mut tried, mut rounds) = (initial.iter().copied().collect(), BTreeMap::new(), 0);
        loop {
            match search(&initial, &tried) {
                SearchStep::Try(wanted) => {
                    assert!(!wanted.is_empty() && wanted.iter().all(|one| !tried.contains_key(one)), "{wanted:?}");
                    rounds += 1;
                    tried.extend(wanted.into_iter().map(|one| (one.clone(), works(&one))));
                }
                SearchStep::Minimal(found) => return (Some(found.into_iter().collect()), rounds, tried.len()),
                SearchStep::Insufficient => return (None, rounds, tried.len()),
            }
        }
    }

    #[test]
    fn what_is_minimal_is_known_after_one_round() {
        let all = [map(1), map(2), cap(Capability::Bpf)];
        assert_eq!(carried_out(&all, |given| given.len() == 3), (Some(all.to_vec()), 1, 4));
    }

    #[test]
    fn what_can_be_missed_is_gone_after_two() {
        let needed = [map(1), cap(Capability::Bpf)];
        let all = [map(1), map(2), map(3), cap(Capability::Perfmon), cap(Capability::Bpf)];
        let found = carried_out(&all, |given| needed.iter().all(|one| given.contains(one)));
        assert_eq!((found.0, found.1), (Some(needed.to_vec()), 2));
    }

    #[test]
    fn of_two_that_stand_for_each_other_the_mightier_goes() {
        let all = [cap(Capability::NetAdmin), cap(Capability::SysAdmin), map(1), map(5)];
        let works = |given: &Elements| {
            (given.contains(&all[0]) || given.contains(&all[1])) && (given.contains(&all[2]) || given.contains(&all[3]))
        };
        assert_eq!(carried_out(&all, works).0, Some(vec![map(1), cap(Capability::NetAdmin)]));
    }

    #[test]
    fn it_ends_also_where_less_works_and_more_does_not() {
        let all: Vec<Element> = (0..6).map(map).collect();
        let (found, ..) = carried_out(&all, |given| given.len() % 2 == 0);
        let found: Elements = found.unwrap().into_iter().collect();
        assert!(singles(&found).iter().all(|one| one.len() % 2 == 1));
    }

    #[test]
    fn much_that_is_not_needed_costs_few_trials() {
        let all: Vec<Element> = (0..64).map(map).collect();
        let (found, rounds, trials) = carried_out(&all, |given| given.contains(&map(7)) && given.contains(&map(40)));
        assert_eq!((found, rounds), (Some(vec![map(7), map(40)]), 2));
        assert!(trials < 64 + 1 + FEW + 8, "{trials}");
    }

    #[test]
    fn what_does_not_work_to_begin_with_is_told() {
        assert_eq!(carried_out(&[map(1)], |_| false).0, None);
        assert_eq!(carried_out(&[], |_| true), (Some(vec![]), 1, 1));
    }
}
