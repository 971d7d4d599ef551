//! Sets sizes of maps, as a program does before it loads an object.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::{
    map::Map,
    named::Named,
    note::Note,
    object::Object,
    size::{MapSize, SizeOrigin, fixed},
};

/// Why a map's size cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SizeError {
    /// No object has such a map.
    #[error("no object has a map `{map}`")]
    Unknown {
        /// The name.
        map: String,
        /// The maps whose sizes can be set.
        known: Vec<String>,
    },
    /// The map's size is not for a program to set.
    #[error("the size of map `{map}` in {object} cannot be set: {why}")]
    Fixed {
        /// The map.
        map: String,
        /// Its object.
        object: String,
        /// The reason.
        why: &'static str,
    },
}

/// Sets the size of the maps with this name in all of the objects.
///
/// # Errors
/// [`SizeError`] if there is none, or one whose size is fixed. Then no object has changed.
pub fn set_size(objects: &mut [Named], map: &str, max_entries: u32) -> Result<(), SizeError> {
    let is_meant = |one: &Map| one.name == map;
    for named in objects.iter() {
        if let Some(why) = named.object.maps.iter().filter(|one| is_meant(one)).find_map(fixed) {
            return Err(SizeError::Fixed { map: map.to_owned(), object: named.name.clone(), why });
        }
    }
    if !objects.iter().any(|named| named.object.maps.iter().any(is_meant)) {
        let maps = objects.iter().flat_map(|named| &named.object.maps);
        let known: BTreeSet<&String> = maps.filter(|one| fixed(one).is_none()).map(|one| &one.name).collect();
        return Err(SizeError::Unknown { map: map.to_owned(), known: known.into_iter().cloned().collect() });
    }
    objects.iter_mut().for_each(|named| set(&mut named.object, map, max_entries));
    Ok(())
}

fn set(object: &mut Object, map: &str, max_entries: u32) {
    let Some(meant) = object.maps.iter_mut().find(|one| one.name == map) else { return };
    meant.max_entries = max_entries;
    object.sizes.retain(|size| size.map != map);
    object.sizes.push(MapSize { map: map.to_owned(), max_entries, origin: SizeOrigin::Given });
    object.notes.retain(|note| !matches!(note, Note::NoSize(name, _) if name == map));
}
