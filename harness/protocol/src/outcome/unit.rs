//! What systemd says of a unit that a container was.

use serde::{Deserialize, Serialize};

use crate::name::ContainerName;

/// Of the warnings about a unit this many are told.
pub const MOST_WARNINGS: usize = 24;

/// A warning is cut after this many characters.
pub const LONGEST_WARNING: usize = 300;

/// A unit of systemd at its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitFact {
    /// Index of the case in the scenario.
    pub case: u32,
    /// Which container.
    pub container: ContainerName,
    /// Whether its process ran: if not, nothing was attempted in it.
    pub ran: bool,
    /// The namespaces it had of its own, by their names in `/proc/PID/ns` (namespaces(7)).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// `Result=` (systemd.exec(5), `$SERVICE_RESULT`): `success`, `exit-code`, `signal` and so on.
    pub result: String,
    /// How its process ended: `226/NAMESPACE`, `SYS`, or `0`.
    pub status: String,
    /// What its process saw mounted at `/sys/fs/bpf`, as mount(8) shows it, if it ran and something was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount: Option<String>,
    /// What systemd said of it at the level of warnings and above, oldest first, without what changes from run to run;
    /// [`MOST_WARNINGS`] at most.
    pub warnings: Vec<String>,
}
