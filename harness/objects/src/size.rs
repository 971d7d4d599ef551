//! The sizes of maps that a program sets before it loads an object.

use harness_uapi::{names, vocabulary::Kind};

use crate::map::{Map, MapSource};

/// A map's `max_entries`, set after the object is opened and before its maps are created (`bpf_map__set_max_entries` of
/// libbpf). Inner maps have none: that function reads a null pointer for them in libbpf 1.7, so no program can use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapSize {
    /// The map's name.
    pub map: String,
    /// The maximum number of elements; of a ring buffer the bytes, of an arena the pages.
    pub max_entries: u32,
    /// Where the number comes from.
    pub origin: SizeOrigin,
}

/// Where the size of a map comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeOrigin {
    /// The object's file has none, and a small one is enough to load it.
    Assumed,
    /// Somebody said so.
    Given,
}

/// The sizes that are assumed for these maps, because their definitions have none.
pub(crate) fn assumed(maps: &[Map]) -> Vec<MapSize> {
    let size = |map: &Map| {
        let max_entries = least(map.map_type).filter(|_| map.max_entries == 0 && fixed(map).is_none())?;
        Some(MapSize { map: map.name.clone(), max_entries, origin: SizeOrigin::Assumed })
    };
    maps.iter().filter_map(size).collect()
}

/// The page of the architecture that the project is built for, in bytes.
const PAGE: u32 = 4096;

/// The least size with which the kernel creates a map of this type; none if it, or libbpf, does without a number.
fn least(map_type: u32) -> Option<u32> {
    match names::name(Kind::Map, map_type) {
        // libbpf, cilium/ebpf and aya put in the number of possible processors (`bpf_object__create_map`).
        Some("perf_event_array") => None,
        // A power of two and a multiple of the page (`ringbuf_map_alloc` in kernel/bpf/ringbuf.c).
        Some("ringbuf" | "user_ringbuf") => Some(PAGE),
        _ => Some(1),
    }
}

/// Why a program cannot set the size of a map, if it cannot.
pub(crate) fn fixed(map: &Map) -> Option<&'static str> {
    if map.is_data() {
        return Some("it holds the object's variables, as one element");
    }
    if matches!(map.source, MapSource::StructOps(_)) {
        return Some("it is one instance of a structure");
    }
    // `bpf_local_storage_map_alloc_check` in kernel/bpf/bpf_local_storage.c, `cgroup_storage_map_alloc` in
    // kernel/bpf/local_storage.c.
    let is_storage = names::name(Kind::Map, map.map_type).is_some_and(|name| name.contains("storage"));
    is_storage.then_some("the kernel requires 0 for storage maps")
}
