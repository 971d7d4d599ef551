//! Maps defined in `.maps`: each is a variable whose members define the map by their types (`parse_btf_map_def` of
//! libbpf).

use harness_uapi::{
    btf::{Btf, BtfKind, BtfType, Member},
    names,
    vocabulary::Kind,
};

use super::{Map, MapSource, fields};
use crate::error::ObjectError;

/// `LIBBPF_PIN_BY_NAME` (`src/libbpf.h`).
const PIN_BY_NAME: u32 = 1;
/// The most members of a definition that are read.
const MOST_PARTS: usize = 64;

/// The map that a variable of this type defines.
pub(crate) fn map(btf: &Btf<'_>, name: &str, of: u32, level: Level) -> Result<Map, ObjectError> {
    let (_, definition) = btf
        .plain(of)
        .filter(|(_, found)| found.kind == BtfKind::Struct)
        .ok_or_else(|| ObjectError::damaged(name, "the map is not defined by a structure"))?;
    let mut map = Map {
        name: name.to_owned(),
        map_type: 0,
        flags: 0,
        key_size: 0,
        value_size: 0,
        max_entries: 0,
        inner: None,
        special_fields: Vec::new(),
        source: MapSource::Btf,
        autocreate: true,
        pinned_by_name: false,
    };
    let mut value = None;
    for member in btf.members(&definition).take(MOST_PARTS) {
        part(btf, &mut map, member, level)?;
        value = btf.pointee(member.of).filter(|_| member.name == "value").or(value);
    }
    map.special_fields = value.map(|value| fields::special(btf, value)).unwrap_or_default();
    if map.map_type == 0 {
        return Err(ObjectError::damaged(name, "the map has no type"));
    }
    Ok(map)
}

/// Whether a map may hold maps of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// It may hold maps.
    Outer,
    /// It is an inner map itself.
    Inner,
}

fn part(btf: &Btf<'_>, map: &mut Map, member: Member<'_>, level: Level) -> Result<(), ObjectError> {
    let number = || {
        let length = btf.pointee(member.of).and_then(|of| btf.get(of)).and_then(|found| btf.array(&found));
        length.map(|(_, length)| length).ok_or_else(|| {
            ObjectError::damaged(&map.name, "a number in the map's definition is not encoded as an array length")
        })
    };
    let size =
        |of: u32| btf.size(of).ok_or_else(|| ObjectError::damaged(&map.name, "the key or value type has no size"));
    let pointee = || {
        btf.pointee(member.of).ok_or_else(|| {
            ObjectError::damaged(&map.name, "a type in the map's definition is not encoded as a pointer")
        })
    };
    match member.name {
        "type" => map.map_type = number()?,
        "max_entries" => map.max_entries = number()?,
        "map_flags" => map.flags = number()?,
        "key_size" => map.key_size = number()?,
        "value_size" => map.value_size = number()?,
        "key" => map.key_size = size(pointee()?)?,
        "value" => map.value_size = size(pointee()?)?,
        "values" => values(btf, map, member, level)?,
        "pinning" => map.pinned_by_name = number()? == PIN_BY_NAME,
        _ => {}
    }
    Ok(())
}

/// Reads the inner map of a map of maps, which an array of pointers encodes.
fn values(btf: &Btf<'_>, map: &mut Map, member: Member<'_>, level: Level) -> Result<(), ObjectError> {
    map.value_size = 4;
    let of_maps = matches!(names::name(Kind::Map, map.map_type), Some("array_of_maps" | "hash_of_maps"));
    if level == Level::Inner || !of_maps {
        return Ok(());
    }
    let element = btf.get(member.of).and_then(|array: BtfType<'_>| btf.array(&array)).map(|(element, _)| element);
    let inner = element
        .and_then(|element| btf.pointee(element))
        .ok_or_else(|| ObjectError::damaged(&map.name, "the inner map is not encoded as an array of pointers"))?;
    let name = format!("{}.inner", map.name);
    map.inner = Some(Box::new(self::map(btf, &name, inner, Level::Inner)?));
    Ok(())
}
