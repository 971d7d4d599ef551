//! The host side: boots a VM, hands it a plan, keeps its outcomes and judges them.

pub mod accel;
mod batches;
pub mod blessing;
pub mod console;
pub mod detection;
pub mod fleet;
pub mod grounds;
pub mod identity;
pub mod lab;
pub mod launch;
pub mod measure;
pub mod objects;
pub mod preparation;
pub mod proof;
pub mod qemu;
pub mod report;
pub mod selection;
pub mod session;
pub mod shell;
pub mod store;
pub mod suite;
pub mod supplies;
pub mod testbed;
pub mod unit_files;
pub mod unit_image;
pub mod vm;
