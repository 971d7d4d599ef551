//! Another policy for the guard in force.

use serde::{Deserialize, Serialize};

use super::SigningKey;

/// A reload of the guard's policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reload {
    /// The text of the other policy.
    pub policy: String,
    /// Whose signature it has, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SigningKey>,
    /// The file in [`super::OBJECTS_FOLDER`] with what is asked: `struct guard_incoming` of the guard's `abi.h`. The host makes it
    /// for each VM.
    pub file: String,
}
