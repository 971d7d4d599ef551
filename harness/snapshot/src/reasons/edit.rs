//! Edits `differences.toml` as a person would: comments, order and layout stay.

use harness_protocol::name::ScenarioName;
use thiserror::Error;
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, value};

use crate::{
    owner::Owner,
    reasons::{Explanation, Extent, OwnSnapshots, Part},
};

/// Why the file cannot be edited.
#[derive(Debug, Error)]
pub enum EditError {
    /// It is not TOML.
    #[error("it is not valid TOML: {0}")]
    Syntax(#[from] toml_edit::TomlError),
    /// A key does not have the required form.
    #[error(
        "`{0}` is malformed: the file has `[[difference]]` entries with lists of `kernels`, `images` and `scenarios`"
    )]
    Form(&'static str),
}

/// Returns the file's text with this reason for these snapshots. They are added to the entry with the same reason and the
/// same keys, or else to a new entry at the end.
///
/// # Errors
/// [`EditError`] if the text does not have the required form.
pub fn explained(
    text: &str,
    explanation: &Explanation,
    snapshots: &[(ScenarioName, Owner)],
) -> Result<String, EditError> {
    let mut document: DocumentMut = text.parse()?;
    let entries = entries(&mut document)?;
    for (scenario, owner) in snapshots {
        let found = entries.iter().position(|entry| says(entry, explanation) && is_about(entry, owner));
        let at = found.unwrap_or(entries.len());
        if found.is_none() {
            entries.push(entry(explanation, owner, entries.is_empty()));
        }
        let entry = entries.get_mut(at).ok_or(EditError::Form("difference"))?;
        for (key, name) in parts(owner) {
            let is_same = |listed: &str| glob::Pattern::new(listed).is_ok_and(|glob| glob.matches(name));
            add(list(entry, key)?, name, is_same);
        }
        add(list(entry, "scenarios")?, scenario.as_str(), |name| name == scenario.as_str());
    }
    Ok(document.to_string())
}

/// The keys of an entry for this owner, and the owner's names for them.
fn parts(owner: &Owner) -> impl Iterator<Item = (&'static str, &str)> {
    let kernel = owner.kernel.as_ref().map(|name| ("kernels", name.as_str()));
    kernel.into_iter().chain(owner.image.as_ref().map(|name| ("images", name.as_str())))
}

/// Whether an entry has exactly this owner's keys; any other would explain more or fewer snapshots.
fn is_about(entry: &Table, owner: &Owner) -> bool {
    entry.contains_key("kernels") == owner.kernel.is_some() && entry.contains_key("images") == owner.image.is_some()
}

/// Returns the file's text after snapshots of these scenarios were removed and these are left: without the scenarios,
/// kernels and images that a reason no longer applies to, and without reasons that apply to nothing.
///
/// # Errors
/// [`EditError`] if the text does not have the required form.
pub fn forgotten(text: &str, scenarios: &[ScenarioName], left: &OwnSnapshots) -> Result<String, EditError> {
    let mut document: DocumentMut = text.parse()?;
    let entries = entries(&mut document)?;
    let is_one = |name: &str| scenarios.iter().any(|scenario| scenario.as_str() == name);
    for entry in entries.iter_mut() {
        if !texts(list(entry, "scenarios")?).iter().any(|name| is_one(name)) {
            continue;
        }
        let extent = extent(entry)?;
        let covered = |extent: &Extent, name: &str| {
            let mut own = left.iter().filter(|(scenario, _)| scenario.as_str() == name).flat_map(|(_, owners)| owners);
            own.any(|owner| extent.covers(owner))
        };
        keep(list(entry, "scenarios")?, |name| !is_one(name) || covered(&extent, name));
        let rest = texts(list(entry, "scenarios")?);
        for (key, part) in [("kernels", Part::Kernels), ("images", Part::Images)] {
            if !entry.contains_key(key) {
                continue;
            }
            let used = |glob: &glob::Pattern| rest.iter().any(|name| covered(&extent.with_only(glob, part), name));
            keep(list(entry, key)?, |name| glob::Pattern::new(name).is_ok_and(|glob| used(&glob)));
        }
    }
    entries.retain(|entry| entry.get("scenarios").and_then(Item::as_array).is_some_and(|names| !names.is_empty()));
    Ok(document.to_string())
}

/// The owners that an entry is for; globs that cannot be parsed are skipped.
fn extent(entry: &mut Table) -> Result<Extent, EditError> {
    let mut globs = |key: &'static str| -> Result<Vec<glob::Pattern>, EditError> {
        if !entry.contains_key(key) {
            return Ok(Vec::new());
        }
        Ok(texts(list(entry, key)?).iter().filter_map(|name| glob::Pattern::new(name).ok()).collect())
    };
    Ok(Extent { kernels: globs("kernels")?, images: globs("images")? })
}

fn entries(document: &mut DocumentMut) -> Result<&mut ArrayOfTables, EditError> {
    let item = document.entry("difference").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    item.as_array_of_tables_mut().ok_or(EditError::Form("difference"))
}

fn says(entry: &Table, explanation: &Explanation) -> bool {
    let text = |key: &str| entry.get(key).and_then(Item::as_str);
    text("reason").map(str::trim) == Some(&explanation.reason)
        && text("commit") == explanation.commit.as_ref().map(ToString::to_string).as_deref()
}

fn entry(explanation: &Explanation, owner: &Owner, first: bool) -> Table {
    let mut entry = Table::new();
    entry.decor_mut().set_prefix(if first { "" } else { "\n" });
    entry.insert("reason", value(explanation.reason.as_str()));
    if let Some(commit) = &explanation.commit {
        entry.insert("commit", value(commit.to_string()));
    }
    for (key, _) in parts(owner) {
        entry.insert(key, value(Array::new()));
    }
    entry.insert("scenarios", value(Array::new()));
    entry
}

fn list<'a>(entry: &'a mut Table, key: &'static str) -> Result<&'a mut Array, EditError> {
    entry.get_mut(key).and_then(Item::as_array_mut).ok_or(EditError::Form(key))
}

fn texts(list: &Array) -> Vec<String> {
    list.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// Adds a name unless the list has an equivalent one, on its own line if the others have one.
fn add(list: &mut Array, name: &str, is_same: impl Fn(&str) -> bool) {
    if texts(list).iter().any(|listed| is_same(listed)) {
        return;
    }
    let lines = list.iter().last().and_then(|last| last.decor().prefix()?.as_str().map(str::to_owned));
    list.push(name);
    if let (Some(prefix), Some(new)) = (lines.filter(|prefix| prefix.contains('\n')), list.iter_mut().last()) {
        new.decor_mut().set_prefix(prefix);
    }
}

/// Removes names from a list. The first name left takes the position of the previous first one.
fn keep(list: &mut Array, wanted: impl Fn(&str) -> bool) {
    let lead = list.get(0).and_then(|first| first.decor().prefix().cloned());
    list.retain(|item| item.as_str().is_none_or(&wanted));
    if let (Some(lead), Some(first)) = (lead, list.get_mut(0)) {
        first.decor_mut().set_prefix(lead);
    }
}
