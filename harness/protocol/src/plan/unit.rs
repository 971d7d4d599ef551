//! A container that is a unit of systemd.

use serde::{Deserialize, Serialize};

/// Whose unit it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Manager {
    /// The system manager's.
    #[default]
    System,
    /// An unprivileged user's own, uid 1000 (`user@.service`, systemd(1) with `--user`).
    User,
}

impl Manager {
    fn is_system(&self) -> bool {
        *self == Self::System
    }
}

/// A service of the guest's systemd, started for one case. What starts the guest program in it is added by the guest:
/// `Type=`, `ExecStart=`, and the socket it is spoken to by (`OpenFile=`, systemd.service(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// What the section `[Service]` of its file assigns, in this order.
    pub service: Vec<Assignment>,
    /// The same of each of its drop-ins, in the order systemd reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drop_ins: Vec<Vec<Assignment>>,
    /// What stands behind `@` in its name, if its file is a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Who is to run it.
    #[serde(default, skip_serializing_if = "Manager::is_system")]
    pub manager: Manager,
    /// The options of systemd-nspawn(1), if the unit runs that with the guest program in its container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nspawn: Option<Vec<String>>,
}

/// One line of a unit file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// What stands before `=`.
    pub key: String,
    /// What stands behind it; nothing resets a list (systemd.syntax(7)).
    pub value: String,
}
