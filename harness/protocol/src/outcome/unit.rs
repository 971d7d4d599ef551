//! What systemd says of a unit that was a container.

use serde::{Deserialize, Serialize};

use crate::name::ContainerName;

/// The most warnings recorded of a unit.
pub const MOST_WARNINGS: usize = 24;

/// The longest warning in characters; longer ones are cut.
pub const LONGEST_WARNING: usize = 300;

/// A systemd unit that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitFact {
    /// Index of the case in the scenario.
    pub case: u32,
    /// The container.
    pub container: ContainerName,
    /// Whether its process ran; if not, nothing was attempted in it.
    pub ran: bool,
    /// The namespaces of its own, named as in `/proc/PID/ns` (namespaces(7)).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// `Result=` (systemd.exec(5), `$SERVICE_RESULT`): `success`, `exit-code`, `signal` and so on.
    pub result: String,
    /// How its process ended: `226/NAMESPACE`, `SYS`, or `0`.
    pub status: String,
    /// The mount that its process saw at `/sys/fs/bpf`, as mount(8) shows it, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount: Option<String>,
    /// systemd's messages about it, at warning level and above, oldest first, without what changes from run to run; at
    /// most [`MOST_WARNINGS`].
    pub warnings: Vec<String>,
}
