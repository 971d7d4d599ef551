//! The keys of operations on the system that are no command of `bpf(2)`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Common, operation};
use crate::verdict::Expect;

operation! {
    /// The keys of `sysctl_write`.
    SysctlWrite {
        /// The setting's dotted name; a value other than its own needs it in `[vm] sysctl`, by which it is put back.
        pub name: String,
        /// What is written; by default what it is already.
        #[serde(default)]
        pub value: Option<u32>,
    }
}
