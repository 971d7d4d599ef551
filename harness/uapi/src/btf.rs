//! BPF type information (BTF) of kernels and objects, as `Documentation/bpf/btf.rst` in the kernel's sources describes it.
//!
//! The reader builds an index of the types over the input bytes and nothing else. No input makes it panic, or allocate more
//! than is proportional to the input's length.

use thiserror::Error;

/// `BTF_MAGIC` and the size of `struct btf_header` (`include/uapi/linux/btf.h`).
const MAGIC: u16 = 0xeb9f;
const HEADER: usize = 24;
/// The largest input, in bytes: larger than any kernel's type information.
const MOST_BYTES: usize = 64 * 1024 * 1024;
/// How many type references are followed in a chain: libbpf's own limit (`MAX_RESOLVE_DEPTH`).
const DEEPEST: usize = 32;
const LONGEST_NAME: usize = 512;
/// How many data sections are found by name.
const MOST_SECTIONS: usize = 4096;

/// Why BTF cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BtfError {
    /// The header is not that of little-endian BTF, version 1.
    #[error("it is not little-endian BTF, version 1")]
    Header,
    /// A section reaches beyond the end of the input.
    #[error("its types or strings reach beyond its end")]
    Bounds,
    /// A type has a kind that is not in [`BtfKind`].
    #[error("type {number} has the unknown kind {kind}")]
    Kind {
        /// The number of the type.
        number: u32,
        /// The kind's number.
        kind: u32,
    },
    /// The input is larger than any real BTF.
    #[error("it is larger than {MOST_BYTES} bytes")]
    TooLarge,
}

/// The kind of a type (`BTF_KIND_*` in `include/uapi/linux/btf.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum BtfKind {
    Int,
    Ptr,
    Array,
    Struct,
    Union,
    Enum,
    Fwd,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Func,
    FuncProto,
    Var,
    Datasec,
    Float,
    DeclTag,
    TypeTag,
    Enum64,
}

impl BtfKind {
    const ALL: [Self; 19] = {
        use BtfKind::*;
        [
            Int, Ptr, Array, Struct, Union, Enum, Fwd, Typedef, Volatile, Const, Restrict, Func, FuncProto, Var,
            Datasec, Float, DeclTag, TypeTag, Enum64,
        ]
    };

    fn of(number: u32) -> Option<Self> {
        Self::ALL.get((number as usize).checked_sub(1)?).copied()
    }

    /// The number of bytes that follow the 12 bytes every type has.
    fn tail(self, entries: usize) -> usize {
        match self {
            Self::Int | Self::Var | Self::DeclTag => 4,
            Self::Array => 12,
            Self::Struct | Self::Union | Self::Datasec | Self::Enum64 => 12 * entries,
            Self::Enum | Self::FuncProto => 8 * entries,
            _ => 0,
        }
    }
}

/// Parsed BTF.
#[derive(Clone, Debug)]
pub struct Btf<'a> {
    types: &'a [u8],
    names: &'a [u8],
    /// The byte offset of each type; type 1 is the first.
    starts: Vec<u32>,
    /// The numbers of the first data sections.
    sections: Vec<u32>,
}

/// A type.
#[derive(Clone, Copy, Debug)]
pub struct BtfType<'a> {
    /// Its kind.
    pub kind: BtfKind,
    /// Its name; empty if it has none.
    pub name: &'a str,
    /// Its size in bytes, or the number of the type it refers to, depending on its kind.
    pub size_or_type: u32,
    /// `kind_flag`: whether members of a structure or union may be bit fields.
    flag: bool,
    tail: &'a [u8],
}

/// A member of a structure, or a variable in a data section.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Its name; empty for a variable, whose type carries the name.
    pub name: &'a str,
    /// The number of its type.
    pub of: u32,
    /// Its offset, in bits for members and in bytes for variables.
    pub offset: u32,
}

/// A member of an enumeration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enumerator<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value, in 32 or 64 bits as the enumeration has it.
    pub value: u64,
}

impl<'a> Btf<'a> {
    /// Parses BTF.
    pub fn of(bytes: &'a [u8]) -> Result<Self, BtfError> {
        if bytes.len() > MOST_BYTES {
            return Err(BtfError::TooLarge);
        }
        if bytes.len() < HEADER || bytes[..2] != MAGIC.to_le_bytes() || bytes[2] != 1 {
            return Err(BtfError::Header);
        }
        let field = |at| word(bytes, at).map_or(0, |value| value as usize);
        let body = bytes.get(field(4)..).ok_or(BtfError::Bounds)?;
        let part = |at: usize, length: usize| body.get(at..at.checked_add(length)?);
        let types = part(field(8), field(12)).ok_or(BtfError::Bounds)?;
        let names = part(field(16), field(20)).ok_or(BtfError::Bounds)?;
        let (starts, sections) = index(types)?;
        Ok(Self { types, names, starts, sections })
    }

    /// The number of types, without `void`, which is type 0.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are no types.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The type with this number; `None` for `void` and for numbers beyond the last type.
    pub fn get(&self, number: u32) -> Option<BtfType<'a>> {
        let start = *self.starts.get((number as usize).checked_sub(1)?)? as usize;
        let info = word(self.types, start + 4)?;
        let kind = BtfKind::of(info >> 24 & 0x1f)?;
        let tail = self.types.get(start + 12..start + 12 + kind.tail(entries(info)))?;
        let name = self.name(word(self.types, start)?);
        Some(BtfType { kind, name, size_or_type: word(self.types, start + 8)?, flag: info >> 31 != 0, tail })
    }

    /// The kind of the type with this number; `None` as for [`Self::get`].
    pub fn kind(&self, number: u32) -> Option<BtfKind> {
        let start = *self.starts.get((number as usize).checked_sub(1)?)? as usize;
        BtfKind::of(word(self.types, start + 4)? >> 24 & 0x1f)
    }

    /// The first type with this kind and name, and its number.
    pub fn named(&self, kind: BtfKind, name: &str) -> Option<(u32, BtfType<'a>)> {
        let is_meant = |start: usize| {
            let is_of_kind =
                self.types.get(start + 7).is_some_and(|byte| BtfKind::of(u32::from(byte & 0x1f)) == Some(kind));
            is_of_kind && word(self.types, start).is_some_and(|at| self.has_name(at, name))
        };
        let index = self.starts.iter().position(|start| is_meant(*start as usize))?;
        let number = index as u32 + 1;
        Some((number, self.get(number)?))
    }

    fn has_name(&self, at: u32, name: &str) -> bool {
        let rest = self.names.get(at as usize..).and_then(|rest| rest.strip_prefix(name.as_bytes()));
        rest.is_some_and(|rest| rest.first() == Some(&0))
    }

    /// The data section with this name, and its number.
    pub fn section(&self, name: &str) -> Option<(u32, BtfType<'a>)> {
        let mut sections = self.sections.iter().filter_map(|number| Some((*number, self.get(*number)?)));
        sections.find(|(_, found)| found.name == name)
    }

    /// All types with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, BtfType<'a>)> + '_ {
        (1..=self.starts.len() as u32).filter_map(|number| Some((number, self.get(number)?)))
    }

    /// The name at this offset; empty if there is none, or one that is too long or not UTF-8.
    fn name(&self, at: u32) -> &'a str {
        let rest = self.names.get(at as usize..).unwrap_or_default();
        let seen = &rest[..rest.len().min(LONGEST_NAME)];
        let end = seen.iter().position(|byte| *byte == 0).unwrap_or(0);
        std::str::from_utf8(&seen[..end]).unwrap_or_default()
    }

    /// The members of a structure or union, or the variables of a data section.
    pub fn members(&self, of: &BtfType<'a>) -> impl Iterator<Item = Member<'a>> + '_ {
        let (is_section, has_bit_fields) = (of.kind == BtfKind::Datasec, of.flag);
        let entries = match of.kind {
            BtfKind::Struct | BtfKind::Union | BtfKind::Datasec => of.tail,
            _ => &[],
        };
        entries.chunks_exact(12).map(move |entry| {
            let at = |offset| word(entry, offset).unwrap_or_default();
            match is_section {
                true => Member { name: "", of: at(0), offset: at(4) },
                // With bit fields, the upper byte is the width of the field.
                false if has_bit_fields => Member { name: self.name(at(0)), of: at(4), offset: at(8) & 0x00ff_ffff },
                false => Member { name: self.name(at(0)), of: at(4), offset: at(8) },
            }
        })
    }

    /// The members of a 32-bit or 64-bit enumeration, in declaration order.
    pub fn enumerators(&self, of: &BtfType<'a>) -> impl Iterator<Item = Enumerator<'a>> + '_ {
        let (entries, size) = match of.kind {
            BtfKind::Enum => (of.tail, 8),
            BtfKind::Enum64 => (of.tail, 12),
            _ => (&[][..], 8),
        };
        entries.chunks_exact(size).map(|entry| {
            let at = |offset| word(entry, offset).unwrap_or_default();
            let value = u64::from(at(4)) | u64::from(word(entry, 8).unwrap_or_default()) << 32;
            Enumerator { name: self.name(at(0)), value }
        })
    }

    /// The linkage of a variable: 0 if it is static (`BTF_VAR_STATIC`).
    pub fn linkage(&self, of: &BtfType<'a>) -> Option<u32> {
        (of.kind == BtfKind::Var).then(|| word(of.tail, 0)).flatten()
    }

    /// The number of parameters of a function's prototype; 0 if the type is none.
    pub fn parameters(&self, number: u32) -> usize {
        self.get(number).filter(|ty| ty.kind == BtfKind::FuncProto).map_or(0, |ty| ty.tail.len() / 8)
    }

    /// The element type and the length of an array.
    pub fn array(&self, of: &BtfType<'a>) -> Option<(u32, u32)> {
        match of.kind {
            BtfKind::Array => Some((word(of.tail, 0)?, word(of.tail, 8)?)),
            _ => None,
        }
    }

    /// The type behind typedefs, qualifiers and type tags.
    pub fn plain(&self, number: u32) -> Option<(u32, BtfType<'a>)> {
        let mut number = number;
        for _ in 0..DEEPEST {
            let found = self.get(number)?;
            match found.kind {
                BtfKind::Typedef | BtfKind::Const | BtfKind::Volatile | BtfKind::Restrict | BtfKind::TypeTag => {
                    number = found.size_or_type;
                }
                _ => return Some((number, found)),
            }
        }
        None
    }

    /// The type that a pointer points to.
    pub fn pointee(&self, number: u32) -> Option<u32> {
        let (_, pointer) = self.plain(number)?;
        (pointer.kind == BtfKind::Ptr).then_some(pointer.size_or_type)
    }

    /// The size of a type's values, in bytes.
    pub fn size(&self, number: u32) -> Option<u32> {
        let mut count = 1_u32;
        let mut number = number;
        for _ in 0..DEEPEST {
            let (_, found) = self.plain(number)?;
            match found.kind {
                BtfKind::Ptr => return count.checked_mul(8),
                BtfKind::Array => {
                    let (element, many) = self.array(&found)?;
                    count = count.checked_mul(many)?;
                    number = element;
                }
                BtfKind::Var => number = found.size_or_type,
                BtfKind::Func | BtfKind::FuncProto | BtfKind::Fwd | BtfKind::DeclTag => return None,
                _ => return count.checked_mul(found.size_or_type),
            }
        }
        None
    }
}

/// The offset of each type, and the numbers of the data sections.
fn index(types: &[u8]) -> Result<(Vec<u32>, Vec<u32>), BtfError> {
    let (mut starts, mut sections) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < types.len() {
        let info = word(types, at + 4).ok_or(BtfError::Bounds)?;
        let number = starts.len() as u32 + 1;
        let kind = info >> 24 & 0x1f;
        let kind = BtfKind::of(kind).ok_or(BtfError::Kind { number, kind })?;
        starts.push(at as u32);
        if kind == BtfKind::Datasec && sections.len() < MOST_SECTIONS {
            sections.push(number);
        }
        at += 12 + kind.tail(entries(info));
    }
    if at > types.len() { Err(BtfError::Bounds) } else { Ok((starts, sections)) }
}

fn entries(info: u32) -> usize {
    (info & 0xffff) as usize
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests;
