//! Any bytes in place of a stored outcome are an outcome or nothing; an outcome is found as it was stored.
#![no_main]

use std::{fs, path::PathBuf, sync::OnceLock};

use harness_fuzz::scenarios::{judge, scenario};
use harness_protocol::outcome::ScenarioOutcome;
use harness_runner::{
    identity::Artefacts,
    store::{Freshness, Key, RunId, Store},
};
use libfuzzer_sys::fuzz_target;

/// A store, its only file, and the key of that.
struct Only(Store, PathBuf, Key);

fn only() -> &'static Only {
    static ONLY: OnceLock<Only> = OnceLock::new();
    ONLY.get_or_init(|| {
        let root = tempfile::tempdir().expect("a folder can be made").keep();
        let store = Store::new(root.clone(), RunId::current(), Freshness::Any);
        let [kernel, image, guest, machine] = ["k", "i", "g", "m"].map(str::to_owned);
        let key = Key::of(&Artefacts { kernel, image, guest, machine, guard: None, run_guard: None }, &scenario().plan);
        let outcome = include_bytes!("../corpus/outcome/finished");
        keep(&store, &key, &serde_json::from_slice(outcome).expect("it is committed"));
        let below =
            fs::read_dir(root).expect("it can be read").next().expect("it has a folder").expect("it can be read");
        let file = fs::read_dir(below.path()).expect("it can be read").next().expect("it has a file");
        Only(store, file.expect("it can be read").path(), key)
    })
}

fn keep(store: &Store, key: &Key, outcome: &ScenarioOutcome) {
    store.keep(&"7.3".parse().expect("it is a name"), key, outcome).expect("a file can be written");
}

fuzz_target!(|bytes: &[u8]| {
    let Only(store, file, key) = only();
    fs::write(file, bytes).expect("a file can be written");
    if let Some(stored) = store.look_up(key) {
        judge(&stored.outcome);
    }
    if let Ok(outcome) = serde_json::from_slice::<ScenarioOutcome>(bytes) {
        judge(&outcome);
        keep(store, key, &outcome);
        let stored = store.look_up(key).map(|stored| stored.outcome);
        assert_eq!(stored, (outcome.scenario == scenario().plan.name).then_some(outcome));
    }
});
