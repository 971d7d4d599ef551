//! A user's file: places in it, what is wrong there, and suggestions.

pub mod limits;
pub mod node;
pub mod report;
pub mod structure;
pub mod suggest;
pub mod workflow;
