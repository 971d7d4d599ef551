//! Finds the smallest grant with which BPF objects load, as a search without I/O.

pub mod minimizer;
pub mod object;
pub mod question;
pub mod search;
pub mod setting;
