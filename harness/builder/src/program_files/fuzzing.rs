//! What the fuzz targets call: readers of files of the host, which this crate does not export.

use super::{
    elf::{self, LONGEST},
    linker_cache::LinkerCache,
};

/// Reads what a program or library asks of the dynamic linker.
pub fn read_headers(bytes: &[u8]) {
    if let Ok(headers) = elf::read(bytes) {
        assert!(headers.needed.iter().chain(&headers.name).all(|name| name.len() <= LONGEST));
    }
}

/// Reads the dynamic linker's cache, and looks for a library.
pub fn read_linker_cache(bytes: &[u8]) {
    let cache = LinkerCache::of(bytes);
    assert!(cache.get(b"libc.so.6").all(|path| path.as_os_str().len() <= LONGEST));
}
