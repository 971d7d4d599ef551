//! What people review: verdicts as text, what differs between two kernels, and the recorded reasons.

pub mod difference;
pub mod owner;
pub mod reasons;
pub mod recorded;
pub mod render;
pub mod table;
