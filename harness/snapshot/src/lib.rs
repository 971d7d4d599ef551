//! What people review: verdicts as text, differences between two kernels, and the recorded reasons for them.

pub mod allowed_splats;
pub mod audit_refusals;
pub mod difference;
mod entry;
pub mod owner;
pub mod reasons;
pub mod recorded;
pub mod render;
pub mod table;
