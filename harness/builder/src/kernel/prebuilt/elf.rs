//! Sections of ELF files: the kernel and its modules.

use object::{
    Endianness,
    elf::FileHeader64,
    read::elf::{FileHeader, SectionHeader},
};
use thiserror::Error;

/// Why a file's sections cannot be read.
#[derive(Debug, Error)]
#[error("it is not an ELF file for x86-64, or it is damaged")]
pub struct ElfError(#[from] object::read::Error);

/// The note with the PVH entry point of a kernel: `XEN_ELFNOTE_PHYS32_ENTRY` (include/xen/interface/elfnote.h).
const PVH_ENTRY: u32 = 18;

/// An ELF file.
pub(super) struct Elf<'a> {
    bytes: &'a [u8],
    header: &'a FileHeader64<Endianness>,
    endian: Endianness,
}

impl<'a> Elf<'a> {
    /// Reads the header of a file.
    pub(super) fn of(bytes: &'a [u8]) -> Result<Self, ElfError> {
        let header = FileHeader64::<Endianness>::parse(bytes)?;
        Ok(Self { bytes, header, endian: header.endian()? })
    }

    /// Returns the contents of a section, if it exists.
    pub(super) fn section(&self, name: &str) -> Result<Option<&'a [u8]>, ElfError> {
        let sections = self.header.sections(self.endian, self.bytes)?;
        let found = sections.section_by_name(self.endian, name.as_bytes());
        Ok(found.map(|(_, section)| section.data(self.endian, self.bytes)).transpose()?)
    }

    /// Reports whether QEMU can start it by PVH, so that the guest need not unpack it.
    pub(super) fn has_pvh_entry(&self) -> Result<bool, ElfError> {
        for section in self.header.sections(self.endian, self.bytes)?.iter() {
            let Some(mut notes) = section.notes(self.endian, self.bytes)? else { continue };
            while let Some(note) = notes.next()? {
                if note.name() == b"Xen" && note.n_type(self.endian).0 == PVH_ENTRY {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    /// Makes a note of an ELF file.
    pub(in crate::kernel::prebuilt) fn note(name: &str, kind: u32, contents: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [name.len() as u32 + 1, contents.len() as u32, kind] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(contents);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// Makes the smallest ELF file with these sections; those named `.note…` hold notes.
    pub(in crate::kernel::prebuilt) fn elf(sections: &[(&str, &[u8])]) -> Vec<u8> {
        let names: Vec<&str> = sections.iter().map(|(name, _)| *name).chain([".shstrtab"]).collect();
        let table: Vec<u8> = std::iter::once(0).chain(names.iter().flat_map(|n| n.bytes().chain([0]))).collect();
        let contents = sections.iter().map(|(_, contents)| *contents).chain([&table[..]]);
        let (mut body, mut headers) = (vec![0; 64], vec![0; 64]);
        let mut name_at = 1_u32;
        for (name, contents) in names.iter().zip(contents) {
            let kind: u32 = match *name {
                ".shstrtab" => 3,
                name if name.starts_with(".note") => 7,
                _ => 1,
            };
            headers.extend([name_at, kind].iter().flat_map(|word| word.to_le_bytes()));
            let words = [0, 0, body.len() as u64, contents.len() as u64, 0, 4, 0];
            headers.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            name_at += name.len() as u32 + 1;
            body = padded([body, contents.to_vec()].concat());
        }
        let table_at = body.len() as u64;
        body[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        body[16..20].copy_from_slice(&[2, 0, 62, 0]);
        body[20] = 1;
        body[40..48].copy_from_slice(&table_at.to_le_bytes());
        body[52] = 64;
        body[58] = 64;
        body[60] = names.len() as u8 + 1;
        body[62] = names.len() as u8;
        [body, headers].concat()
    }

    #[test]
    fn sections_are_found_by_name() {
        let file = elf(&[(".BTF", b"types"), (".notes", b"")]);
        let elf = Elf::of(&file).unwrap();
        assert_eq!(elf.section(".BTF").unwrap(), Some(&b"types"[..]));
        assert_eq!(elf.section(".text").unwrap(), None);
        assert!(!elf.has_pvh_entry().unwrap());
    }

    #[test]
    fn a_pvh_entry_is_a_xen_note() {
        let entry = note("Xen", PVH_ENTRY, &0x0100_0000_u32.to_le_bytes());
        let other = note("GNU", 3, b"build id of it all..");
        let has = |notes: &[u8]| Elf::of(&elf(&[(".notes", notes)])).unwrap().has_pvh_entry().unwrap();
        assert!(has(&[other.clone(), entry.clone()].concat()));
        assert!(!has(&other) && !has(&note("GNU", PVH_ENTRY, b"1234")) && !has(&note("Xen", 6, b"linux")));
    }

    #[test]
    fn other_files_are_refused() {
        assert!(Elf::of(b"MZ").is_err());
        let file = elf(&[(".BTF", b"types")]);
        assert!(Elf::of(&file[..file.len() - 70]).and_then(|elf| elf.section(".BTF").map(drop)).is_err());
    }
}
