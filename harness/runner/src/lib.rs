//! The host side: boots a VM, hands it a plan, keeps its outcomes and judges them.
