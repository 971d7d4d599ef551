//! Names for file offsets in a program, by its symbols.

use std::collections::BTreeMap;

use object::{
    Endianness,
    elf::FileHeader64,
    read::elf::{FileHeader, ProgramHeader, Sym},
};

use crate::elf::text;

/// The most symbols that are read.
const MOST: usize = 4_000_000;

/// The name of the symbol at the address of each file offset, where there is one.
pub(super) fn names(bytes: &[u8], offsets: &[usize]) -> Result<Vec<Option<String>>, object::read::Error> {
    let mut names = vec![None; offsets.len()];
    if offsets.is_empty() {
        return Ok(names);
    }
    let header = FileHeader64::<Endianness>::parse(bytes)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, bytes)?;
    let address = |offset: usize| {
        let offset = offset as u64;
        segments.iter().take(256).find_map(|segment| {
            let within = offset.checked_sub(segment.p_offset(endian))?;
            // Type 1 is `PT_LOAD`.
            let holds = segment.p_type(endian).0 == 1 && within < segment.p_filesz(endian);
            holds.then(|| segment.p_vaddr(endian).wrapping_add(within))
        })
    };
    let at: BTreeMap<u64, usize> =
        offsets.iter().enumerate().filter_map(|(number, offset)| Some((address(*offset)?, number))).collect();
    let sections = header.sections(endian, bytes)?;
    let symbols = sections.symbols(endian, bytes, object::elf::SHT_SYMTAB)?;
    let strings = match symbols.string_section() {
        object::SectionIndex(0) => return Ok(names),
        section => object::read::elf::SectionHeader::data(sections.section(section)?, endian, bytes)?,
    };
    for symbol in symbols.iter().take(MOST) {
        let Some(number) = at.get(&symbol.st_value(endian)) else { continue };
        let name = text(strings, symbol.st_name(endian) as usize).ok().filter(|name| !name.is_empty());
        names[*number] = names[*number].take().or(name.map(str::to_owned));
    }
    Ok(names)
}
