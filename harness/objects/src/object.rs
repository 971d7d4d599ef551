//! A whole object.

mod externals;
mod programs;

use harness_uapi::{btf::Btf, names, vocabulary::Kind};

use crate::{
    code::{self, Meaning, Reader},
    elf::{Elf, STT_FUNC},
    error::ObjectError,
    extension::Extension,
    loader::{Library, Loader},
    map::{Map, MapSource, list::Maps},
    note::Note,
    program::{ExpectedAttach, Program, ProgramTarget},
    size::{self, MapSize},
};
use externals::Externals;

/// The largest file that is read, in bytes: ten times an object of a hundred thousand instructions with all its types.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// A relocatable BPF object, as its file describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Who loads it, which decides what its sections mean and what is requested.
    pub loader: Loader,
    /// Its license; empty if it names none.
    pub license: String,
    /// The kernel version it names, which probe programs once had to.
    pub kernel_version: Option<u32>,
    /// Its programs, in file order.
    pub programs: Vec<Program>,
    /// Its maps, in the order in which libbpf creates them.
    pub maps: Vec<Map>,
    /// Facts about its BTF, if it has any.
    pub btf: Option<BtfFacts>,
    /// The number of its CO-RE relocations.
    pub core_relocations: usize,
    /// The Kconfig values that it reads, and the `LINUX_*` values that libbpf provides.
    pub kconfig: Vec<String>,
    /// The kernel variables and functions that it uses; functions end in `()`.
    pub ksyms: Vec<String>,
    /// The sizes of maps that are set before they are created; [`read`] assumes one where a definition has none.
    pub sizes: Vec<MapSize>,
    /// Further notes.
    pub notes: Vec<Note>,
}

/// Facts about an object's BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BtfFacts {
    /// The number of its types.
    pub types: usize,
    /// Whether there is a `.BTF.ext` with the functions' types.
    pub functions: bool,
}

impl Object {
    /// Whether it has `struct_ops` maps, which libbpf does not load without BTF (`kernel_needs_btf`).
    pub fn has_operations(&self) -> bool {
        self.maps.iter().any(|map| matches!(map.source, MapSource::StructOps(_)))
    }

    /// Whether it has an arena map.
    pub fn has_arena(&self) -> bool {
        self.maps.iter().any(|map| names::name(Kind::Map, map.map_type) == Some("arena"))
    }
}

/// Reads a relocatable BPF object that libbpf loads.
///
/// # Errors
/// [`ObjectError`] if it is not one, or damaged.
pub fn read(bytes: &[u8]) -> Result<Object, ObjectError> {
    read_for(bytes, Loader::LIBBPF)
}

/// Reads a relocatable BPF object as a loader understands it.
///
/// # Errors
/// [`ObjectError`] if it is not one, or damaged.
pub fn read_for(bytes: &[u8], loader: Loader) -> Result<Object, ObjectError> {
    if bytes.len() > MOST_BYTES {
        return Err(ObjectError::TooLarge { size: bytes.len(), most: MOST_BYTES });
    }
    let elf = Elf::of(bytes)?;
    let btf = elf.section(".BTF").map(|(_, section)| Btf::of(section.bytes)).transpose()?;
    let extension = elf.section(".BTF.ext").map(|(_, section)| Extension::of(section.bytes)).unwrap_or_default();
    let externals = Externals::of(&elf, btf.as_ref());
    let maps = Maps::of(&elf, btf.as_ref(), !externals.kconfig.is_empty())?;
    let functions = code::functions(&elf)?;
    let relocations = elf.relocations()?;
    let meanings = meanings(&elf, &maps, &externals);
    let mut reader = Reader::new(&elf, &functions, &meanings);
    let none = Vec::new();
    let effects = functions
        .iter()
        .map(|function| reader.effects(function, relocations.get(&function.section).unwrap_or(&none)))
        .collect::<Result<Vec<_>, _>>()?;
    let found = programs::Found { elf: &elf, functions: &functions, effects: &effects, maps: &maps.list, loader };
    let mut notes = notes(&elf, btf.as_ref(), &maps.list, &externals, loader);
    let mut programs = found.programs(&mut notes)?;
    for operations in &maps.operations {
        let Some(btf) = &btf else { break };
        let relocations = relocations.get(&operations.section).unwrap_or(&none);
        found.assign_members(btf, operations, relocations, &mut programs);
    }
    programs::settle_operations(&mut programs, &mut notes);
    let sizes = size::assumed(&maps.list);
    notes.extend(sizes.iter().map(|size| Note::NoSize(size.map.clone(), size.max_entries)));
    notes.sort();
    notes.dedup();
    Ok(Object {
        loader,
        license: license(&elf),
        kernel_version: elf
            .section("version")
            .and_then(|(_, section)| Some(u32::from_le_bytes(section.bytes.get(..4)?.try_into().ok()?))),
        programs: programs.into_iter().map(|found| found.program).collect(),
        maps: maps.list,
        sizes,
        core_relocations: extension.relocations,
        btf: btf.map(|btf| BtfFacts { types: btf.len(), functions: extension.functions }),
        kconfig: externals.kconfig,
        ksyms: externals.ksyms,
        notes,
    })
}

/// The most bytes of a license that libbpf reads (`bpf_object__init_license`).
const LICENSE: usize = 63;

fn license(elf: &Elf<'_>) -> String {
    let bytes = elf.section("license").map(|(_, section)| section.bytes).unwrap_or_default();
    let text = &bytes[..bytes.len().min(LICENSE)];
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    String::from_utf8_lossy(&text[..end]).into_owned()
}

/// What each symbol refers to.
fn meanings(elf: &Elf<'_>, maps: &Maps, externals: &Externals) -> Vec<Meaning> {
    let meaning = |symbol: &crate::elf::Symbol<'_>| match elf.sections.get(symbol.section) {
        None | Some(_) if symbol.section == 0 => match (externals.is_kconfig(symbol.name), maps.kconfig) {
            (true, Some(map)) => Meaning::Map(map),
            _ => Meaning::External,
        },
        Some(section) if section.is_code => Meaning::Code,
        Some(_) if Some(symbol.section) == maps.jump_tables => Meaning::JumpTable,
        _ => maps.at(symbol.section, symbol.value).map_or(Meaning::Other, Meaning::Map),
    };
    elf.symbols.iter().map(meaning).collect()
}

fn notes(elf: &Elf<'_>, btf: Option<&Btf<'_>>, maps: &[Map], externals: &Externals, loader: Loader) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut note = |holds: bool, what: Note| notes.extend(holds.then_some(what));
    note(btf.is_none(), Note::NoTypes);
    let refuses_legacy = loader.library == Library::Libbpf;
    note(refuses_legacy && maps.iter().any(|map| map.source == MapSource::Legacy), Note::LegacyMaps);
    note(externals.kconfig.iter().any(|name| name.starts_with("CONFIG_")), Note::Kconfig);
    note(externals.addresses, Note::Addresses);
    for map in maps {
        let of_maps = matches!(names::name(Kind::Map, map.map_type), Some("array_of_maps" | "hash_of_maps"));
        note(map.pinned_by_name, Note::Pinned(map.name.clone()));
        note(of_maps && map.inner.is_none(), Note::NoInner(map.name.clone()));
    }
    let mut has_function = vec![false; elf.sections.len()];
    for symbol in elf.symbols.iter().filter(|symbol| symbol.kind == STT_FUNC) {
        has_function.get_mut(symbol.section).into_iter().for_each(|has| *has = true);
    }
    for (section, has) in elf.sections.iter().zip(has_function) {
        let is_bare = section.is_code && !section.bytes.is_empty() && !has;
        note(is_bare, Note::NoFunction(section.name.to_owned()));
    }
    notes
}
