//! The dynamic linker's cache, `/etc/ld.so.cache`: which library is where, as ldconfig(8) found it in the folders of
//! `/etc/ld.so.conf` (glibc, sysdeps/generic/dl-cache.h).

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::elf::LONGEST;

/// What the format that glibc has read since 2.2 begins with. An older one may stand before it in the same file.
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
/// The size of its header and of each entry.
const HEADER: usize = 48;
const ENTRY: usize = 24;
/// An ELF library of glibc 2 for x86-64: `FLAG_ELF_LIBC6 | FLAG_X8664_LIB64`.
const OURS: u32 = 0x0303;

/// A cache, read. Bytes that are no cache are an empty one, as for the linker.
#[derive(Clone, Debug, Default)]
pub(super) struct LinkerCache {
    entries: Vec<(Vec<u8>, PathBuf)>,
}

impl LinkerCache {
    /// Reads the entries for x86-64.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { entries: entries(bytes).unwrap_or_default() }
    }

    /// Returns where the library of a name is: first the one for every processor, then those for some.
    pub(super) fn get(&self, name: &[u8]) -> impl Iterator<Item = &Path> {
        self.entries.iter().filter(move |(known, _)| known == name).map(|(_, path)| path.as_path())
    }
}

fn entries(bytes: &[u8]) -> Option<Vec<(Vec<u8>, PathBuf)>> {
    let start = bytes.windows(MAGIC.len()).position(|window| window == MAGIC)?;
    let bytes = &bytes[start..];
    let count = word(bytes, MAGIC.len())? as usize;
    let table = bytes.get(HEADER..)?.chunks_exact(ENTRY).take(count);
    let entry = |entry: &[u8]| {
        let ours = word(entry, 0)? == OURS;
        let hardware = entry.get(16..24)?.iter().any(|byte| *byte != 0);
        let [name, path] = [word(entry, 4)?, word(entry, 8)?].map(|at| text(bytes, at));
        ours.then_some((hardware, name?.to_vec(), PathBuf::from(OsStr::from_bytes(path?))))
    };
    let mut found: Vec<_> = table.filter_map(entry).collect();
    found.sort_by_key(|(hardware, ..)| *hardware);
    Some(found.into_iter().map(|(_, name, path)| (name, path)).collect())
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

fn text(bytes: &[u8], at: u32) -> Option<&[u8]> {
    let bytes = bytes.get(at as usize..)?;
    bytes[..bytes.len().min(LONGEST)].split(|byte| *byte == 0).next()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Makes a cache of (flags, hwcap, name, path).
    pub(in crate::program_files) fn cache(entries: &[(u32, u64, &str, &str)]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend((entries.len() as u32).to_le_bytes());
        bytes.resize(HEADER, 0);
        let mut strings = Vec::new();
        let first = HEADER + entries.len() * ENTRY;
        for (flags, hardware, name, path) in entries {
            bytes.extend(flags.to_le_bytes());
            for text in [name, path] {
                bytes.extend(((first + strings.len()) as u32).to_le_bytes());
                strings.extend(text.bytes().chain([0]));
            }
            bytes.extend([0; 4]);
            bytes.extend(hardware.to_le_bytes());
        }
        bytes.extend(strings);
        bytes
    }

    fn found(bytes: &[u8], name: &str) -> Vec<String> {
        LinkerCache::of(bytes).get(name.as_bytes()).map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn libraries_for_this_machine_are_found_by_name() {
        let bytes = cache(&[
            (OURS, 1 << 62, "liba.so", "/v3/liba.so"),
            (0x0003, 0, "liba.so", "/32/liba.so"),
            (OURS, 0, "liba.so", "/lib/liba.so"),
            (OURS, 0, "liba.so.1", "/lib/liba.so.1"),
        ]);
        assert_eq!(found(&bytes, "liba.so"), ["/lib/liba.so", "/v3/liba.so"]);
        assert_eq!(found(&bytes, "libb.so"), [""; 0]);
    }

    #[test]
    fn an_older_format_may_stand_before_it() {
        let bytes = [b"ld.so-1.7.0\0\0\0\0\0".to_vec(), cache(&[(OURS, 0, "liba.so", "/a")])].concat();
        assert_eq!(found(&bytes, "liba.so"), ["/a"]);
    }

    #[test]
    fn whatever_is_cut_short_has_no_more_entries() {
        let whole = cache(&[(OURS, 0, "liba.so", "/a")]);
        for length in 0..whole.len() - 12 {
            assert_eq!(found(&whole[..length], "liba.so"), [""; 0], "{length}");
        }
        let mut far = whole.clone();
        far[HEADER + 4..HEADER + 8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(found(&far, "liba.so"), [""; 0]);
    }
}
