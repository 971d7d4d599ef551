//! HTML pages that load nothing, and the text of others made safe to show.
//!
//! A page is one file: its style and its script are in it, and its Content-Security-Policy names them by their hashes and
//! forbids everything else. Without scripts, it lacks only its filter. `maud` escapes all text by its type.

mod document;
pub mod harmless;
pub mod parts;

pub use document::{Heading, document};
