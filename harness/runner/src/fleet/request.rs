//! What one testbed is asked, and what is known of it: outcomes that the store has, and those that VMs add.

use std::{collections::BTreeMap, mem, sync::Mutex};

use harness_protocol::{
    name::{KernelName, ScenarioName},
    outcome::ScenarioOutcome,
};
use harness_scenario::expanded::Expanded;

use crate::{
    batches::{Batch, batches},
    capacity::lock,
    identity::Artefacts,
    launch::LaunchError,
    store::{Key, Store, StoreError},
    testbed::Testbed,
};

/// Makes of an outcome what is wanted of it, and says whether it differs from what is recorded or expected.
pub type Read<'a, T> = dyn Fn(&Expanded, &ScenarioOutcome) -> (T, bool) + Sync + 'a;

/// What one testbed's VMs are to do.
pub struct RunRequest<'a, T> {
    /// The testbed.
    pub testbed: &'a Testbed<'a>,
    /// The scenarios whose outcomes are wanted.
    pub wanted: Vec<&'a Expanded>,
    /// Called once for each outcome, when it is there.
    pub read: Box<Read<'a, T>>,
}

/// What an order came to.
pub struct Fulfilled<T> {
    /// What was read, by scenario; one that could not be run is not among them.
    pub read: BTreeMap<ScenarioName, T>,
    /// Why some are not, if so.
    pub error: Option<LaunchError>,
}

/// What is known of an order, and what is missing. The store is a cache beside it: what came is kept there when it comes, and
/// not read again.
pub(super) struct RequestState<'a, T> {
    store: &'a Store,
    pub(super) kernel: &'a KernelName,
    read: &'a Read<'a, T>,
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

impl<'a, T> RequestState<'a, T> {
    /// What the store knows of these scenarios.
    pub(super) fn open(
        store: &'a Store,
        kernel: &'a KernelName,
        artefacts: &Artefacts,
        wanted: &[&'a Expanded],
        read: &'a Read<'a, T>,
    ) -> Self {
        let missing =
            |expanded: &&'a Expanded| Missing { expanded, key: Key::of(artefacts, &expanded.plan), micros: None };
        let missing = Mutex::new(wanted.iter().map(missing).collect());
        let ledger = Self { store, kernel, read, missing, known: Mutex::default() };
        ledger.look_up();
        ledger
    }

    /// Looks up what is missing.
    pub(super) fn look_up(&self) {
        let (mut missing, mut known) = (lock(&self.missing), lock(&self.known));
        for one in mem::take(&mut *missing) {
            match self.store.look_up(&one.key) {
                Some(stored) if stored.is_believed => {
                    let (read, _) = (self.read)(one.expanded, &stored.outcome);
                    known.insert(stored.outcome.scenario, read);
                }
                stored => missing.push(Missing { micros: stored.and_then(|stored| stored.micros()), ..one }),
            }
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        lock(&self.missing).is_empty()
    }

    /// What is missing, cut into batches for so many VMs at a time.
    pub(super) fn batches(&self, vms: usize) -> Vec<Batch> {
        let all: Vec<_> = lock(&self.missing).iter().map(|missing| (missing.expanded, missing.micros)).collect();
        batches(&all, vms)
    }

    /// Takes an outcome that a VM gave; whether it differs. It counts once the store has it: after a failure, for which
    /// `kept` stands, nothing does.
    pub(super) fn take(&self, outcome: &ScenarioOutcome, kept: &mut Result<(), StoreError>) -> bool {
        let missing = {
            let mut missing = lock(&self.missing);
            let place = missing.iter().position(|missing| missing.expanded.plan.name == outcome.scenario);
            place.map(|place| missing.swap_remove(place))
        };
        let Some(Missing { expanded, key, .. }) = missing else { return false };
        let (read, differs) = (self.read)(expanded, outcome);
        if kept.is_ok() {
            *kept = self.store.keep(self.kernel, &key, outcome);
        }
        if kept.is_ok() {
            lock(&self.known).insert(outcome.scenario.clone(), read);
        }
        differs
    }

    /// All that was read.
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
    use crate::store::{Freshness, RunId};

    fn expanded(name: &str) -> Expanded {
        let (sysctls, lsm, cases) = Default::default();
        let name = name.parse().unwrap();
        let plan = Scenario { name, deadline_ms: 1, sysctls, lsm, lockdown: None, own_vm: false, cases };
        Expanded { summary: String::new(), isolation: Isolation::Shared, cases: vec![], grid: None, plan }
    }

    fn outcome(scenario: &str, micros: u64) -> ScenarioOutcome {
        let (containers, attempts, units) = Default::default();
        let end = ScenarioEnd::Finished { micros };
        ScenarioOutcome { scenario: scenario.parse().unwrap(), containers, attempts, units, end }
    }

    fn store(folder: &Path) -> Store {
        Store::new(folder.to_owned(), RunId::current(), Freshness::Any)
    }

    fn artefacts() -> Artefacts {
        let [kernel, image, guest, machine] = ["k", "i", "g", "m"].map(str::to_owned);
        Artefacts { kernel, image, guest, machine }
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
        let ledger = RequestState::open(&store, &kernel, &artefacts, &wanted, &read);
        // Another process runs one while we wait for it.
        store.keep(&kernel, &Key::of(&artefacts, &all[1].plan), &outcome("other", 2)).unwrap();
        ledger.look_up();
        assert!(!ledger.is_complete());
        let batches = ledger.batches(1);
        assert_eq!(batches[0].scenarios, [all[2].plan.clone()]);
        // What has been read is not looked for again.
        fs::remove_dir_all(folder.path()).unwrap();
        assert!(ledger.take(&outcome("new", 3), &mut Ok(())));
        assert!(ledger.is_complete() && store.look_up(&Key::of(&artefacts, &all[2].plan)).is_some());
        fs::remove_dir_all(folder.path()).unwrap();
        let micros: Vec<u64> = ledger
            .into_read()
            .into_values()
            .map(|end| match end {
                ScenarioEnd::Finished { micros } => micros,
                _ => 0,
            })
            .collect();
        assert_eq!((micros, judged.into_inner()), (vec![3, 1, 2], 3));
    }

    #[test]
    fn what_cannot_be_kept_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        let (store, kernel, one) = (store(&file), "6.12".parse().unwrap(), expanded("one"));
        let read = |_: &Expanded, _: &ScenarioOutcome| ((), true);
        let ledger = RequestState::open(&store, &kernel, &artefacts(), &[&one], &read);
        let mut kept = Ok(());
        assert!(ledger.take(&outcome("one", 1), &mut kept), "a difference is shown all the same");
        assert!(kept.is_err() && ledger.into_read().is_empty());
    }
}
