//! Bounds of the files that people write.

/// A scenario file has at most this many bytes.
pub const MOST_BYTES: usize = 1024 * 1024;
