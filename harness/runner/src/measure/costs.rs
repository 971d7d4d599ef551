//! What attempts and containers cost in a guest, as the guest program's `bench` tells it.

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
    /// Reading and summing the kernel's type information.
    pub btf_checksum: u64,
    /// The same of its configuration; nothing if it does not show one.
    pub config_checksum: Option<u64>,
    /// Making an announcement durable.
    pub record_sync: u64,
    /// One `BPF_MAP_CREATE` and `close` in a bare loop.
    pub bare_map_create: f64,
    /// One `BPF_PROG_LOAD` of two instructions and `close` in a bare loop.
    pub bare_prog_load: f64,
    /// A process that enters a user and a mount namespace and ends.
    pub bare_container: f64,
    /// One container with all that belongs to it, made and gone again.
    pub container: f64,
    /// Scenarios of one container and more and more attempts.
    pub growth: Vec<Growth>,
}

/// A scenario of one container and so many attempts, each made three times: as root, in the control container and for
/// real.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Growth {
    /// What was attempted: `map_create`, `prog_load`, or `denied` for a `map_create` whose cause was looked for.
    pub subject: String,
    /// How many.
    pub attempts: usize,
    /// The whole scenario.
    pub micros: u64,
    /// The same for each attempt.
    pub micros_per_attempt: f64,
    /// The guest program's resident memory afterwards, in KiB.
    pub resident_kib: u64,
    /// The descriptors it has open then.
    pub descriptors: usize,
    /// What the whole machine can still use then, in KiB.
    pub available_kib: u64,
}

/// What a shell in the guest runs. The event stream cuts long lines, so the result goes to a file, which has to reach the
/// host before the VM is gone.
pub(super) fn command(program: &str, share: &str) -> String {
    format!("{program} bench {share} >{share}/{COSTS} 2>{share}/{ERRORS}; sync")
}

/// Reads what the command left in the shared folder; `how` is how the VM ended.
pub(super) fn read(share: &Path, how: &str) -> Result<GuestCosts, MeasureError> {
    let text = fs::read_to_string(share.join(COSTS)).unwrap_or_default();
    // The lines before tell which scenario runs, as in any run.
    serde_json::from_str(text.lines().last().unwrap_or_default()).map_err(|error| MeasureError::NoCosts {
        how: format!("{how}: {error}"),
        said: fs::read_to_string(share.join(ERRORS)).unwrap_or_default().trim().chars().take(400).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_read_and_their_absence_tells_what_the_guest_said() {
        let share = tempfile::tempdir().unwrap();
        fs::write(share.path().join(ERRORS), "cannot measure\n").unwrap();
        let message = read(share.path(), "the VM ended").unwrap_err().to_string();
        assert!(message.contains("the VM ended") && message.ends_with("cannot measure"), "{message}");
        let printed = r#"scenario growth
            {"release":"6.12","btf_checksum":1,"config_checksum":null,"record_sync":2,"bare_map_create":0.5,"bare_prog_load":1.5,"bare_container":3.0,"container":4.0,"growth":[{"subject":"map_create","attempts":10,"micros":20,"micros_per_attempt":2.0,"resident_kib":5,"descriptors":6,"available_kib":7}]}"#;
        fs::write(share.path().join(COSTS), printed).unwrap();
        let costs = read(share.path(), "").unwrap();
        assert_eq!((costs.growth[0].attempts, costs.container), (10, 4.0));
        assert_eq!(costs.growth[0].subject, "map_create");
    }
}
