//! JSON Schemas of TOML files, generated from the types that read them.

use schemars::{JsonSchema, Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::Value;

/// Returns the schema of a TOML file whose keys are the members of this type.
pub fn schema_of<T: JsonSchema>() -> Value {
    settings().into_generator().into_root_schema_for::<T>().to_value()
}

/// Returns the settings of all schemas here: an optional key has its plain type, and descriptions are not wrapped.
pub fn settings() -> SchemaSettings {
    SchemaSettings::draft2020_12()
        .with_transform(RecursiveTransform(drop_null))
        .with_transform(RecursiveTransform(fold_lines))
}

/// Removes `null` from the type of an optional key: TOML has no null.
fn drop_null(schema: &mut Schema) {
    let Some(members) = schema.as_object_mut() else { return };
    if let Some(Value::String(format)) = members.remove("format") {
        bound_by_format(members, &format);
    }
    if members.get("default").is_some_and(Value::is_null) {
        members.remove("default");
    }
    if let Some(Value::Array(types)) = members.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            members.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(branches)) = members.get_mut("anyOf") {
        branches.retain(|branch| branch["type"] != "null");
        if let [Value::Object(only)] = branches.as_slice() {
            let only = only.clone();
            members.remove("anyOf");
            members.extend(only);
        }
    }
}

/// Replaces the format of a number by its bounds, which validators check.
fn bound_by_format(members: &mut serde_json::Map<String, Value>, format: &str) {
    let (least, most) = match format {
        "uint32" => (0, i64::from(u32::MAX)),
        "int32" => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => return,
    };
    members.entry("minimum").or_insert_with(|| least.into());
    members.entry("maximum").or_insert_with(|| most.into());
}

/// Joins the lines of a description, which are wrapped in the source only.
fn fold_lines(schema: &mut Schema) {
    let Some(Value::String(text)) = schema.get_mut("description") else { return };
    let paragraphs: Vec<String> = text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect();
    *text = paragraphs.join("\n\n");
}
