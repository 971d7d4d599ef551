//! Changing the file of reasons as a person would: comments, order and layout stay.

use harness_protocol::name::ScenarioName;
use thiserror::Error;
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, value};

use crate::{
    owner::Owner,
    reasons::{Explanation, Extent, OwnSnapshots, Part},
};

/// Why the file cannot be changed.
#[derive(Debug, Error)]
pub enum EditError {
    /// It is no TOML.
    #[error("it is no TOML: {0}")]
    Syntax(#[from] toml_edit::TomlError),
    /// It does not have the form it must have.
    #[error("`{0}` is not of the form `[[difference]]` with lists of `kernels` or `images`, and of `scenarios`")]
    Form(&'static str),
}

/// The text of the file with this reason for these snapshots: added to the entry that says the same of kernels, of images or
/// of both as they do, or else in an entry of its own at the end.
///
/// # Errors
/// [`EditError`] if the text is not that of such a file.
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
            let will_do = |listed: &str| glob::Pattern::new(listed).is_ok_and(|glob| glob.matches(name));
            add(list(entry, key)?, name, will_do);
        }
        add(list(entry, "scenarios")?, scenario.as_str(), |name| name == scenario.as_str());
    }
    Ok(document.to_string())
}

/// The keys an entry for this owner has, and its names.
fn parts(owner: &Owner) -> impl Iterator<Item = (&'static str, &str)> {
    let kernel = owner.kernel.as_ref().map(|name| ("kernels", name.as_str()));
    kernel.into_iter().chain(owner.image.as_ref().map(|name| ("images", name.as_str())))
}

/// Whether an entry has those keys: another one would say more or less of this owner than is meant.
fn is_about(entry: &Table, owner: &Owner) -> bool {
    entry.contains_key("kernels") == owner.kernel.is_some() && entry.contains_key("images") == owner.image.is_some()
}

/// The text of the file after snapshots of these scenarios were removed and these are left: without the scenarios, kernels
/// and images a reason does not apply to any more, and without reasons that apply to nothing.
///
/// # Errors
/// [`EditError`] if the text is not that of such a file.
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

/// Whose snapshots an entry is for, as far as it can be understood.
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

/// Adds a name unless there is one that will do, in a line of its own if the others have one.
fn add(list: &mut Array, name: &str, will_do: impl Fn(&str) -> bool) {
    if texts(list).iter().any(|listed| will_do(listed)) {
        return;
    }
    let lines = list.iter().last().and_then(|last| last.decor().prefix()?.as_str().map(str::to_owned));
    list.push(name);
    if let (Some(prefix), Some(new)) = (lines.filter(|prefix| prefix.contains('\n')), list.iter_mut().last()) {
        new.decor_mut().set_prefix(prefix);
    }
}

/// Drops names from a list. The one that comes first then stands where the first one stood.
fn keep(list: &mut Array, wanted: impl Fn(&str) -> bool) {
    let lead = list.get(0).and_then(|first| first.decor().prefix().cloned());
    list.retain(|item| item.as_str().is_none_or(&wanted));
    if let (Some(lead), Some(first)) = (lead, list.get_mut(0)) {
        first.decor_mut().set_prefix(lead);
    }
}
