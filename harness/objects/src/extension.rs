//! Reads `.BTF.ext` (`struct btf_ext_header` of libbpf).

/// What `.BTF.ext` holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extension {
    /// Whether it has the types of functions.
    pub(crate) functions: bool,
    /// The number of CO-RE relocations.
    pub(crate) relocations: usize,
}

impl Extension {
    /// Reads the section; damaged parts are not counted.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let word = |at: usize| -> Option<usize> {
            Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?) as usize)
        };
        let header = word(4).unwrap_or_default();
        let functions = word(12).is_some_and(|length| length > 0);
        let has_relocations = header >= 32;
        let part = has_relocations.then(|| Some((word(24)?, word(28)?))).flatten();
        let relocations = part.and_then(|(at, length)| {
            let at = header.checked_add(at)?;
            bytes.get(at..at.checked_add(length)?)
        });
        Self { functions, relocations: relocations.map(count).unwrap_or_default() }
    }
}

/// Counts the records of a part, which holds the record size and then, for each section, its name, the number of records
/// and the records.
fn count(part: &[u8]) -> usize {
    let word = |at: usize| -> Option<usize> {
        Some(u32::from_le_bytes(part.get(at..at.checked_add(4)?)?.try_into().ok()?) as usize)
    };
    let Some(size) = word(0).filter(|size| *size > 0) else { return 0 };
    let (mut at, mut all) = (4, 0);
    while let Some(many) = word(at + 4) {
        let Some(end) = many.checked_mul(size).and_then(|length| length.checked_add(at + 8)) else { break };
        if end > part.len() {
            break;
        }
        (at, all) = (end, all + many);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn records_are_counted_and_damaged_parts_are_not() {
        let header = [0x0001_eb9f, 32, 0, 8, 0, 0, 8, 40];
        // Records of 4 bytes: two for one section, one for another.
        let part = [0, 0, 4, 7, 2, 1, 1, 9, 1, 1, 0, 0];
        let whole = bytes(&[&header[..], &part[..]].concat());
        assert_eq!(Extension::of(&whole), Extension { functions: true, relocations: 3 });
        assert_eq!(Extension::of(&whole[..whole.len() - 12]).relocations, 0);
        assert_eq!(Extension::of(&[]), Extension::default());
        assert_eq!(Extension::of(&bytes(&[0x0001_eb9f, u32::MAX, 0, 0, 0, 0, u32::MAX, u32::MAX])).relocations, 0);
    }
}
