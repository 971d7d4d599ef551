//! Kernels: from a manifest in `kernels/` to a boot image and its type information in the cache.

pub mod catalogue;
pub mod fragment;
pub mod manifest;
