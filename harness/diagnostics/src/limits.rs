//! Limits of files that people write.

/// The largest scenario file, in bytes.
pub const MOST_BYTES: usize = 1024 * 1024;
