//! Divides scenarios into batches that share a boot.

use harness_protocol::plan::{Case, Scenario};
use harness_scenario::{expanded::Expanded, spec::Isolation};

use crate::capacity::Pace;

/// The least amount of work that is worth another boot, in attempts: a boot takes as long as about a thousand.
const WORTH_A_BOOT: usize = 1000;

/// The approximate time of an attempt with its controls, in microseconds under emulation, where batching matters most.
const ATTEMPT_MICROS: u64 = 8000;

/// The cost of a container, in attempts.
const CONTAINER: usize = 10;

/// The cost of a guard that a scenario brings, in attempts: it takes about three seconds to be loaded and to end.
const GUARD: usize = 400;

/// A scenario and its approximate cost, in attempts.
type Sized<'a> = (&'a Expanded, usize);

/// Scenarios that share one boot of a VM, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) scenarios: Vec<Scenario>,
    /// Their approximate cost including the boot, in attempts.
    pub(crate) size: usize,
    /// What their VM does for most of its time.
    pub(crate) pace: Pace,
}

/// Divides scenarios into batches for as many VMs at once as `vms` says. Scenarios that may share a VM are spread evenly,
/// as long as each batch is worth a boot, those with a guard of their own apart from the others, if both are worth a
/// boot; every other scenario has its own VM. A batch keeps the order of its scenarios. Each scenario comes with the
/// time that it last took in microseconds, if known.
pub(crate) fn batches(scenarios: &[(&Expanded, Option<u64>)], vms: impl Fn(Pace) -> usize) -> Vec<Batch> {
    let sized = scenarios.iter().map(|&(expanded, micros)| (expanded, size(&expanded.plan, micros)));
    let (shared, alone): (Vec<Sized<'_>>, Vec<Sized<'_>>) =
        sized.partition(|(expanded, _)| expanded.isolation == Isolation::Shared);
    let (waiting, working): (Vec<_>, Vec<_>) =
        shared.iter().copied().partition(|(expanded, _)| pace(&expanded.plan) == Pace::Waiting);
    let groups = if [&waiting, &working].iter().all(|group| worth(group) > 0) {
        vec![(working, Pace::Working), (waiting, Pace::Waiting)]
    } else {
        vec![(shared, if working.is_empty() { Pace::Waiting } else { Pace::Working })]
    };
    let spread = groups.into_iter().flat_map(|(group, pace)| {
        let count = vms(pace).min(worth(&group)).max(1);
        spread(group, count).into_iter().map(move |batch| (batch, pace))
    });
    let alone = alone.into_iter().map(|one| (vec![one], pace(&one.0.plan)));
    spread.chain(alone).map(|(batch, pace)| Batch::of(batch, pace)).collect()
}

fn pace(scenario: &Scenario) -> Pace {
    if scenario.guard.is_some() { Pace::Waiting } else { Pace::Working }
}

/// Returns how many boots scenarios are worth.
fn worth(scenarios: &[Sized<'_>]) -> usize {
    scenarios.iter().map(|(_, size)| size).sum::<usize>() / WORTH_A_BOOT
}

impl Batch {
    fn of(scenarios: Vec<Sized<'_>>, pace: Pace) -> Self {
        let size: usize = scenarios.iter().map(|(_, size)| size).sum();
        let scenarios = scenarios.into_iter().map(|(expanded, _)| expanded.plan.clone()).collect();
        Self { scenarios, size: size + WORTH_A_BOOT, pace }
    }
}

/// Assigns the largest scenario first, each to the batch with the least work; empty batches are dropped.
fn spread(scenarios: Vec<Sized<'_>>, count: usize) -> Vec<Vec<Sized<'_>>> {
    let mut by_size: Vec<usize> = (0..scenarios.len()).collect();
    by_size.sort_by_key(|index| std::cmp::Reverse(scenarios[*index].1));
    let mut bins = vec![(0, Vec::new()); count];
    for index in by_size {
        let least = bins.iter_mut().min_by_key(|(size, _)| *size).expect("there is at least one");
        least.0 += scenarios[index].1;
        least.1.push(index);
    }
    let batch = |mut indices: Vec<usize>| {
        indices.sort_unstable();
        indices.into_iter().map(|index| scenarios[index]).collect()
    };
    bins.into_iter().map(|(_, indices)| indices).filter(|indices| !indices.is_empty()).map(batch).collect()
}

/// Estimates the cost of a scenario in attempts, by the time it last took, or otherwise by its plan.
fn size(scenario: &Scenario, micros: Option<u64>) -> usize {
    let of = |case: &Case| case.attempts.len() + CONTAINER * case.containers.len();
    match micros {
        Some(micros) => usize::try_from(micros / ATTEMPT_MICROS).unwrap_or(usize::MAX).min(usize::MAX / 1024),
        None => scenario.cases.iter().map(of).sum::<usize>() + scenario.guard.as_ref().map_or(0, |_| GUARD),
    }
}

#[cfg(test)]
mod tests {
    use harness_protocol::plan::{Actor, Attempt, Call, Token};

    use super::*;

    fn expanded(name: &str, isolation: Isolation, attempts: usize) -> Expanded {
        let attempt = Attempt::new(Actor::Host, Token::None, Call::BtfLoad);
        let case = Case { sysctls: Default::default(), containers: Vec::new(), attempts: vec![attempt; attempts] };
        let plan = Scenario::new(name.parse().unwrap(), 1, vec![case]);
        Expanded { summary: String::new(), isolation, cases: Vec::new(), grid: None, plan }
    }

    fn names(all: &[Expanded], vms: usize) -> Vec<Vec<String>> {
        let batches = batches(&all.iter().map(|one| (one, None)).collect::<Vec<_>>(), |_| vms);
        batches.iter().map(|batch| batch.scenarios.iter().map(|scenario| scenario.name.to_string()).collect()).collect()
    }

    #[test]
    fn scenarios_share_a_boot_unless_they_ask_for_their_own() {
        let all = [
            expanded("a", Isolation::Vm, 1),
            expanded("b", Isolation::Shared, 1),
            expanded("c", Isolation::Vm, 1),
            expanded("d", Isolation::Shared, 1),
        ];
        assert_eq!(names(&all, 1), [vec!["b", "d"], vec!["a"], vec!["c"]]);
        assert_eq!(names(&all, 8), names(&all, 1), "so few attempts are not worth a second boot");
        assert!(names(&[], 4).is_empty());
    }

    #[test]
    fn enough_work_is_spread_evenly() {
        let shared = |(name, attempts)| expanded(name, Isolation::Shared, attempts);
        let all = [("a", 300), ("b", 1100), ("c", 200), ("d", 900)].map(shared);
        assert_eq!(names(&all, 1), [vec!["a", "b", "c", "d"]]);
        assert_eq!(names(&all, 2), [vec!["b", "c"], vec!["a", "d"]]);
        assert_eq!(names(&all, 9).len(), 2, "there is too little work for a third");
    }

    #[test]
    fn what_waits_is_apart_from_what_works_if_both_are_worth_a_boot() {
        let guarded = |mut one: Expanded| {
            one.plan.guard = Some(harness_protocol::plan::Guard::new(""));
            one
        };
        let shared = |name, attempts| expanded(name, Isolation::Shared, attempts);
        let all = |attempts| {
            [
                guarded(shared("a", attempts)),
                shared("b", 1100),
                guarded(shared("c", attempts)),
                guarded(expanded("d", Isolation::Vm, 1)),
            ]
        };
        assert_eq!(names(&all(200), 1), [vec!["b"], vec!["a", "c"], vec!["d"]]);
        assert_eq!(names(&all(50), 1), [vec!["a", "b", "c"], vec!["d"]], "those under a guard are not worth a boot");
        let all = all(600);
        let vms = |pace| if pace == Pace::Waiting { 2 } else { 1 };
        let paces = |batches: Vec<Batch>| batches.iter().map(|batch| batch.pace).collect::<Vec<_>>();
        let batches = batches(&all.iter().map(|one| (one, None)).collect::<Vec<_>>(), vms);
        assert_eq!(paces(batches), [Pace::Working, Pace::Waiting, Pace::Waiting, Pace::Waiting]);
    }
}
