//! Problems in files that users write: where they are, what they are, and suggestions.

pub mod document;
pub mod limits;
pub mod node;
pub mod report;
pub mod schema;
pub mod structure;
pub mod suggest;
pub mod workflow;
