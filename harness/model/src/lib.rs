//! What is asked of a kernel and what it answers, as pure values: no I/O.
//!
//! A [`scenario`] file is parsed, checked and expanded into a [`plan`] for one kernel; the guest program answers with
//! [`outcome`] records; [`verdict`] and [`judgement`] judge them, and [`snapshot`] renders the text that people review.

pub mod blob;
#[cfg(feature = "host")]
pub mod btf;
#[cfg(feature = "host")]
pub mod check;
#[cfg(feature = "host")]
pub mod configuration;
pub mod delegation;
#[cfg(feature = "host")]
pub mod difference;
pub mod errno;
#[cfg(feature = "host")]
pub mod expand;
#[cfg(feature = "host")]
pub mod feature;
#[cfg(feature = "host")]
pub mod grid;
#[cfg(feature = "host")]
pub mod ground;
#[cfg(feature = "host")]
pub mod judgement;
pub mod name;
#[cfg(feature = "host")]
pub mod names;
pub mod outcome;
#[cfg(feature = "host")]
pub mod permission;
pub mod plan;
#[cfg(feature = "host")]
pub mod proof;
#[cfg(feature = "host")]
pub mod reasons;
#[cfg(feature = "host")]
pub mod recipe;
#[cfg(feature = "host")]
pub mod scenario;
#[cfg(feature = "host")]
pub mod snapshot;
#[cfg(feature = "host")]
pub mod verdict;
#[cfg(feature = "host")]
pub mod vocabulary;
#[cfg(feature = "host")]
pub mod workflow;
