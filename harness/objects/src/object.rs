//! An object as a whole.

mod externals;
mod programs;

use harness_uapi::{btf::Btf, names, vocabulary::Kind};

use crate::{
    code::{self, Meaning, Reader},
    elf::{Elf, STT_FUNC},
    error::ObjectError,
    extension::Extension,
    map::{Map, MapSource, list::Maps},
    note::Note,
    program::{ExpectedAttach, Program, ProgramTarget},
};
use externals::Externals;

/// Larger files are not read: an object of a hundred thousand instructions with all its types has a tenth of it.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// What a relocatable BPF object says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The licence it names; empty if none.
    pub license: String,
    /// The kernel's version it names, which old programs for probes had to.
    pub kernel_version: Option<u32>,
    /// Its programs, in the order of the file.
    pub programs: Vec<Program>,
    /// Its maps, in the order in which libbpf creates them.
    pub maps: Vec<Map>,
    /// What is known of its type information, if it has any.
    pub btf: Option<BtfFacts>,
    /// How many places of its code are fitted to the kernel's types (CO-RE).
    pub core_relocations: usize,
    /// The values of the kernel's configuration that it asks for, and of what libbpf itself tells (`LINUX_*`).
    pub kconfig: Vec<String>,
    /// The variables and functions of the kernel that it asks for, functions with `()`.
    pub ksyms: Vec<String>,
    /// What else is to be said.
    pub notes: Vec<Note>,
}

/// What is known of type information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BtfFacts {
    /// How many types it has.
    pub types: usize,
    /// Whether it comes with `.BTF.ext`, and that tells the functions' types.
    pub functions: bool,
}

impl Object {
    /// Whether it has operations of structures, without whose types libbpf loads nothing (`kernel_needs_btf`).
    pub fn has_operations(&self) -> bool {
        self.maps.iter().any(|map| matches!(map.source, MapSource::StructOps(_)))
    }

    /// Whether some variable of an arena, or a map of that type, is in it.
    pub fn has_arena(&self) -> bool {
        self.maps.iter().any(|map| names::name(Kind::Map, map.map_type) == Some("arena"))
    }
}

/// Reads a relocatable BPF object.
pub fn read(bytes: &[u8]) -> Result<Object, ObjectError> {
    if bytes.len() > MOST_BYTES {
        return Err(ObjectError::TooLarge { size: bytes.len(), most: MOST_BYTES });
    }
    let elf = Elf::of(bytes)?;
    let btf = elf.section(".BTF").map(|(_, section)| Btf::of(section.bytes)).transpose()?;
    let extension = elf.section(".BTF.ext").map(|(_, section)| Extension::of(section.bytes)).unwrap_or_default();
    let outside = Externals::of(&elf, btf.as_ref());
    let maps = Maps::of(&elf, btf.as_ref(), !outside.kconfig.is_empty())?;
    let functions = code::functions(&elf)?;
    let relocations = elf.relocations()?;
    let meanings = meanings(&elf, &maps, &outside);
    let mut reader = Reader::new(&elf, &functions, &meanings);
    let none = Vec::new();
    let deeds = functions
        .iter()
        .map(|function| reader.deeds(function, relocations.get(&function.section).unwrap_or(&none)))
        .collect::<Result<Vec<_>, _>>()?;
    let found = programs::Found { elf: &elf, functions: &functions, deeds: &deeds, maps: &maps.list };
    let mut notes = notes(&elf, btf.as_ref(), &maps.list, &outside);
    let mut programs = found.programs(&mut notes)?;
    for operations in &maps.operations {
        let Some(btf) = &btf else { break };
        let relocations = relocations.get(&operations.section).unwrap_or(&none);
        found.take_part(btf, operations, relocations, &mut programs);
    }
    programs::settle_operations(&mut programs, &mut notes);
    notes.sort();
    notes.dedup();
    Ok(Object {
        license: license(&elf),
        kernel_version: elf
            .section("version")
            .and_then(|(_, section)| Some(u32::from_le_bytes(section.bytes.get(..4)?.try_into().ok()?))),
        programs: programs.into_iter().map(|found| found.program).collect(),
        maps: maps.list,
        core_relocations: extension.relocations,
        btf: btf.map(|btf| BtfFacts { types: btf.len(), functions: extension.functions }),
        kconfig: outside.kconfig,
        ksyms: outside.ksyms,
        notes,
    })
}

/// libbpf takes so much of a licence's name (`bpf_object__init_license`).
const LICENSE: usize = 63;

fn license(elf: &Elf<'_>) -> String {
    let bytes = elf.section("license").map(|(_, section)| section.bytes).unwrap_or_default();
    let text = &bytes[..bytes.len().min(LICENSE)];
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    String::from_utf8_lossy(&text[..end]).into_owned()
}

/// What each symbol stands for.
fn meanings(elf: &Elf<'_>, maps: &Maps, outside: &Externals) -> Vec<Meaning> {
    let meaning = |symbol: &crate::elf::Symbol<'_>| match elf.sections.get(symbol.section) {
        None | Some(_) if symbol.section == 0 => match (outside.is_kconfig(symbol.name), maps.kconfig) {
            (true, Some(map)) => Meaning::Map(map),
            _ => Meaning::Outside,
        },
        Some(section) if section.is_code => Meaning::Code,
        Some(_) if Some(symbol.section) == maps.jump_tables => Meaning::JumpTable,
        _ => maps.at(symbol.section, symbol.value).map_or(Meaning::Other, Meaning::Map),
    };
    elf.symbols.iter().map(meaning).collect()
}

/// Whether the kernel makes no map of this type without a number of elements. libbpf fills in that of
/// `perf_event_array`.
fn takes_size(map_type: u32) -> bool {
    let name = names::name(Kind::Map, map_type).unwrap_or_default();
    !name.contains("storage") && !matches!(name, "perf_event_array" | "struct_ops" | "arena")
}

fn notes(elf: &Elf<'_>, btf: Option<&Btf<'_>>, maps: &[Map], outside: &Externals) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut note = |holds: bool, what: Note| notes.extend(holds.then_some(what));
    note(btf.is_none(), Note::NoTypes);
    note(maps.iter().any(|map| map.source == MapSource::Legacy), Note::LegacyMaps);
    note(outside.kconfig.iter().any(|name| name.starts_with("CONFIG_")), Note::Kconfig);
    note(outside.addresses, Note::Addresses);
    for map in maps {
        let of_maps = matches!(names::name(Kind::Map, map.map_type), Some("array_of_maps" | "hash_of_maps"));
        note(map.max_entries == 0 && takes_size(map.map_type), Note::NoSize(map.name.clone()));
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
