//! Loading a BPF object with libbpf.

use serde::{Deserialize, Serialize};

/// One object, and how libbpf loads it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectLoad {
    /// The object: while a plan is expanded, the name in the scenario; in a guest's plan, the name of a file in
    /// [`OBJECTS_FOLDER`] of the run folder.
    pub file: String,
    /// The option `bpf_token_path` of `bpf_object_open_opts`; not set if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_path: Option<TokenPath>,
    /// The variable `LIBBPF_BPF_TOKEN_PATH` in the environment; not set if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<TokenPath>,
    /// Where the container's bpffs is while the object is loaded.
    #[serde(default)]
    pub bpffs: BpffsLocation,
    /// The program that its first program replaces, for a program of type `ext`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Replaced>,
    /// Functions that `/proc/kallsyms` must list with an address while the object is loaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kallsyms: Vec<String>,
    /// The sizes of maps that are set between opening and preparing the object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sizes: Vec<MapSize>,
    /// Whether everything that libbpf attaches by itself is attached, and detached again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub attach: bool,
    /// Whether a denial gets no search for its cause, because the attempt is itself part of such a search.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unexplained: bool,
}

/// A map's size (`bpf_map__set_max_entries` of libbpf).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapSize {
    /// The map's name.
    pub map: String,
    /// The maximum number of elements; libbpf rounds that of a ring buffer up to what the kernel takes.
    pub max_entries: u32,
}

/// The folder of object files in the run folder.
pub const OBJECTS_FOLDER: &str = "objects";

/// The largest object file in bytes.
pub const LARGEST_OBJECT: u64 = 4 * 1024 * 1024;

/// Where libbpf looks for a bpffs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TokenPath {
    /// At the container's own, wherever that is.
    Bpffs,
    /// Nowhere: an empty path makes libbpf make no token.
    Empty,
}

/// Where a container's bpffs is in its mount namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BpffsLocation {
    /// At `/sys/fs/bpf`, where libbpf looks by default.
    #[default]
    Usual,
    /// At another path.
    Elsewhere,
    /// Attached nowhere.
    Detached,
}

/// A program of another object that is replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replaced {
    /// The other object, as in [`ObjectLoad::file`]; loaded first, in the same way.
    pub file: String,
    /// The function in it.
    pub function: String,
    /// When libbpf learns which program is replaced.
    #[serde(rename = "told")]
    pub timing: AttachTargetTiming,
}

/// When libbpf learns which program is replaced (`bpf_program__set_attach_target`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AttachTargetTiming {
    /// After `bpf_object__prepare`, when the object has its token.
    #[default]
    Prepared,
    /// Before it, when the object has no token yet.
    Opened,
}

impl ObjectLoad {
    /// Returns the object files that it needs.
    pub fn files(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.file).chain(self.replaces.iter().map(|replaced| &replaced.file))
    }

    /// Returns the object files for renaming.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut String> {
        std::iter::once(&mut self.file).chain(self.replaces.iter_mut().map(|replaced| &mut replaced.file))
    }
}
