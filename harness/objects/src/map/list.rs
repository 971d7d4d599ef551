//! All maps of an object, in libbpf's order: `.maps`, data, Kconfig values, `struct_ops` (`bpf_object__init_maps` of
//! libbpf).

use std::collections::BTreeMap;

use harness_uapi::{
    btf::{Btf, BtfKind, BtfType},
    names,
    vocabulary::Kind,
};

use super::{
    Map, MapSource,
    definition::{self, Level},
    fields,
};
use crate::{
    elf::{Elf, SHT_NOBITS, SHT_PROGBITS, Section},
    error::ObjectError,
};

/// Far more than any object has.
const MOST_MAPS: usize = 1024;
/// `BPF_F_RDONLY_PROG`, `BPF_F_MMAPABLE` and `BPF_F_LINK` (`include/uapi/linux/bpf.h`).
const RDONLY_PROG: u32 = 1 << 7;
const MMAPABLE: u32 = 1 << 10;
const LINK: u32 = 1 << 13;
/// The sections of `struct_ops` instances.
const OPERATIONS: [&str; 4] = [".struct_ops", ".struct_ops.link", "?.struct_ops", "?.struct_ops.link"];
/// The section of arena variables.
const ARENA: &str = ".addr_space.1";
const JUMP_TABLES: &str = ".jumptables";
/// The size in bytes of the legacy `struct bpf_map_def`: five numbers, with which iproute2's begins too.
const LEGACY: usize = 20;

/// An instance of a `struct_ops` structure.
pub(crate) struct Operations {
    pub(crate) map: usize,
    pub(crate) section: usize,
    pub(crate) start: u64,
    pub(crate) size: u64,
    /// The BTF number of the structure's type.
    pub(crate) of: u32,
}

/// The maps, and the parts of the file that define them.
#[derive(Default)]
pub(crate) struct Maps {
    pub(crate) list: Vec<Map>,
    /// Variables that are maps, by section and offset.
    variables: BTreeMap<(usize, u64), usize>,
    /// Sections that are maps.
    sections: BTreeMap<usize, usize>,
    pub(crate) operations: Vec<Operations>,
    pub(crate) kconfig: Option<usize>,
    pub(crate) jump_tables: Option<usize>,
}

/// Offsets of variables, by section and name.
type Variables<'a> = BTreeMap<(usize, &'a str), u64>;

impl Maps {
    /// The maps of an object; `kconfig` says whether it reads Kconfig values.
    pub(crate) fn of(elf: &Elf<'_>, btf: Option<&Btf<'_>>, kconfig: bool) -> Result<Self, ObjectError> {
        let mut maps = Self::default();
        let named = elf.symbols.iter().filter(|symbol| symbol.section != 0 && !symbol.name.is_empty());
        let variables = named.map(|symbol| ((symbol.section, symbol.name), symbol.value)).collect();
        maps.described(elf, btf, &variables)?;
        maps.legacy(elf)?;
        maps.data(elf, btf)?;
        if kconfig {
            maps.kconfig = Some(maps.list.len());
            maps.add(data(".kconfig", 0, RDONLY_PROG | MMAPABLE, MapSource::Kconfig))?;
        }
        if let Some(btf) = btf {
            for name in OPERATIONS {
                maps.operations(elf, btf, name, &variables)?;
            }
        }
        let arena = maps.list.iter().position(|map| names::name(Kind::Map, map.map_type) == Some("arena"));
        if let (Some(arena), Some((section, _))) = (arena, elf.section(ARENA)) {
            maps.sections.insert(section, arena);
        }
        maps.jump_tables = elf.section(JUMP_TABLES).map(|(section, _)| section);
        Ok(maps)
    }

    /// The map at an offset in a section.
    pub(crate) fn at(&self, section: usize, value: u64) -> Option<usize> {
        self.sections.get(&section).or_else(|| self.variables.get(&(section, value))).copied()
    }

    fn add(&mut self, map: Map) -> Result<usize, ObjectError> {
        if self.list.len() == MOST_MAPS {
            return Err(ObjectError::TooMany { what: "maps", most: MOST_MAPS });
        }
        self.list.push(map);
        Ok(self.list.len() - 1)
    }

    /// Adds the maps that variables in `.maps` define by their BTF.
    fn described(&mut self, elf: &Elf<'_>, btf: Option<&Btf<'_>>, at: &Variables<'_>) -> Result<(), ObjectError> {
        let Some((section, _)) = elf.section(".maps") else { return Ok(()) };
        let types = btf.and_then(|btf| Some((btf, btf.section(".maps")?)));
        let missing = "it has no BTF; compile the object with `-g`";
        let (btf, (_, types)) = types.ok_or_else(|| ObjectError::damaged(".maps", missing))?;
        for member in btf.members(&types) {
            let variable = btf.get(member.of).filter(|found| found.kind == BtfKind::Var);
            let variable = variable.ok_or_else(|| ObjectError::damaged(".maps", "an entry is not a variable"))?;
            let map = self.add(definition::map(btf, variable.name, variable.size_or_type, Level::Outer)?)?;
            let offset = at.get(&(section, variable.name)).copied().unwrap_or(u64::from(member.offset));
            self.variables.insert((section, offset), map);
        }
        Ok(())
    }

    /// Adds the maps that structures in the section `maps` define.
    fn legacy(&mut self, elf: &Elf<'_>) -> Result<(), ObjectError> {
        let Some((section, held)) = elf.section("maps") else { return Ok(()) };
        let is_variable = |kind| matches!(kind, 0 | 1);
        let symbols = elf.symbols.iter().filter(|one| one.section == section && is_variable(one.kind));
        for symbol in symbols.filter(|symbol| !symbol.name.is_empty()) {
            let bytes = usize::try_from(symbol.value).ok().and_then(|at| held.bytes.get(at..at.checked_add(LEGACY)?));
            let bytes = bytes.ok_or_else(|| ObjectError::damaged(symbol.name, "the map reaches beyond its section"))?;
            let number = |at: usize| bytes[at..at + 4].iter().rev().fold(0, |all, byte| all << 8 | u32::from(*byte));
            let map = Map {
                map_type: number(0),
                key_size: number(4),
                max_entries: number(12),
                ..data(symbol.name, number(8), number(16), MapSource::Legacy)
            };
            let map = self.add(map)?;
            self.variables.insert((section, symbol.value), map);
        }
        Ok(())
    }

    /// Adds the maps of global data.
    fn data(&mut self, elf: &Elf<'_>, btf: Option<&Btf<'_>>) -> Result<(), ObjectError> {
        for (number, section) in elf.sections.iter().enumerate() {
            let Some(source) = source(section) else { continue };
            let types = btf.and_then(|btf| Some((btf, btf.section(section.name)?)));
            let constant = if source == MapSource::Rodata { RDONLY_PROG } else { 0 };
            let mapped = if types.as_ref().is_some_and(|(btf, (_, types))| is_seen(btf, types)) { MMAPABLE } else { 0 };
            let size = u32::try_from(section.size).unwrap_or(u32::MAX);
            let mut map = data(section.name, size, constant | mapped, source);
            map.special_fields = types.map(|(btf, (number, _))| fields::special(btf, number)).unwrap_or_default();
            let map = self.add(map)?;
            self.sections.insert(number, map);
        }
        Ok(())
    }

    /// Adds the maps of one `struct_ops` section.
    fn operations(&mut self, elf: &Elf<'_>, btf: &Btf<'_>, name: &str, at: &Variables<'_>) -> Result<(), ObjectError> {
        let (Some((section, _)), Some((_, types))) = (elf.section(name), btf.section(name)) else { return Ok(()) };
        for member in btf.members(&types) {
            let variable = btf.get(member.of).filter(|found| found.kind == BtfKind::Var);
            let structure = variable.and_then(|variable| Some((variable.name, btf.plain(variable.size_or_type)?)));
            let Some((variable, (of, structure))) = structure.filter(|(_, (_, of))| of.kind == BtfKind::Struct) else {
                return Err(ObjectError::damaged(name, "an entry is not a structure"));
            };
            let flags = if name.ends_with(".link") { LINK } else { 0 };
            let source = MapSource::StructOps(essential(structure.name).to_owned());
            let map_type = names::number(Kind::Map, "struct_ops").unwrap_or_default();
            let autocreate = !name.starts_with('?');
            let map = Map { map_type, autocreate, ..data(variable, structure.size_or_type, flags, source) };
            let map = self.add(map)?;
            let start = at.get(&(section, variable)).copied().unwrap_or(u64::from(member.offset));
            self.operations.push(Operations { map, section, start, size: u64::from(structure.size_or_type), of });
        }
        Ok(())
    }
}

/// A type's name without the `___` suffix that distinguishes its variants (`bpf_core_essential_name_len` of libbpf).
pub(crate) fn essential(name: &str) -> &str {
    match name.rfind("___") {
        Some(at) if at > 0 && at + 3 < name.len() => &name[..at],
        _ => name,
    }
}

fn source(section: &Section<'_>) -> Option<MapSource> {
    let is = |name: &str| section.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    match section.kind {
        _ if section.size == 0 || section.is_code => None,
        SHT_PROGBITS if is(".data") => Some(MapSource::Data),
        SHT_PROGBITS if is(".rodata") => Some(MapSource::Rodata),
        SHT_NOBITS if is(".bss") => Some(MapSource::Bss),
        _ => None,
    }
}

/// Whether any variable is global, so that libbpf makes the map mmapable.
fn is_seen(btf: &Btf<'_>, section: &BtfType<'_>) -> bool {
    btf.members(section).any(|member| btf.get(member.of).and_then(|one| btf.linkage(&one)).is_some_and(|one| one != 0))
}

/// An array map with one element.
fn data(name: &str, value_size: u32, flags: u32, source: MapSource) -> Map {
    Map {
        name: name.to_owned(),
        map_type: names::number(Kind::Map, "array").unwrap_or_default(),
        flags,
        key_size: 4,
        value_size,
        max_entries: 1,
        inner: None,
        special_fields: Vec::new(),
        source,
        autocreate: true,
        pinned_by_name: false,
    }
}
