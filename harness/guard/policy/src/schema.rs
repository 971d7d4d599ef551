//! The JSON Schema of a policy file.

use std::sync::LazyLock;

use harness_diagnostics::schema::schema_of;
use serde_json::Value;

use crate::file::PolicyKeys;

/// Returns the schema of a policy file (JSON Schema 2020-12).
pub fn policy_schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(schema_of::<PolicyKeys>);
    &SCHEMA
}
