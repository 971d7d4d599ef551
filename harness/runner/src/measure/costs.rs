//! Costs of attempts and containers in a guest, measured by the guest program's `bench`.

use std::{fs, path::Path};

use serde::Deserialize;

use super::error::MeasureError;

const COSTS: &str = "costs.json";
const ERRORS: &str = "costs.errors";

/// Costs in a guest. Times are in microseconds.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestCosts {
    /// `uname -r`.
    pub release: String,
    /// Reading the kernel's type information and computing its checksum.
    pub btf_checksum: u64,
    /// Likewise for its configuration; `None` if the kernel does not show one.
    pub config_checksum: Option<u64>,
    /// Writing a scenario's announcement to disk.
    pub record_sync: u64,
    /// One `BPF_MAP_CREATE` and `close` in a bare loop.
    pub bare_map_create: f64,
    /// One `BPF_PROG_LOAD` of two instructions and `close` in a bare loop.
    pub bare_prog_load: f64,
    /// A process that enters a user and a mount namespace and exits.
    pub bare_container: f64,
    /// Creating and removing one container with everything that belongs to it.
    pub container: f64,
    /// Scenarios with an increasing number of attempts, and of containers.
    pub growth: Vec<Growth>,
}

/// A scenario with a number of containers and attempts, each attempt made three times: by root, in the control container and
/// in its own.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Growth {
    /// What was attempted: `map_create`, `prog_load`, or `denied` for a `map_create` whose cause was searched.
    pub call: String,
    /// The number of containers, which have the same share of the attempts.
    pub containers: usize,
    /// The number of attempts.
    pub attempts: usize,
    /// The time of the whole scenario.
    pub micros: u64,
    /// The time per attempt.
    pub micros_per_attempt: f64,
    /// The guest program's resident memory afterwards, in KiB.
    pub resident_kib: u64,
    /// Its open file descriptors afterwards.
    pub descriptors: usize,
    /// The available memory of the whole machine afterwards, in KiB.
    pub available_kib: u64,
}

/// Returns the shell command for the guest. The result goes to a file, because long lines of the event stream are
/// truncated; `sync` makes sure that the file reaches the host before the VM ends.
pub(super) fn command(program: &str, share: &str) -> String {
    format!("{program} bench {share} >{share}/{COSTS} 2>{share}/{ERRORS}; sync")
}

/// Reads the result from the shared folder; `how` says how the VM ended.
pub(super) fn read(share: &Path, how: &str) -> Result<GuestCosts, MeasureError> {
    let text = fs::read_to_string(share.join(COSTS)).unwrap_or_default();
    // The lines before announce scenarios, as in any run.
    serde_json::from_str(text.lines().last().unwrap_or_default()).map_err(|error| MeasureError::NoCosts {
        how: format!("{how}: {error}"),
        output: fs::read_to_string(share.join(ERRORS)).unwrap_or_default().trim().chars().take(400).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_read_and_an_error_shows_the_guests_output() {
        let share = tempfile::tempdir().unwrap();
        fs::write(share.path().join(ERRORS), "cannot measure\n").unwrap();
        let message = read(share.path(), "the VM ended").unwrap_err().to_string();
        insta::assert_snapshot!(message, @r"the guest program reported no costs (the VM ended: EOF while parsing a value at line 1 column 0); it printed: cannot measure");
        let printed = r#"scenario growth
            {"release":"6.12","btf_checksum":1,"config_checksum":null,"record_sync":2,"bare_map_create":0.5,"bare_prog_load":1.5,"bare_container":3.0,"container":4.0,"growth":[{"call":"map_create","containers":1,"attempts":10,"micros":20,"micros_per_attempt":2.0,"resident_kib":5,"descriptors":6,"available_kib":7}]}"#;
        fs::write(share.path().join(COSTS), printed).unwrap();
        let costs = read(share.path(), "").unwrap();
        assert_eq!((costs.growth[0].attempts, costs.container), (10, 4.0));
        assert_eq!(costs.growth[0].call, "map_create");
    }
}
