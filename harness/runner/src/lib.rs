//! The host side: boots a VM, hands it a plan, keeps its outcomes and judges them.

pub mod accel;
pub mod console;
pub mod qemu;
pub mod session;
pub mod vm;
