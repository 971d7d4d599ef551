//! What is asked of a kernel and what it answers, as pure values: no I/O.
//!
//! A [`scenario`] file is parsed, checked and expanded into a [`plan`] for one kernel; the guest program answers with
//! [`outcome`] records; [`verdict`] and [`judgement`] judge them, and [`snapshot`] renders the text that people review.

pub mod check;
pub mod delegation;
pub mod errno;
pub mod expand;
pub mod judgement;
pub mod name;
pub mod outcome;
pub mod plan;
pub mod recipe;
pub mod scenario;
pub mod snapshot;
pub mod verdict;
pub mod vocabulary;
