//! The format of scenario files, and scenarios that are expanded for one kernel.

pub mod attempt;
pub mod choice;
pub mod expanded;
pub mod expect;
pub mod file;
pub mod layout;
pub mod schema;
pub mod similar;
pub mod spec;
pub mod sweep;
