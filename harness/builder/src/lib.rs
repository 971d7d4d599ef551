//! Builds kernels, images and the guest programs: from a manifest to a bootable artefact in the cache.

pub mod bundle;
pub mod cache;
pub mod command;
pub mod corpus;
mod cpio;
pub mod digest;
pub mod error_chain;
pub mod fetch;
pub mod file;
pub mod first_releases;
pub mod folder;
pub mod guard_mutant;
pub mod guest_program;
pub mod host;
pub mod image;
pub mod initramfs;
pub mod kernel;
pub mod listing;
pub mod mirror;
pub mod objects;
pub mod pins;
pub mod progress;
pub mod project;
pub mod references;
pub mod signing;
pub mod vocabularies;
