//! From a scenario and a kernel to the plan for the guest: names become numbers, combinations of the matrix cases.

pub mod check;
pub mod checked;
pub mod expand;
pub mod feature;
pub mod recipe;
