//! Values of a scenario file that have several forms.

use std::{borrow::Cow, collections::BTreeMap};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value;

/// The error for a value in none of its forms. It occurs only in a document that was not checked against the schema.
#[derive(Debug, thiserror::Error)]
#[error("expected {0}")]
pub struct ChoiceError(&'static str);

/// Implements a hand-written schema for a type, under its own name.
macro_rules! schema {
    ($name:ident, $generator:ident => $schema:expr) => {
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema($generator: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

fn texts(value: Value) -> Option<Vec<String>> {
    match value {
        Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

/// One string, or a list of strings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub struct Texts(pub Vec<String>);

impl TryFrom<Value> for Texts {
    type Error = ChoiceError;
    fn try_from(value: Value) -> Result<Self, ChoiceError> {
        match value {
            Value::String(text) => Ok(Self(vec![text])),
            list => texts(list).map(Self).ok_or(ChoiceError("a string or a list of strings")),
        }
    }
}

schema!(Texts, _generator => json_schema!({
    "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" }, "minItems": 1 }],
}));

/// The values assigned to one key of a unit file: one value, or a list with one assignment each.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub struct Assigned(pub Vec<String>);

impl TryFrom<Value> for Assigned {
    type Error = ChoiceError;
    fn try_from(value: Value) -> Result<Self, ChoiceError> {
        match value {
            Value::Bool(true) => Ok(Self(vec!["yes".to_owned()])),
            Value::Bool(false) => Ok(Self(vec!["no".to_owned()])),
            Value::Number(number) => Ok(Self(vec![number.to_string()])),
            Value::String(text) => Ok(Self(vec![text])),
            list => texts(list).map(Self).ok_or(ChoiceError("a string, a boolean, a number or a list of strings")),
        }
    }
}

schema!(Assigned, _generator => json_schema!({
    "anyOf": [
        { "type": "string" },
        { "type": "boolean" },
        { "type": "integer" },
        { "type": "array", "items": { "type": "string" }, "minItems": 1, "maxItems": 64 },
    ],
}));

/// The values of one axis of a matrix.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub enum Axis {
    /// Listed in the file.
    Listed(Vec<String>),
    /// All names that the booted kernel knows.
    Known(KnownSet),
}

/// A set of names that depends on the booted kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownSet {
    /// `@map_types`
    MapTypes,
    /// `@prog_types`
    ProgTypes,
    /// `@attach_types`
    AttachTypes,
    /// `@cmds`
    Cmds,
}

impl KnownSet {
    /// All sets, with their spelling.
    pub const ALL: [(Self, &str); 4] = [
        (Self::MapTypes, "@map_types"),
        (Self::ProgTypes, "@prog_types"),
        (Self::AttachTypes, "@attach_types"),
        (Self::Cmds, "@cmds"),
    ];
}

impl TryFrom<Value> for Axis {
    type Error = ChoiceError;
    fn try_from(value: Value) -> Result<Self, ChoiceError> {
        match value {
            Value::String(text) => {
                let known = KnownSet::ALL.iter().find(|(_, written)| *written == text);
                known
                    .map(|(set, _)| Self::Known(*set))
                    .ok_or(ChoiceError("@map_types, @prog_types, @attach_types or @cmds"))
            }
            list => texts(list).map(Self::Listed).ok_or(ChoiceError("a list of strings")),
        }
    }
}

schema!(Axis, _generator => json_schema!({
    "anyOf": [
        { "type": "array", "items": { "type": "string" }, "minItems": 1 },
        { "enum": KnownSet::ALL.map(|(_, written)| written), "type": "string" },
    ],
}));

/// The capabilities of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub enum Capabilities {
    /// All capabilities.
    #[default]
    All,
    /// These capabilities, by name.
    Listed(Vec<String>),
}

impl TryFrom<Value> for Capabilities {
    type Error = ChoiceError;
    fn try_from(value: Value) -> Result<Self, ChoiceError> {
        match value {
            Value::String(text) if text == "all" => Ok(Self::All),
            list => texts(list).map(Self::Listed).ok_or(ChoiceError("`all` or a list of strings")),
        }
    }
}

schema!(Capabilities, _generator => json_schema!({
    "anyOf": [{ "const": "all", "type": "string" }, { "type": "array", "items": { "type": "string" } }],
}));

/// The token that an attempt uses.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub enum TokenChoice {
    /// The token that the container created during setup.
    Own,
    /// No token.
    None,
    /// The token that an earlier attempt saved under this name.
    Saved(String),
}

impl TryFrom<Value> for TokenChoice {
    type Error = ChoiceError;
    fn try_from(value: Value) -> Result<Self, ChoiceError> {
        match value {
            Value::Bool(true) => Ok(Self::Own),
            Value::Bool(false) => Ok(Self::None),
            Value::String(name) => Ok(Self::Saved(name)),
            _ => Err(ChoiceError("a boolean or the name of a saved token")),
        }
    }
}

schema!(TokenChoice, _generator => json_schema!({ "type": ["boolean", "string"] }));

/// A flag of a map or program, by name or as a number.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub enum Flag {
    /// Such as `no_prealloc`.
    Name(String),
    /// A number.
    Bits(u32),
}

impl TryFrom<Value> for Flag {
    type Error = ChoiceError;
    fn try_from(value: Value) -> Result<Self, ChoiceError> {
        let bits = |number: &Value| number.as_u64().and_then(|number| u32::try_from(number).ok());
        match &value {
            Value::String(name) => Ok(Self::Name(name.clone())),
            number => bits(number).map(Self::Bits).ok_or(ChoiceError("the name of a flag or a number of 32 bits")),
        }
    }
}

schema!(Flag, _generator => json_schema!({
    "anyOf": [{ "type": "string" }, { "type": "integer", "minimum": 0, "maximum": u32::MAX }],
}));

/// The bytes of a key or value: hexadecimal digits, or a list of numbers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub enum Bytes {
    /// Such as `"01 00 00 00"`.
    Hex(String),
    /// Such as `[1, 0, 0, 0]`.
    Listed(Vec<u8>),
}

impl TryFrom<Value> for Bytes {
    type Error = ChoiceError;
    fn try_from(value: Value) -> Result<Self, ChoiceError> {
        let byte = |item: &Value| item.as_u64().and_then(|number| u8::try_from(number).ok());
        match &value {
            Value::String(text) => Ok(Self::Hex(text.clone())),
            Value::Array(items) => items
                .iter()
                .map(byte)
                .collect::<Option<_>>()
                .map(Self::Listed)
                .ok_or(ChoiceError("numbers from 0 to 255")),
            _ => Err(ChoiceError("hexadecimal digits or a list of numbers")),
        }
    }
}

schema!(Bytes, _generator => json_schema!({
    "anyOf": [
        { "type": "string" },
        { "type": "array", "items": { "type": "integer", "minimum": 0, "maximum": u8::MAX }, "maxItems": 256 },
    ],
}));

/// The value of a sysctl, or a table of sysctls: TOML reads `kernel.x = 1` as a table `kernel`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub enum Setting {
    /// The value, which is written unchanged.
    Value(String),
    /// Settings below a common prefix.
    Group(BTreeMap<String, Setting>),
}

impl TryFrom<Value> for Setting {
    type Error = ChoiceError;
    fn try_from(value: Value) -> Result<Self, ChoiceError> {
        match value {
            Value::String(text) => Ok(Self::Value(text)),
            Value::Number(number) => Ok(Self::Value(number.to_string())),
            Value::Object(group) => {
                let members = group.into_iter().map(|(key, value)| Ok((key, Self::try_from(value)?)));
                members.collect::<Result<_, _>>().map(Self::Group)
            }
            _ => Err(ChoiceError("a string or a number")),
        }
    }
}

schema!(Setting, generator => json_schema!({
    "anyOf": [
        { "type": "string" },
        { "type": "integer" },
        { "type": "object", "additionalProperties": generator.subschema_for::<Setting>() },
    ],
}));

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_form_is_read_and_anything_else_is_an_error() {
        assert_eq!(Texts::try_from(json!("a")).unwrap(), Texts(vec!["a".into()]));
        assert_eq!(Axis::try_from(json!("@cmds")).unwrap(), Axis::Known(KnownSet::Cmds));
        assert_eq!(TokenChoice::try_from(json!("t")).unwrap(), TokenChoice::Saved("t".into()));
        assert_eq!(Flag::try_from(json!(64)).unwrap(), Flag::Bits(64));
        assert_eq!(Bytes::try_from(json!([1, 255])).unwrap(), Bytes::Listed(vec![1, 255]));
        for wrong in [json!(1.5), json!(null), json!({"a": 1})] {
            assert!(Texts::try_from(wrong.clone()).is_err() && Axis::try_from(wrong.clone()).is_err());
            assert!(Capabilities::try_from(wrong.clone()).is_err() && TokenChoice::try_from(wrong.clone()).is_err());
            assert!(Flag::try_from(wrong.clone()).is_err() && Bytes::try_from(wrong).is_err());
        }
        assert!(Flag::try_from(json!(1_u64 << 32)).is_err() && Bytes::try_from(json!([256])).is_err());
        assert!(Axis::try_from(json!("@all")).is_err() && Setting::try_from(json!([1])).is_err());
    }

    #[test]
    fn dotted_settings_become_groups() {
        let setting = Setting::try_from(json!({"a": {"b": 1}})).unwrap();
        let Setting::Group(group) = setting else { panic!("{setting:?}") };
        assert_eq!(group["a"], Setting::Group([("b".to_owned(), Setting::Value("1".into()))].into()));
    }
}
