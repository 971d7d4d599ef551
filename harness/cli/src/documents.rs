//! JSON documents that verbs print, with their format.

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use schemars::JsonSchema;
use serde::Serialize;

use crate::screen::print;

/// The version of each document; it increases when readers of the previous one would misread the new one.
pub const FORMAT: u32 = 1;

/// An output format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text
    #[default]
    Human,
    /// One JSON document, with a schema in docs/
    Json,
}

/// The output of `kernel list --format json` and `image list --format json`.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "List")]
pub struct List {
    format: u32,
    /// Each kernel or image that has a manifest.
    items: Vec<Listed>,
}

/// A kernel or an image.
#[derive(Serialize, JsonSchema)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// What it is, in a sentence.
    pub summary: String,
    /// What was built: a kernel's release, or what an image has in it; null if nothing is.
    pub built: Option<String>,
}

impl List {
    /// Returns the document of these.
    pub fn of(items: Vec<Listed>) -> Self {
        Self { format: FORMAT, items }
    }
}

/// Prints a document.
///
/// # Errors
/// If it cannot be printed.
pub fn show(document: &impl Serialize) -> Result<()> {
    print(&(serde_json::to_string_pretty(document).context("cannot write the document as JSON")? + "\n"))
}
