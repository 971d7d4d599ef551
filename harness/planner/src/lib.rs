//! Turns a scenario and a kernel into the plan for the guest: names become numbers, and combinations of the matrix
//! cases.

pub mod check;
pub mod checked;
pub mod expand;
pub mod feature;
pub mod recipe;
