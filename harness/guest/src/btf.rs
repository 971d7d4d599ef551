//! The smallest BTF the kernel accepts: one 32-bit integer type.

/// Layout: `struct btf_header`, one `struct btf_type` of kind int with its word, and the strings
/// (`Documentation/bpf/btf.rst` in the kernel's sources).
pub(crate) fn minimal() -> Vec<u8> {
    let types = [1u32, KIND_INT << 24, 4, 32].map(u32::to_ne_bytes).concat();
    let strings = b"\0int\0";
    let lengths = [0, types.len() as u32, types.len() as u32, strings.len() as u32];
    let mut blob = MAGIC.to_ne_bytes().to_vec();
    blob.extend([VERSION, FLAGS]);
    blob.extend(HEADER_LENGTH.to_ne_bytes());
    blob.extend(lengths.map(u32::to_ne_bytes).concat());
    blob.extend(types);
    blob.extend(strings);
    blob
}

const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
const FLAGS: u8 = 0;
const HEADER_LENGTH: u32 = 24;
const KIND_INT: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_sections_add_up() {
        let blob = minimal();
        let word = |at: usize| u32::from_ne_bytes(blob[at..at + 4].try_into().unwrap());
        assert_eq!(word(4), HEADER_LENGTH);
        let (types, strings) = ((word(8), word(12)), (word(16), word(20)));
        assert_eq!(types.0 + types.1, strings.0);
        assert_eq!((HEADER_LENGTH + strings.0 + strings.1) as usize, blob.len());
    }
}
