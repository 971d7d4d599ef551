//! The JSON documents that the verbs of the repository print, with their schemas.

use std::path::Path;

use harness_builder::cache::{Area, cleaning::Plan, inventory::Inventory};
use harness_cli::documents::FORMAT;
use harness_uapi::vocabulary::NameTable;
use schemars::{JsonSchema, Schema, schema_for};
use serde::Serialize;

use crate::doctor;

/// The output of `cargo xtask kernel names --format json`.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "Names")]
pub(crate) struct KernelNames {
    format: u32,
    /// The kernel.
    kernel: String,
    /// The tables that were asked for.
    tables: Vec<Table>,
}

/// The names of one kind.
#[derive(Serialize, JsonSchema)]
struct Table {
    /// `cmds`, `maps`, `progs` or `attachs`.
    kind: String,
    /// The names, in the order of their numbers.
    names: Vec<Numbered>,
    /// Enumerators that are no names: bounds and flags.
    sentinels: Vec<Numbered>,
}

/// A number with its names.
#[derive(Serialize, JsonSchema)]
struct Numbered {
    /// The value of the enumerator.
    number: u32,
    /// The name that the kernel shows.
    name: String,
    /// Other names that it accepts.
    aliases: Vec<String>,
}

impl KernelNames {
    pub(crate) fn of<'a>(kernel: &str, tables: impl IntoIterator<Item = &'a NameTable>) -> Self {
        let table = |table: &NameTable| {
            let named = table.iter().map(|known| Numbered {
                number: known.number,
                name: known.name.clone(),
                aliases: known.aliases.clone(),
            });
            let bounds = table.sentinels().iter();
            let sentinels =
                bounds.map(|one| Numbered { number: one.number, name: one.name.clone(), aliases: Vec::new() });
            let kind = table.kind().plural().to_owned();
            Table { kind, names: named.collect(), sentinels: sentinels.collect() }
        };
        Self { format: FORMAT, kernel: kernel.to_owned(), tables: tables.into_iter().map(table).collect() }
    }
}

/// The output of `cargo xtask clean --format json`.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "Cache")]
pub(crate) struct Cleaning {
    format: u32,
    /// The folder of the cache.
    root: String,
    /// Each part.
    parts: Vec<Part>,
    /// What is no longer needed.
    removals: Vec<Removal>,
}

/// A part of the cache; sizes in bytes.
#[derive(Serialize, JsonSchema)]
struct Part {
    /// Its folder.
    name: String,
    /// What it holds.
    holds: u64,
    /// What of that would be removed.
    would_free: u64,
}

/// Something that is no longer needed.
#[derive(Serialize, JsonSchema)]
struct Removal {
    /// The part.
    part: String,
    /// Its name.
    name: String,
    /// Its size in bytes.
    bytes: u64,
    /// Why it is not needed.
    why: String,
}

impl Cleaning {
    pub(crate) fn of(root: &Path, inventory: &Inventory, plan: &Plan, areas: &[Area]) -> Self {
        let part = |area: &Area| Part {
            name: area.folder().to_owned(),
            holds: inventory.bytes(*area),
            would_free: plan.bytes(*area),
        };
        let removals = areas.iter().flat_map(|area| plan.of(*area)).map(|(item, why)| Removal {
            part: item.area.folder().to_owned(),
            name: item.name.clone(),
            bytes: item.bytes,
            why: why.to_string(),
        });
        Self {
            format: FORMAT,
            root: root.display().to_string(),
            parts: areas.iter().map(part).collect(),
            removals: removals.collect(),
        }
    }
}

/// Returns the schemas, each with the name of its file in `docs/`, without `.schema.json`.
pub(crate) fn schemas() -> [(&'static str, Schema); 3] {
    [("kernel-names", schema_for!(KernelNames)), ("clean", schema_for!(Cleaning)), ("doctor", doctor::schema())]
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use harness_builder::cache::{cleaning::RemovalReason, inventory::Item};
    use harness_uapi::vocabulary::Vocabulary;
    use serde_json::Value;

    use super::*;

    fn is_valid(name: &str, document: &impl Serialize) -> Value {
        let (_, schema) =
            schemas().into_iter().chain(harness_cli::schemas()).find(|(known, _)| *known == name).unwrap();
        let document = serde_json::to_value(document).unwrap();
        let validator = jsonschema::validator_for(schema.as_value()).unwrap();
        assert!(validator.is_valid(&document), "{name}: {document}");
        // A schema that takes anything would show nothing.
        assert!(!validator.is_valid(&serde_json::json!({ "format": "x" })), "{name}");
        document
    }

    #[test]
    fn documents_are_as_their_schemas_say() {
        let listed = |built: Option<&str>| harness_cli::documents::Listed {
            name: "7.3".to_owned(),
            summary: "mine".to_owned(),
            built: built.map(str::to_owned),
        };
        is_valid("list", &harness_cli::documents::List::of(vec![listed(None), listed(Some("7.3.0"))]));
        let vocabulary: Vocabulary = serde_json::from_str(include_str!("../../kernels/vocabulary/7.3.json")).unwrap();
        let names = is_valid("kernel-names", &KernelNames::of("7.3", [&vocabulary.maps]));
        assert_eq!(names["tables"][0]["names"][1]["name"], "hash");
        let used = SystemTime::UNIX_EPOCH;
        let item = Item { area: Area::Kernels, name: "x".to_owned(), bytes: 3, used, is_running: false };
        let plan = Plan { removals: vec![(item.clone(), RemovalReason::Old)], vms_running: false };
        let cleaning = Cleaning::of(Path::new("/c"), &Inventory { items: vec![item] }, &plan, &[Area::Kernels]);
        assert_eq!(is_valid("clean", &cleaning)["removals"][0]["bytes"], 3);
    }
}
