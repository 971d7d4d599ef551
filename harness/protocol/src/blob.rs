//! The BTF blob that `btf_load` loads: small, but with everything that the smallest valid maps and programs need.
//!
//! The layout is described in `Documentation/bpf/btf.rst` in the kernel's sources.

/// A 32-bit integer, for the keys and values of local storage maps.
pub const INTEGER: u32 = 1;
/// The context of an XDP program, which the kernel recognizes by its name (`bpf_ctx_convert_map` in
/// `kernel/bpf/btf.c`).
const CONTEXT: u32 = 2;
const CONTEXT_POINTER: u32 = 3;
const ENTRY_PROTOTYPE: u32 = 4;
/// `int entry(struct xdp_md *ctx)`, global: the main function of a replaceable program, and its replacement.
pub const ENTRY: u32 = 5;
const PART_PROTOTYPE: u32 = 6;
/// `int part(void)`, global: a function that a program calls.
pub const PART: u32 = 7;
/// A lock, which the kernel recognizes by its name (`btf_parse_fields` in `kernel/bpf/btf.c`).
const LOCK: u32 = 8;
/// An eight-byte value: an integer and a lock.
pub const LOCKED: u32 = 9;

/// Returns the blob's bytes.
pub fn bytes() -> Vec<u8> {
    let mut blob = Blob::default();
    let [int, context, data, ctx, entry, part] =
        ["int", "xdp_md", "data", "ctx", "entry", "part"].map(|name| blob.string(name));
    let [lock, val, locked] = ["bpf_spin_lock", "val", "locked"].map(|name| blob.string(name));
    blob.add(INTEGER, int, KIND_INT << 24, 4, &[32]);
    blob.add(CONTEXT, context, KIND_STRUCT << 24 | 1, 4, &[data, INTEGER, 0]);
    blob.add(CONTEXT_POINTER, 0, KIND_PTR << 24, CONTEXT, &[]);
    blob.add(ENTRY_PROTOTYPE, 0, KIND_FUNC_PROTO << 24 | 1, INTEGER, &[ctx, CONTEXT_POINTER]);
    blob.add(ENTRY, entry, KIND_FUNC << 24 | GLOBAL, ENTRY_PROTOTYPE, &[]);
    blob.add(PART_PROTOTYPE, 0, KIND_FUNC_PROTO << 24, INTEGER, &[]);
    blob.add(PART, part, KIND_FUNC << 24 | GLOBAL, PART_PROTOTYPE, &[]);
    blob.add(LOCK, lock, KIND_STRUCT << 24 | 1, 4, &[val, INTEGER, 0]);
    blob.add(LOCKED, locked, KIND_STRUCT << 24 | 2, 8, &[data, INTEGER, 0, lock, LOCK, 32]);
    blob.finish()
}

const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
const FLAGS: u8 = 0;
const HEADER_LENGTH: u32 = 24;
const KIND_INT: u32 = 1;
const KIND_PTR: u32 = 2;
const KIND_STRUCT: u32 = 4;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
/// `BTF_FUNC_GLOBAL`: a function's linkage takes the bits of other types' member count.
const GLOBAL: u32 = 1;

#[derive(Default)]
struct Blob {
    count: u32,
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Blob {
    /// Adds a string and returns its offset; the first string is empty.
    fn string(&mut self, text: &str) -> u32 {
        if self.strings.is_empty() {
            self.strings.push(0);
        }
        let offset = self.strings.len() as u32;
        self.strings.extend(text.bytes().chain([0]));
        offset
    }

    /// Adds a `struct btf_type` and what follows it; `id` is the id that it gets.
    fn add(&mut self, id: u32, name: u32, info: u32, size_or_type: u32, rest: &[u32]) {
        self.count += 1;
        debug_assert_eq!(self.count, id, "types are numbered in the order they are added");
        let words = [name, info, size_or_type];
        self.types.extend(words.iter().chain(rest).flat_map(|word| word.to_ne_bytes()));
    }

    fn finish(self) -> Vec<u8> {
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([VERSION, FLAGS]);
        bytes.extend([HEADER_LENGTH, 0, types, types, strings].iter().flat_map(|word| word.to_ne_bytes()));
        bytes.extend(self.types);
        bytes.extend(self.strings);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_sections_add_up() {
        let blob = bytes();
        let word = |at: usize| u32::from_ne_bytes(blob[at..at + 4].try_into().unwrap());
        assert_eq!(word(4), HEADER_LENGTH);
        let (types, strings) = ((word(8), word(12)), (word(16), word(20)));
        assert_eq!(types.0 + types.1, strings.0);
        assert_eq!((HEADER_LENGTH + strings.0 + strings.1) as usize, blob.len());
    }

    #[test]
    fn names_are_at_their_offsets() {
        let blob = bytes();
        let word = |at: usize| u32::from_ne_bytes(blob[at..at + 4].try_into().unwrap()) as usize;
        let name = &blob[24 + word(16) + word(24)..];
        assert!(name.starts_with(b"int\0"));
    }
}
