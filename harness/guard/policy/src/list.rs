//! Values of a policy file that have several forms.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value;

/// The most entries of a list of kfuncs or targets, and of a rule's lists.
pub(crate) const MOST_ENTRIES: usize = 512;

/// The error for a value in none of its forms. It occurs only in a document that was not checked against the schema.
#[derive(Debug, thiserror::Error)]
#[error("expected {0}")]
pub(crate) struct FormError(&'static str);

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

/// A list, everything, or everything but a list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub(crate) enum List {
    /// These.
    Listed(Vec<Value>),
    /// `any`.
    Any,
    /// All but these.
    Except(Vec<Value>),
}

impl TryFrom<Value> for List {
    type Error = FormError;

    fn try_from(mut value: Value) -> Result<Self, FormError> {
        match &mut value {
            Value::String(text) if text == "any" => Ok(Self::Any),
            Value::String(_) => Ok(Self::Listed(vec![value])),
            Value::Array(items) => Ok(Self::Listed(std::mem::take(items))),
            Value::Object(table) => match table.get_mut("except") {
                Some(Value::Array(items)) => Ok(Self::Except(std::mem::take(items))),
                _ => Err(FormError("a table with the list `except`")),
            },
            _ => Err(FormError("a name, a list of names or a table with `except`")),
        }
    }
}

fn listed(items: Value, most: usize) -> Schema {
    json_schema!({
        "anyOf": [
            { "type": "string" },
            { "type": "array", "items": items, "maxItems": most },
            {
                "type": "object",
                "additionalProperties": false,
                "required": ["except"],
                "properties": {
                    "except": {
                        "description": "Everything else is meant, what newer kernels add included.",
                        "type": "array",
                        "items": { "type": "string" },
                        "maxItems": most,
                    },
                },
            },
        ],
    })
}

/// Names and groups of names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct NameList(pub(crate) List);

schema!(NameList, _generator => listed(serde_json::json!({ "type": "string" }), MOST_ENTRIES));

/// Program types with or without attach types.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct ProgList(pub(crate) List);

/// A program type with attach types.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProgKeys {
    /// The program type.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// The attach types it may ask for when it is loaded; `none` is the number 0, which programs have that ask for none.
    /// Without this key it may ask for any.
    pub(crate) attach: Option<NameList>,
}

schema!(ProgList, generator => listed(
    serde_json::json!({ "anyOf": [{ "type": "string" }, generator.subschema_for::<ProgKeys>()] }),
    MOST_ENTRIES,
));

/// Names that only the running kernel knows: a list, or `any`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub(crate) enum Functions {
    /// These.
    Listed(Vec<String>),
    /// `any`.
    Any,
}

impl Default for Functions {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

impl TryFrom<Value> for Functions {
    type Error = FormError;

    fn try_from(value: Value) -> Result<Self, FormError> {
        let error = FormError("`any` or a list of names");
        let text = |item: &Value| item.as_str().map(str::to_owned);
        match &value {
            Value::String(word) if word == "any" => Ok(Self::Any),
            Value::Array(items) => items.iter().map(text).collect::<Option<_>>().map(Self::Listed).ok_or(error),
            _ => Err(error),
        }
    }
}

schema!(Functions, _generator => json_schema!({
    "anyOf": [
        { "type": "string", "enum": ["any"] },
        { "type": "array", "items": { "type": "string" }, "maxItems": MOST_ENTRIES },
    ],
}));

/// User ids: numbers and ranges such as `1000-1999`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub(crate) struct Ids(pub(crate) Vec<Value>);

impl TryFrom<Value> for Ids {
    type Error = FormError;

    fn try_from(value: Value) -> Result<Self, FormError> {
        match value {
            Value::Array(items) => Ok(Self(items)),
            Value::String(_) | Value::Number(_) => Ok(Self(vec![value])),
            _ => Err(FormError("a number, a range or a list of them")),
        }
    }
}

schema!(Ids, _generator => {
    let integer = serde_json::json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX });
    json_schema!({
        "anyOf": [
            { "type": "string" },
            integer,
            {
                "type": "array",
                "items": { "anyOf": [{ "type": "string" }, integer] },
                "minItems": 1,
                "maxItems": MOST_ENTRIES,
            },
        ],
    })
});

/// One string or several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub(crate) struct Texts(pub(crate) Vec<Value>);

impl TryFrom<Value> for Texts {
    type Error = FormError;

    fn try_from(value: Value) -> Result<Self, FormError> {
        match value {
            Value::Array(items) => Ok(Self(items)),
            Value::String(_) => Ok(Self(vec![value])),
            _ => Err(FormError("a string or a list of strings")),
        }
    }
}

schema!(Texts, _generator => json_schema!({
    "anyOf": [
        { "type": "string" },
        { "type": "array", "items": { "type": "string" }, "minItems": 1, "maxItems": MOST_ENTRIES },
    ],
}));

/// A number of bytes, or a string with a unit such as `256MiB`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub(crate) struct Size(pub(crate) Value);

impl TryFrom<Value> for Size {
    type Error = FormError;

    fn try_from(value: Value) -> Result<Self, FormError> {
        match value {
            Value::String(_) | Value::Number(_) => Ok(Self(value)),
            _ => Err(FormError("a number of bytes or a string such as `256MiB`")),
        }
    }
}

schema!(Size, _generator => json_schema!({
    "anyOf": [{ "type": "string" }, { "type": "integer", "minimum": 0 }],
}));
