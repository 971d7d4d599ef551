//! What the headers of an ELF file say to the kernel and to the dynamic linker (elf(5)).

use std::{
    ffi::OsStr,
    fs::File,
    io::Read,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use object::{
    LittleEndian,
    elf::{self, FileHeader64, ProgramHeader64},
    read::{
        ReadCache, ReadRef, StringTable,
        elf::{Dyn, FileHeader, ProgramHeader},
    },
};

use super::error::{ProgramFilesError, reading};

/// The most libraries that one file may need; a large desktop program needs about 100.
const MOST_NEEDED: usize = 4096;

/// The longest name of a library, or list of folders, in bytes. The kernel takes no longer path (`PATH_MAX`, include/uapi/linux/limits.h).
pub(super) const LONGEST: usize = 4096;

/// What a program or library asks of the dynamic linker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Headers {
    /// The program that the kernel starts in its place: `PT_INTERP`.
    pub(super) interpreter: Option<PathBuf>,
    /// The libraries it needs: `DT_NEEDED`.
    pub(super) needed: Vec<Vec<u8>>,
    /// By which name others need it: `DT_SONAME`.
    pub(super) name: Option<Vec<u8>>,
    /// Where its libraries are, and those of its libraries: `DT_RPATH`.
    pub(super) rpath: Option<Vec<u8>>,
    /// Where its own libraries are: `DT_RUNPATH`. With it, its `DT_RPATH` does not count.
    pub(super) runpath: Option<Vec<u8>>,
}

impl Headers {
    /// Reads the headers of a program or library.
    pub(super) fn of(path: &Path) -> Result<Self, ProgramFilesError> {
        let start = start(path)?;
        if !is_ours(&start) {
            let class = if start.get(4) == Some(&1) { 32 } else { 64 };
            let number = start.get(18..20).map_or(0, |bytes| u16::from(bytes[0]) | u16::from(bytes[1]) << 8);
            let machine = format!("{class} bits, ELF machine {number}");
            return Err(ProgramFilesError::Machine { path: path.to_owned(), machine });
        }
        let cache = ReadCache::new(File::open(path).map_err(reading(path))?);
        read(&cache).map_err(|error| ProgramFilesError::Damaged { path: path.to_owned(), reason: error.to_string() })
    }

    /// Reads the headers of a file if it is a program or library for this machine, and not a BPF object, a file of data or
    /// an object that was not linked.
    pub(super) fn of_linkable(path: &Path) -> Result<Option<Self>, ProgramFilesError> {
        let start = start(path)?;
        let kind = start.get(16..18).map_or(0, |bytes| u16::from(bytes[0]) | u16::from(bytes[1]) << 8);
        let linked = [elf::ET_EXEC.0, elf::ET_DYN.0].contains(&kind);
        if is_ours(&start) && linked { Self::of(path).map(Some) } else { Ok(None) }
    }
}

/// Reads as much of a file as says what it is.
fn start(path: &Path) -> Result<Vec<u8>, ProgramFilesError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(reading(path))?;
    file.take(20).read_to_end(&mut bytes).map_err(reading(path))?;
    Ok(bytes)
}

/// Reports whether a file is an ELF file for x86-64: 64 bits, little endian.
fn is_ours(start: &[u8]) -> bool {
    let machine = elf::EM_X86_64.0.to_le_bytes();
    start.starts_with(b"\x7fELF\x02\x01") && start.get(18..20) == Some(&machine[..])
}

pub(super) fn read<'data, R: ReadRef<'data>>(data: R) -> Result<Headers, object::read::Error> {
    let header = FileHeader64::<LittleEndian>::parse(data)?;
    let segments = header.program_headers(LittleEndian, data)?;
    let mut headers = Headers::default();
    for segment in segments {
        if let Some(path) = segment.interpreter(LittleEndian, data)? {
            headers.interpreter = Some(PathBuf::from(OsStr::from_bytes(path)));
        }
        if let Some(entries) = segment.dynamic(LittleEndian, data)? {
            linking(&mut headers, entries, segments, data)?;
        }
    }
    Ok(headers)
}

/// Reads the part for the dynamic linker.
fn linking<'data, R: ReadRef<'data>>(
    headers: &mut Headers,
    entries: &[elf::Dyn64<LittleEndian>],
    segments: &[ProgramHeader64<LittleEndian>],
    data: R,
) -> Result<(), object::read::Error> {
    let entries = || entries.iter().take_while(|entry| entry.tag(LittleEndian) != elf::DT_NULL);
    let value = |tag| entries().find(|entry| entry.tag(LittleEndian) == tag).map(|entry| entry.val(LittleEndian));
    let Some(table) = value(elf::DT_STRTAB).and_then(|address| offset(segments, address)) else { return Ok(()) };
    let end = table.saturating_add(value(elf::DT_STRSZ).unwrap_or(0));
    let strings = StringTable::new(data, table, end);
    let string = |at: u64| {
        let text = u32::try_from(at).ok().and_then(|at| strings.get(at).ok());
        text.filter(|text| text.len() <= LONGEST).map(<[u8]>::to_vec)
    };
    let of = |tag| value(tag).and_then(string);
    (headers.name, headers.rpath, headers.runpath) = (of(elf::DT_SONAME), of(elf::DT_RPATH), of(elf::DT_RUNPATH));
    let needed = entries().filter(|entry| entry.tag(LittleEndian) == elf::DT_NEEDED).take(MOST_NEEDED);
    headers.needed = needed.filter_map(|entry| string(entry.val(LittleEndian))).collect();
    Ok(())
}

/// Returns where in the file an address of the loaded program is.
fn offset(segments: &[ProgramHeader64<LittleEndian>], address: u64) -> Option<u64> {
    segments.iter().filter(|segment| segment.p_type(LittleEndian) == elf::PT_LOAD).find_map(|segment| {
        let within = address.checked_sub(segment.p_vaddr(LittleEndian))?;
        if within < segment.p_filesz(LittleEndian) { segment.p_offset(LittleEndian).checked_add(within) } else { None }
    })
}
