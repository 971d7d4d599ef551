//! What the guard costs, measured by the guest program's `bench-guard` and `bench-early`.

use std::{fs, path::Path};

use harness_protocol::plan::GUARD_PROGRAM;
use serde::Deserialize;

use super::error::MeasureError;

const RESULT: &str = "guarded.json";
const ERRORS: &str = "guarded.errors";

/// Costs of the guard. Times are in microseconds of processor time of the caller and what it executes, each the mean of a sample.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardCosts {
    /// `uname -r`.
    pub release: String,
    /// A cheap call that is only counted.
    pub counted: Turns,
    /// A cheap call that is recorded.
    pub recorded: Turns,
    /// The load of a program, by its number of instructions.
    pub loads: Vec<(usize, Turns)>,
    /// The exec of a program that is no known loader, and of one that is: fork, execve, its end, and a cheap call.
    pub exec_of_stranger: Turns,
    /// See `exec_of_stranger`.
    pub exec_of_loader: Turns,
    /// A flood of calls.
    pub flood: Flood,
}

/// Samples with the guard off and on, in turns.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turns {
    /// Off.
    pub off: Vec<f64>,
    /// On.
    pub on: Vec<f64>,
}

/// A flood of calls, some of them denied, while the daemon reads.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flood {
    /// For how long calls were made, in seconds.
    pub seconds: f64,
    /// Calls made, denied ones included.
    pub calls: u64,
    /// Calls denied.
    pub denied: u64,
    /// Denials in the daemon's log.
    pub logged: u64,
    /// Records that the kernel made.
    pub records: u64,
    /// Records that did not fit the rings.
    pub lost: u64,
}

/// Returns the shell command for the guest, which runs a verb of the guest program.
pub(super) fn command(program: &str, verb: &str, share: &str) -> String {
    format!("chmod 755 {share}/{GUARD_PROGRAM}; {program} {verb} {share} >{share}/{RESULT} 2>{share}/{ERRORS}; sync")
}

/// Reads the result from the shared folder; `how` says how the VM ended.
pub(super) fn read<T: for<'de> Deserialize<'de>>(share: &Path, how: &str) -> Result<T, MeasureError> {
    let text = fs::read_to_string(share.join(RESULT)).unwrap_or_default();
    serde_json::from_str(&text).map_err(|error| MeasureError::NoCosts {
        how: format!("{how}: {error}"),
        output: fs::read_to_string(share.join(ERRORS)).unwrap_or_default().trim().chars().take(2000).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_read_and_an_error_shows_the_guests_output() {
        let share = tempfile::tempdir().unwrap();
        fs::write(share.path().join(ERRORS), "a measured call failed\n").unwrap();
        let message = read::<GuardCosts>(share.path(), "the VM ended").unwrap_err().to_string();
        assert!(message.contains("the VM ended") && message.ends_with("a measured call failed"), "{message}");
        let turns = r#"{"off":[1.0],"on":[1.5]}"#;
        let flood = r#"{"seconds":5.0,"calls":9,"denied":2,"logged":2,"records":9,"lost":0}"#;
        let printed = format!(
            "{{\"release\":\"6.12\",\"counted\":{turns},\"recorded\":{turns},\"loads\":[[2,{turns}]],\
             \"exec_of_stranger\":{turns},\"exec_of_loader\":{turns},\"flood\":{flood}}}"
        );
        fs::write(share.path().join(RESULT), printed).unwrap();
        let costs: GuardCosts = read(share.path(), "").unwrap();
        assert_eq!((costs.loads[0].0, costs.loads[0].1.on[0], costs.flood.calls), (2, 1.5, 9));
    }
}
