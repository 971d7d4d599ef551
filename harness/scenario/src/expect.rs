//! What the author of a scenario wants an attempt to be.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the author of a scenario wants an attempt to be; checked before any snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// The kernel must do it.
    Allowed,
    /// The kernel must refuse it to this actor, and do it for one with every permission.
    Denied,
    /// The kernel must not know it.
    Unsupported,
    /// The kernel must refuse it to everybody. Only an attempt that says so may be malformed.
    Malformed,
    /// Nobody may ask the kernel, because the unit that would does not run.
    NotMade,
}
