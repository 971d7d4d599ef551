//! The sections, symbols and relocations of a relocatable ELF file, read at bounded cost.

use std::collections::BTreeMap;

use object::{
    LittleEndian,
    elf::FileHeader64,
    read::elf::{FileHeader, Rel, SectionHeader, Sym},
};

use crate::error::ObjectError;

/// `EM_BPF` (`include/uapi/linux/elf-em.h`).
pub(crate) const EM_BPF: u16 = 247;
/// `ET_REL`.
const ET_REL: u16 = 1;
/// `SHT_PROGBITS`, `SHT_SYMTAB`, `SHT_NOBITS`, `SHT_REL` (`include/uapi/linux/elf.h`).
pub(crate) const SHT_PROGBITS: u32 = 1;
const SHT_SYMTAB: u32 = 2;
pub(crate) const SHT_NOBITS: u32 = 8;
const SHT_REL: u32 = 9;
/// `SHF_EXECINSTR`.
const SHF_EXECINSTR: u64 = 4;
/// `STT_FUNC` and `STB_LOCAL`.
pub(crate) const STT_FUNC: u8 = 2;
const STB_LOCAL: u8 = 0;

/// The longest name, in bytes: Rust's symbol names are long.
const LONGEST_NAME: usize = 1024;
const MOST_SECTIONS: usize = 16 * 1024;
const MOST_SYMBOLS: usize = 128 * 1024;

/// A section.
pub(crate) struct Section<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: u32,
    /// Empty for sections that take no space in the file.
    pub(crate) bytes: &'a [u8],
    pub(crate) size: u64,
    pub(crate) is_code: bool,
    header: &'a object::elf::SectionHeader64<LittleEndian>,
}

/// A symbol.
#[derive(Clone, Copy)]
pub(crate) struct Symbol<'a> {
    pub(crate) name: &'a str,
    /// The index of its section; 0 if it is undefined.
    pub(crate) section: usize,
    pub(crate) value: u64,
    pub(crate) size: u64,
    pub(crate) kind: u8,
    pub(crate) is_local: bool,
}

/// A reference from an instruction or data to a symbol.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relocation {
    pub(crate) offset: u64,
    /// The index of the symbol.
    pub(crate) symbol: usize,
}

/// A relocatable BPF ELF file.
pub(crate) struct Elf<'a> {
    bytes: &'a [u8],
    pub(crate) sections: Vec<Section<'a>>,
    pub(crate) symbols: Vec<Symbol<'a>>,
}

impl<'a> Elf<'a> {
    /// Parses a file. Refuses sections that overlap so much that reading each of them would read the file many times.
    pub(crate) fn of(bytes: &'a [u8]) -> Result<Self, ObjectError> {
        let header = header(bytes)?;
        let table = header.sections(LittleEndian, bytes)?;
        if table.len() > MOST_SECTIONS {
            return Err(ObjectError::TooMany { what: "sections", most: MOST_SECTIONS });
        }
        let strings = match header.section_strings_index(LittleEndian, bytes)? {
            object::SectionIndex(0) => &[][..],
            at => table.section(at)?.data(LittleEndian, bytes)?,
        };
        let mut sections = Vec::with_capacity(table.len());
        let mut held = 0_usize;
        for one in table.iter() {
            let section = section(one, strings, bytes)?;
            held = held.saturating_add(section.bytes.len());
            sections.push(section);
        }
        if held > bytes.len().saturating_mul(2) {
            return Err(ObjectError::damaged("section table", "sections overlap"));
        }
        let symbols = symbols(&sections)?;
        Ok(Self { bytes, sections, symbols })
    }

    /// The first section with this name, and its index.
    pub(crate) fn section(&self, name: &str) -> Option<(usize, &Section<'a>)> {
        self.sections.iter().enumerate().find(|(_, section)| section.name == name)
    }

    /// The size of all code, in bytes.
    pub(crate) fn code_size(&self) -> u64 {
        self.sections.iter().filter(|section| section.is_code).map(|section| section.bytes.len() as u64).sum()
    }

    /// All relocations, by the section they apply to, ordered by offset.
    pub(crate) fn relocations(&self) -> Result<BTreeMap<usize, Vec<Relocation>>, ObjectError> {
        let mut found: BTreeMap<usize, Vec<Relocation>> = BTreeMap::new();
        for section in self.sections.iter().filter(|section| section.kind == SHT_REL) {
            let Some((entries, _)) = section.header.rel(LittleEndian, self.bytes)? else { continue };
            let target = section.header.sh_info(LittleEndian) as usize;
            found.entry(target).or_default().extend(entries.iter().map(|entry| Relocation {
                offset: entry.r_offset(LittleEndian),
                symbol: entry.r_sym(LittleEndian) as usize,
            }));
        }
        for relocations in found.values_mut() {
            relocations.sort_by_key(|relocation| relocation.offset);
        }
        Ok(found)
    }
}

fn header(bytes: &[u8]) -> Result<&FileHeader64<LittleEndian>, ObjectError> {
    // The sixth byte of the identification is the byte order: 2 is `ELFDATA2MSB`.
    if bytes.starts_with(b"\x7fELF\x02\x02") {
        return Err(ObjectError::BigEndian);
    }
    let header = FileHeader64::<LittleEndian>::parse(bytes)?;
    let (machine, kind) = (header.e_machine(LittleEndian).0, header.e_type(LittleEndian).0);
    // Objects from old compilers have machine 0, which libbpf accepts (`bpf_object__elf_init`).
    if !matches!(machine, 0 | EM_BPF) {
        return Err(ObjectError::Machine(machine));
    }
    if kind != ET_REL {
        return Err(ObjectError::Linked(kind));
    }
    Ok(header)
}

fn section<'a>(
    header: &'a object::elf::SectionHeader64<LittleEndian>,
    strings: &'a [u8],
    bytes: &'a [u8],
) -> Result<Section<'a>, ObjectError> {
    let name = text(strings, header.sh_name(LittleEndian) as usize)?;
    Ok(Section {
        name,
        kind: header.sh_type(LittleEndian).0,
        bytes: header.data(LittleEndian, bytes)?,
        size: header.sh_size(LittleEndian),
        is_code: header.sh_flags(LittleEndian).0 & SHF_EXECINSTR != 0,
        header,
    })
}

fn symbols<'a>(sections: &[Section<'a>]) -> Result<Vec<Symbol<'a>>, ObjectError> {
    let table = sections.iter().find(|section| section.kind == SHT_SYMTAB).ok_or(ObjectError::Stripped)?;
    let strings = sections
        .get(table.header.sh_link(LittleEndian) as usize)
        .ok_or_else(|| ObjectError::damaged(table.name, "its string table is missing"))?;
    let (entries, _) =
        object::pod::slice_from_bytes::<object::elf::Sym64<LittleEndian>>(table.bytes, table.bytes.len() / 24)
            .map_err(|()| ObjectError::damaged(table.name, "it is misaligned"))?;
    if entries.len() > MOST_SYMBOLS {
        return Err(ObjectError::TooMany { what: "symbols", most: MOST_SYMBOLS });
    }
    entries.iter().map(|entry| symbol(entry, strings.bytes)).collect()
}

fn symbol<'a>(entry: &object::elf::Sym64<LittleEndian>, strings: &'a [u8]) -> Result<Symbol<'a>, ObjectError> {
    Ok(Symbol {
        name: text(strings, entry.st_name(LittleEndian) as usize)?,
        section: usize::from(entry.st_shndx(LittleEndian).0),
        value: entry.st_value(LittleEndian),
        size: entry.st_size(LittleEndian),
        kind: entry.st_type().0,
        is_local: entry.st_bind().0 == STB_LOCAL,
    })
}

/// The NUL-terminated text at an offset, at most [`LONGEST_NAME`] bytes long.
pub(crate) fn text(strings: &[u8], at: usize) -> Result<&str, ObjectError> {
    if at == 0 {
        return Ok("");
    }
    let rest = strings.get(at..).ok_or_else(|| ObjectError::damaged("name", "it lies outside its string table"))?;
    let seen = &rest[..rest.len().min(LONGEST_NAME)];
    let end = seen.iter().position(|byte| *byte == 0);
    let end = end.ok_or_else(|| ObjectError::damaged("name", "it is too long or unterminated"))?;
    std::str::from_utf8(&seen[..end]).map_err(|_| ObjectError::damaged("name", "it is not UTF-8"))
}
