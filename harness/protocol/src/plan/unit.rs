//! Containers that are systemd units.

use serde::{Deserialize, Serialize};

/// The manager that runs a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Manager {
    /// The system manager.
    #[default]
    System,
    /// An unprivileged user's own manager, uid 1000 (`user@.service`, systemd(1) with `--user`).
    User,
}

impl Manager {
    fn is_system(&self) -> bool {
        *self == Self::System
    }
}

/// A service of the guest's systemd, started for one case. The guest adds what starts the guest program in it: `Type=`,
/// `ExecStart=`, and the socket of its executor (`OpenFile=`, systemd.service(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// The assignments in the `[Service]` section of its file, in order.
    pub service: Vec<Assignment>,
    /// Those of each drop-in, in the order systemd reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drop_ins: Vec<Vec<Assignment>>,
    /// The part after `@` of its name, if its file is a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The manager that runs it.
    #[serde(default, skip_serializing_if = "Manager::is_system")]
    pub manager: Manager,
    /// The options of systemd-nspawn(1), if the unit runs that, with the guest program in its container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nspawn: Option<Vec<String>>,
}

/// One line of a unit file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// The part before `=`.
    pub key: String,
    /// The part after it; an empty one resets a list (systemd.syntax(7)).
    pub value: String,
}
