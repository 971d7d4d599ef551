//! The requests of a run, and their state: outcomes from the store and from VMs.

use std::{collections::BTreeMap, mem, sync::Mutex};

use harness_protocol::{
    name::{KernelName, ScenarioName},
    outcome::ScenarioOutcome,
};
use harness_scenario::expanded::Expanded;
use harness_snapshot::allowed_splats::AllowedSplats;
use rayon::{iter::Either, prelude::*};

use crate::{
    batches::{Batch, batches},
    capacity::{Pace, lock},
    identity::Artefacts,
    launch::LaunchError,
    store::{Key, Store, StoreError},
    testbed::Testbed,
};

/// Converts an outcome to the requested value, and says whether it differs from what is recorded or expected.
pub type Read<'a, T> = dyn Fn(&Expanded, &ScenarioOutcome) -> (T, bool) + Sync + 'a;

/// Shows a value to who waits for it.
pub type Show<'a, T> = dyn Fn(&T) + Sync + 'a;

/// A request for outcomes of scenarios on one testbed.
pub struct RunRequest<'a, T> {
    /// The testbed.
    pub testbed: &'a Testbed<'a>,
    /// The scenarios whose outcomes are requested.
    pub wanted: Vec<&'a Expanded>,
    /// The splats after which a VM may go on.
    pub allowed_splats: &'a AllowedSplats,
    /// Called once for each outcome, as soon as it is available.
    pub read: Box<Read<'a, T>>,
    /// Called once for each value, as soon as it is known, if VMs are started; if all outcomes are stored, the values are all
    /// there at once, and it is not called.
    pub show: Box<Show<'a, T>>,
}

/// The result of a request.
pub struct Fulfilled<T> {
    /// The values by scenario; a scenario that could not be run has none.
    pub read: BTreeMap<ScenarioName, T>,
    /// The error, if some scenarios could not be run.
    pub error: Option<LaunchError>,
}

/// The state of a request: the known values and the missing scenarios. New outcomes are stored when they arrive, and
/// not read back.
pub(super) struct RequestState<'a, T> {
    store: &'a Store,
    pub(super) kernel: &'a KernelName,
    read: &'a Read<'a, T>,
    show: &'a Show<'a, T>,
    missing: Mutex<Vec<Missing<'a>>>,
    known: Mutex<BTreeMap<ScenarioName, T>>,
}

/// A scenario without an outcome.
struct Missing<'a> {
    expanded: &'a Expanded,
    key: Key,
    /// How long it took when it last finished.
    micros: Option<u64>,
}

impl<'a, T: Send> RequestState<'a, T> {
    /// Creates the state of a request, and looks up its scenarios in the store.
    pub(super) fn open(
        store: &'a Store,
        kernel: &'a KernelName,
        artefacts: &Artefacts,
        wanted: &[&'a Expanded],
        (read, show): (&'a Read<'a, T>, &'a Show<'a, T>),
    ) -> Self {
        let missing =
            |expanded: &&'a Expanded| Missing { expanded, key: Key::of(artefacts, &expanded.plan), micros: None };
        let missing = Mutex::new(wanted.par_iter().map(missing).collect());
        let state = Self { store, kernel, read, show, missing, known: Mutex::default() };
        state.look_up();
        state
    }

    /// Looks up the missing outcomes in the store.
    pub(super) fn look_up(&self) {
        let (mut missing, mut known) = (lock(&self.missing), lock(&self.known));
        let look_up = |one: Missing<'a>| match self.store.look_up(&one.key) {
            Some(stored) if stored.is_reusable => {
                let (read, _) = (self.read)(one.expanded, &stored.outcome);
                Either::Left((stored.outcome.scenario, read))
            }
            stored => Either::Right(Missing { micros: stored.and_then(|stored| stored.micros()), ..one }),
        };
        let (found, rest): (Vec<_>, Vec<_>) = mem::take(&mut *missing).into_par_iter().partition_map(look_up);
        known.extend(found);
        *missing = rest;
    }

    /// Shows the values that are known before VMs are started.
    pub(super) fn show_known(&self) {
        lock(&self.known).values().for_each(self.show);
    }

    pub(super) fn is_complete(&self) -> bool {
        lock(&self.missing).is_empty()
    }

    /// Divides the missing scenarios into batches for as many VMs at once as `vms` says.
    pub(super) fn batches(&self, vms: impl Fn(Pace) -> usize) -> Vec<Batch> {
        let all: Vec<_> = lock(&self.missing).iter().map(|missing| (missing.expanded, missing.micros)).collect();
        batches(&all, vms)
    }

    /// Takes an outcome from a VM and stores it; returns whether it differs. An outcome counts only if it was stored:
    /// after a failure, which `kept` holds, no further one counts.
    pub(super) fn take(&self, outcome: &ScenarioOutcome, kept: &mut Result<(), StoreError>) -> bool {
        let missing = {
            let mut missing = lock(&self.missing);
            let index = missing.iter().position(|missing| missing.expanded.plan.name == outcome.scenario);
            index.map(|index| missing.swap_remove(index))
        };
        let Some(Missing { expanded, key, .. }) = missing else { return false };
        let (read, differs) = (self.read)(expanded, outcome);
        if kept.is_ok() {
            *kept = self.store.keep(self.kernel, &key, outcome);
        }
        if kept.is_ok() {
            (self.show)(&read);
            lock(&self.known).insert(outcome.scenario.clone(), read);
        }
        differs
    }

    /// Returns all values.
    pub(super) fn into_read(self) -> BTreeMap<ScenarioName, T> {
        mem::take(&mut *lock(&self.known))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::Path,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use harness_protocol::{outcome::ScenarioEnd, plan::Scenario};
    use harness_scenario::spec::Isolation;

    use super::*;
    use crate::store::{
        Freshness, RunId,
        sample::{self, artefacts},
    };

    fn expanded(name: &str) -> Expanded {
        let plan = Scenario::new(name.parse().unwrap(), 1, Vec::new());
        Expanded { summary: String::new(), isolation: Isolation::Shared, cases: vec![], grid: None, plan }
    }

    fn outcome(scenario: &str, micros: u64) -> ScenarioOutcome {
        sample::outcome(scenario, ScenarioEnd::Finished { micros })
    }

    fn store(folder: &Path) -> Store {
        Store::new(folder.to_owned(), RunId::current(), Freshness::Any)
    }

    #[test]
    fn an_outcome_is_read_from_the_store_once_and_judged_once() {
        let folder = tempfile::tempdir().unwrap();
        let (store, kernel, artefacts) = (store(folder.path()), "6.12".parse().unwrap(), artefacts());
        let all = ["old", "other", "new"].map(expanded);
        let wanted: Vec<&Expanded> = all.iter().collect();
        store.keep(&kernel, &Key::of(&artefacts, &all[0].plan), &outcome("old", 1)).unwrap();
        let judged = AtomicUsize::new(0);
        let read = |_: &Expanded, outcome: &ScenarioOutcome| {
            judged.fetch_add(1, Ordering::Relaxed);
            (outcome.end.clone(), true)
        };
        let shown = AtomicUsize::new(0);
        let show = |_: &ScenarioEnd| {
            shown.fetch_add(1, Ordering::Relaxed);
        };
        let state = RequestState::open(&store, &kernel, &artefacts, &wanted, (&read, &show));
        // Another process stores one while this one waits.
        store.keep(&kernel, &Key::of(&artefacts, &all[1].plan), &outcome("other", 2)).unwrap();
        state.look_up();
        assert!(!state.is_complete());
        assert_eq!(shown.load(Ordering::Relaxed), 0, "no VM has been started");
        state.show_known();
        assert_eq!(shown.load(Ordering::Relaxed), 2);
        let batches = state.batches(|_| 1);
        assert_eq!(batches[0].scenarios, [all[2].plan.clone()]);
        // Known outcomes are not looked up again.
        fs::remove_dir_all(folder.path()).unwrap();
        assert!(state.take(&outcome("new", 3), &mut Ok(())));
        assert!(state.is_complete() && store.look_up(&Key::of(&artefacts, &all[2].plan)).is_some());
        fs::remove_dir_all(folder.path()).unwrap();
        let micros: Vec<u64> = state
            .into_read()
            .into_values()
            .map(|end| match end {
                ScenarioEnd::Finished { micros } => micros,
                _ => 0,
            })
            .collect();
        assert_eq!((micros, judged.into_inner(), shown.into_inner()), (vec![3, 1, 2], 3, 3));
    }

    #[test]
    fn an_outcome_that_cannot_be_stored_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        let (store, kernel, one) = (store(&file), "6.12".parse().unwrap(), expanded("one"));
        let read = |_: &Expanded, _: &ScenarioOutcome| ((), true);
        let state = RequestState::open(&store, &kernel, &artefacts(), &[&one], (&read, &|()| panic!("it is not kept")));
        let mut kept = Ok(());
        assert!(state.take(&outcome("one", 1), &mut kept), "the difference is still shown");
        assert!(kept.is_err() && state.into_read().is_empty());
    }
}
