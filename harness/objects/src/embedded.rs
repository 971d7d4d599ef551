//! Objects embedded in a program: libbpf skeletons are whole ELF files among its constants.

mod symbols;

use crate::elf::EM_BPF;

/// An object embedded in other bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embedded {
    /// Its offset in bytes.
    pub offset: usize,
    /// Its size in bytes, up to the end of its last table or section.
    pub size: usize,
    /// Its name, if a symbol of the program names it.
    pub name: Option<String>,
}

/// The most objects that are found in one program.
const MOST: usize = 1024;
/// The most sections that are read in all: anything may look like the beginning of an object.
const MOST_SECTIONS: usize = 1_000_000;
/// The first bytes of a little-endian ELF64 file.
const MAGIC: &[u8] = b"\x7fELF\x02\x01\x01";
/// The size of an ELF header, and of an entry in the section table.
const HEADER: usize = 64;

/// The BPF objects embedded in a program, ordered by offset. Objects with damaged tables are left out.
pub fn embedded(bytes: &[u8]) -> Vec<Embedded> {
    let mut found = Vec::new();
    let (mut at, mut left) = (0, MOST_SECTIONS);
    while let Some(next) = next(bytes, at) {
        at = next + 1;
        // The fields that locate its tables may be wrong, so nothing beyond `bytes` is read.
        let Some(size) = size(&bytes[next..], &mut left) else { continue };
        found.push(Embedded { offset: next, size, name: None });
        at = next + size;
        if found.len() == MOST {
            break;
        }
    }
    name(bytes, &mut found);
    found
}

fn next(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(found) = bytes.get(at..)?.iter().position(|byte| *byte == MAGIC[0]) {
        at += found;
        if bytes[at..].starts_with(MAGIC) {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// The size of the object at the start of `bytes`; `None` if there is none, or its sections reach beyond `bytes`.
fn size(bytes: &[u8], left: &mut usize) -> Option<usize> {
    let half = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let long =
        |at: usize| usize::try_from(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?)).ok();
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?));
    let (kind, machine) = (half(16)?, half(18)?);
    // `e_shoff`, `e_shentsize` and `e_shnum`.
    let (table, entry, count) = (long(40)?, usize::from(half(58)?), usize::from(half(60)?));
    if kind != 1 || machine != EM_BPF || entry != HEADER || count == 0 || table < HEADER {
        return None;
    }
    *left = left.checked_sub(count)?;
    let mut end = table.checked_add(count * HEADER)?;
    for section in 0..count {
        let at = table.checked_add(section * HEADER)?;
        // `SHT_NULL` and `SHT_NOBITS` sections take no space.
        if !matches!(word(at + 4)?, 0 | 8) {
            end = end.max(long(at + 24)?.checked_add(long(at + 32)?)?);
        }
    }
    (end <= bytes.len()).then_some(end)
}

/// Names embedded objects by the program's symbols, if it is an ELF64 file and has any.
fn name(bytes: &[u8], found: &mut [Embedded]) {
    let offsets: Vec<usize> = found.iter().map(|object| object.offset).collect();
    let Ok(names) = symbols::names(bytes, &offsets) else { return };
    for (object, name) in found.iter_mut().zip(names) {
        object.name = name;
    }
}

#[cfg(test)]
mod tests;
