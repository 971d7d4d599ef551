//! The compiled BPF programs.

use std::{borrow::Cow, env, fs, path::PathBuf};

use crate::error::LoadError;

/// The object that this program carries.
static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guard.bpf.o"));

/// The variable that names another object to load instead: for tests of the guard that change its programs.
pub const OBJECT_VARIABLE: &str = "BPF_GUARD_OBJECT";

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

/// Returns the object to load.
pub(crate) fn bytes() -> Result<Cow<'static, [u8]>, LoadError> {
    match env::var_os(OBJECT_VARIABLE) {
        None => Ok(OBJECT.into()),
        Some(path) => {
            let path = PathBuf::from(path);
            Ok(fs::read(&path).map_err(LoadError::file(path))?.into())
        }
    }
}
