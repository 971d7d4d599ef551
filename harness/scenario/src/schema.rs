//! The JSON Schema of scenario files, generated from the types.

use std::sync::LazyLock;

use serde_json::Value;

pub use harness_diagnostics::schema::{schema_of, settings};

use crate::spec::Spec;

/// Returns the schema of a scenario file (JSON Schema 2020-12).
pub fn scenario_schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(schema_of::<Spec>);
    &SCHEMA
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optional_keys_have_their_plain_type() {
        let schema = scenario_schema();
        assert_eq!(schema["properties"]["kernels"]["type"], "string");
        assert!(!schema.to_string().contains("\"null\""), "{schema:#}");
        assert_eq!(schema["additionalProperties"], false);
    }
}
