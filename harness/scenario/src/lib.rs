//! The format of scenario files, and what a scenario comes to on a kernel.

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
