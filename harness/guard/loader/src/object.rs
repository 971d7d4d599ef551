//! The compiled BPF programs.

use libbpf_rs::{Map, MapCore as _, MapHandle, Object};

use crate::error::LoadError;

/// The object that this program carries.
pub(crate) static BYTES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guard.bpf.o"));

/// The LSM hooks that the guard cannot do without.
pub(crate) const HOOKS: [&str; 8] = [
    "bpf_lsm_bpf",
    "bpf_lsm_bpf_prog_load",
    "bpf_lsm_bpf_prog",
    "bpf_lsm_bpf_map_create",
    "bpf_lsm_bpf_map",
    "bpf_lsm_bpf_token_create",
    "bpf_lsm_bpf_token_cmd",
    "bpf_lsm_bpf_token_capable",
];

/// The name of a map of variables without the object's name: `rodata`, `bss`.
pub(crate) fn base_name(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Returns the map of this name.
pub(crate) fn map<'a>(object: &'a Object, name: &str) -> Result<Map<'a>, LoadError> {
    let found = object.maps().find(|map| base_name(&map.name().to_string_lossy()) == name);
    found.ok_or_else(|| LoadError::Object(format!("map {name}")))
}

/// Makes a map read-only for everybody.
pub(crate) fn freeze(object: &Object, name: &str) -> Result<(), LoadError> {
    let frozen = MapHandle::try_from(&map(object, name)?).and_then(|handle| handle.freeze());
    frozen.map_err(LoadError::bpf(format!("freezing map {name}")))
}
