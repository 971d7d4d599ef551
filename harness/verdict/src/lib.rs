//! From a plan and its outcome to verdicts. A fault of the harness or of the guest never becomes one.

pub mod granted;
mod guard;
pub mod judge;
pub mod judgement;
pub mod object;
pub mod reason;
pub mod verdict;
