//! A map of an object.

pub(crate) mod definition;
pub(crate) mod fields;
pub(crate) mod list;

/// A map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// Its name; for data maps, the section's name.
    pub name: String,
    /// Its type.
    pub map_type: u32,
    /// `map_flags`.
    pub flags: u32,
    /// The size of a key in bytes.
    pub key_size: u32,
    /// The size of a value in bytes.
    pub value_size: u32,
    /// The maximum number of elements; 0 if libbpf or the loader fills it in.
    pub max_entries: u32,
    /// The definition of its inner maps.
    pub inner: Option<Box<Map>>,
    /// Fields of its values that the kernel manages, such as `bpf_spin_lock` or `kptr`; empty without BTF.
    pub special_fields: Vec<&'static str>,
    /// Where its definition comes from.
    pub source: MapSource,
    /// Whether libbpf creates it by default.
    pub autocreate: bool,
    /// Whether libbpf reuses a map that is pinned under this name, or else pins this one.
    pub pinned_by_name: bool,
}

/// Where a map's definition comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapSource {
    /// A variable in `.maps`, by its BTF.
    Btf,
    /// A structure in the section `maps`, which libbpf no longer reads since 1.0.
    Legacy,
    /// A section named `.data` or `.data.*`.
    Data,
    /// Zero-initialized data: `.bss`.
    Bss,
    /// Constants: `.rodata`.
    Rodata,
    /// Kconfig values that libbpf fills in.
    Kconfig,
    /// An instance of this `struct_ops` structure of the kernel.
    StructOps(String),
}

impl Map {
    /// Whether it holds global data: libbpf leaves such maps out if it finds that the kernel does not support them.
    pub fn is_data(&self) -> bool {
        matches!(self.source, MapSource::Data | MapSource::Bss | MapSource::Rodata | MapSource::Kconfig)
    }
}
