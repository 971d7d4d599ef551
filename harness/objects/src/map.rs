//! What is known of a map of an object.

pub(crate) mod definition;
pub(crate) mod fields;
pub(crate) mod list;

/// A map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// Its name; for data that of its section.
    pub name: String,
    /// Its type.
    pub map_type: u32,
    /// `map_flags`.
    pub flags: u32,
    /// The size of a key in bytes.
    pub key_size: u32,
    /// The size of a value in bytes.
    pub value_size: u32,
    /// How many elements it may have. 0 where libbpf or the program fills it in.
    pub max_entries: u32,
    /// What the maps in it look like.
    pub inner: Option<Box<Map>>,
    /// Fields of its values that the kernel looks after, such as `bpf_spin_lock` or `kptr`; none without BTF.
    pub special_fields: Vec<&'static str>,
    /// Where its description comes from.
    pub source: MapSource,
    /// Whether libbpf creates it unless told otherwise.
    pub autocreate: bool,
    /// Whether libbpf takes a map that is pinned by this name instead, and pins it otherwise.
    pub pinned_by_name: bool,
}

/// Where a map's description comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapSource {
    /// A variable in `.maps` with types that tell.
    Btf,
    /// A structure in `maps`, which libbpf reads no more since 1.0.
    Legacy,
    /// Data: a section whose name is `.data` or begins with `.data.`.
    Data,
    /// Data that is zero at first: `.bss`.
    Bss,
    /// Constants: `.rodata`.
    Rodata,
    /// Values of the kernel's configuration that libbpf fills in.
    Kconfig,
    /// An instance of this structure of operations of the kernel.
    StructOps(String),
}

impl Map {
    /// Whether it holds global data: libbpf goes without such maps where it finds that the kernel has none.
    pub fn is_data(&self) -> bool {
        matches!(self.source, MapSource::Data | MapSource::Bss | MapSource::Rodata | MapSource::Kconfig)
    }
}
