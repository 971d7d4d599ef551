//! The kernel's BPF interface: names and numbers from BTF and Kconfig, releases, masks, capabilities, and the permission
//! checks as a function of a request, a grant and a release.

pub mod btf;
pub mod capability;
pub mod configuration;
pub mod delegation;
pub mod names;
pub mod permission;
pub mod release;
pub mod resolver;
pub mod vocabulary;
