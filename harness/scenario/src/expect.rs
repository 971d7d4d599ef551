//! The verdict that the author of a scenario expects.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The verdict that an attempt must have. It is checked before the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// The kernel must do what is asked.
    Allowed,
    /// The kernel must refuse it to this actor, but not to an actor with every permission.
    Denied,
    /// The kernel must not know the command, type or field.
    Unsupported,
    /// The kernel must refuse it to everyone. Without this, a malformed attempt is an error.
    Malformed,
    /// The attempt must not be made, because the unit that would make it does not run, or because the program fails although the
    /// kernel denies it nothing.
    NotMade,
}
