//! Reads a [`Vocabulary`] from the kernel's BTF (`Documentation/bpf/btf.rst`).

use std::collections::BTreeSet;

use thiserror::Error;

use crate::{
    btf::{self, Btf, BtfKind},
    vocabulary::{
        Kind, NameTable, Vocabulary,
        helper::{self, HelperNames},
    },
};

/// The structures that `BPF_OBJ_GET_INFO_BY_FD` can fill, one per kind of object (`include/uapi/linux/bpf.h`).
const INFO_STRUCTS: [&str; 5] = ["bpf_prog_info", "bpf_map_info", "bpf_btf_info", "bpf_link_info", "bpf_token_info"];

/// Why bytes are not the BTF of a kernel with BPF.
#[derive(Debug, Error)]
pub enum VocabularyError {
    /// Another format, or sections that reach beyond the end.
    #[error("these {size} bytes are not little-endian BTF, or are truncated")]
    NotBtf {
        /// The length of the input in bytes.
        size: usize,
    },
    /// The input violates the format.
    #[error("the BTF is malformed")]
    Malformed(#[from] btf::BtfError),
    /// BTF of something else, or of a kernel without BPF.
    #[error("the BTF has no {what}, so it is not from a kernel built with CONFIG_BPF_SYSCALL=y")]
    Missing {
        /// The type that was looked for.
        what: String,
    },
}

/// Reads a whole vocabulary.
pub(super) fn vocabulary(bytes: &[u8]) -> Result<Vocabulary, VocabularyError> {
    let btf = Btf::of(bytes).map_err(|error| match error {
        btf::BtfError::Header | btf::BtfError::Bounds => VocabularyError::NotBtf { size: bytes.len() },
        other => VocabularyError::Malformed(other),
    })?;
    Ok(Vocabulary {
        cmds: table(&btf, Kind::Cmd)?,
        maps: table(&btf, Kind::Map)?,
        progs: table(&btf, Kind::Prog)?,
        attachs: table(&btf, Kind::Attach)?,
        helpers: HelperNames::of_enumerators(&enumerators(&btf, helper::ENUMERATION)?),
        attr_members: attr_members(&btf)?,
        info_structs: info_structs(&btf),
    })
}

/// The names of one kind.
fn table(btf: &Btf<'_>, kind: Kind) -> Result<NameTable, VocabularyError> {
    let table = NameTable::of_enumerators(kind, &enumerators(btf, kind.enumeration())?);
    if table.is_empty() { Err(no_enumeration(kind.enumeration())) } else { Ok(table) }
}

/// The members of an enumeration, in declaration order.
fn enumerators(btf: &Btf<'_>, name: &str) -> Result<Vec<(String, u32)>, VocabularyError> {
    let (_, found) = btf.named(BtfKind::Enum, name).ok_or_else(|| no_enumeration(name))?;
    btf.enumerators(&found).map(|one| Ok((known_name(one.name)?.to_owned(), one.value as u32))).collect()
}

/// Errors if an enumerator has no name.
fn known_name(name: &str) -> Result<&str, btf::BtfError> {
    if name.is_empty() { Err(btf::BtfError::Bounds) } else { Ok(name) }
}

fn no_enumeration(name: &str) -> VocabularyError {
    VocabularyError::Missing { what: format!("enum {name}") }
}

/// The names of all members of `union bpf_attr` and of the structures nested in it.
fn attr_members(btf: &Btf<'_>) -> Result<BTreeSet<String>, VocabularyError> {
    let missing = || VocabularyError::Missing { what: "union bpf_attr".to_owned() };
    let (_, attr) = btf.named(BtfKind::Union, "bpf_attr").ok_or_else(missing)?;
    let (mut names, mut seen, mut open) = (BTreeSet::new(), BTreeSet::new(), vec![attr]);
    while let Some(record) = open.pop() {
        for member in btf.members(&record) {
            names.insert(member.name.to_owned());
            if seen.insert(member.of) {
                let found = btf.get(member.of).ok_or(btf::BtfError::Bounds)?;
                open.extend(matches!(found.kind, BtfKind::Struct | BtfKind::Union).then_some(found));
            }
        }
    }
    names.remove("");
    Ok(names)
}

/// The structures in [`INFO_STRUCTS`] that this kernel has.
fn info_structs(btf: &Btf<'_>) -> BTreeSet<String> {
    let found = INFO_STRUCTS.into_iter().filter(|name| btf.named(BtfKind::Struct, name).is_some());
    found.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of `struct btf_header`.
    const HEADER: usize = 24;
    const INT: u32 = 1;
    const STRUCT: u32 = 4;
    const UNION: u32 = 5;
    const ENUM: u32 = 6;

    /// Writes BTF as `include/uapi/linux/btf.h` lays it out.
    struct Writer {
        types: Vec<u8>,
        strings: Vec<u8>,
    }

    impl Writer {
        fn new() -> Self {
            let mut writer = Self { types: Vec::new(), strings: vec![0] };
            // Type 1: a 4-byte integer, the type of members.
            writer.head("int", INT, 0, 4);
            writer.words(&[32]);
            writer
        }

        fn words(&mut self, words: &[u32]) {
            self.types.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        }

        fn string(&mut self, text: &str) -> u32 {
            if text.is_empty() {
                return 0;
            }
            let offset = self.strings.len() as u32;
            self.strings.extend(text.bytes().chain([0]));
            offset
        }

        fn head(&mut self, name: &str, kind: u32, members: usize, size: u32) {
            let name = self.string(name);
            self.words(&[name, kind << 24 | members as u32, size]);
        }

        fn enumeration(&mut self, name: &str, enumerators: &[(&str, u32)]) {
            self.head(name, ENUM, enumerators.len(), 4);
            for (name, value) in enumerators {
                let name = self.string(name);
                self.words(&[name, *value]);
            }
        }

        fn record(&mut self, name: &str, kind: u32, members: &[(&str, u32)]) {
            self.head(name, kind, members.len(), 4);
            for (name, of_type) in members {
                let name = self.string(name);
                self.words(&[name, *of_type, 0]);
            }
        }

        fn bytes(&self) -> Vec<u8> {
            let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
            let mut bytes = vec![0x9f, 0xeb, 1, 0];
            bytes.extend([HEADER as u32, 0, types, types, strings].iter().flat_map(|word| word.to_le_bytes()));
            bytes.extend(&self.types);
            bytes.extend(&self.strings);
            bytes
        }
    }

    fn kernel() -> Writer {
        let mut writer = Writer::new();
        writer.enumeration(Kind::Cmd.enumeration(), &[("BPF_MAP_CREATE", 0), ("__MAX_BPF_CMD", 1)]);
        writer.enumeration(Kind::Map.enumeration(), &[("BPF_MAP_TYPE_UNSPEC", 0), ("BPF_MAP_TYPE_HASH", 1)]);
        writer.enumeration(Kind::Prog.enumeration(), &[("BPF_PROG_TYPE_XDP", 6)]);
        writer.enumeration(Kind::Attach.enumeration(), &[("BPF_CGROUP_INET_INGRESS", 0)]);
        writer.enumeration(helper::ENUMERATION, &[("BPF_FUNC_unspec", 0), ("BPF_FUNC_map_lookup_elem", 1)]);
        writer
    }

    /// Type 7 is a structure nested in `union bpf_attr`, type 8, and contains type 8 again: the reader must not loop.
    fn kernel_with_attr() -> Writer {
        let mut writer = kernel();
        writer.record("", STRUCT, &[("map_type", 1), ("map_token_fd", 1), ("", 8)]);
        writer.record("bpf_attr", UNION, &[("", 7), ("prog_type", 1)]);
        writer.record("bpf_token_info", STRUCT, &[("allowed_cmds", 1)]);
        writer
    }

    #[test]
    fn everything_a_verdict_needs_is_read() {
        let vocabulary = vocabulary(&kernel_with_attr().bytes()).unwrap();
        assert_eq!(vocabulary.cmds.number("map_create"), Some(0));
        assert_eq!(vocabulary.maps.name(1), Some("hash"));
        assert_eq!(vocabulary.progs.name(6), Some("xdp"));
        assert_eq!(vocabulary.attachs.name(0), Some("cgroup_inet_ingress"));
        assert_eq!(vocabulary.helpers.name(1), Some("map_lookup_elem"));
        assert!(vocabulary.has_attr_member("map_token_fd") && vocabulary.has_attr_member("prog_type"));
        assert!(!vocabulary.has_attr_member("btf_token_fd") && !vocabulary.has_attr_member(""));
        assert!(vocabulary.has_info_struct("bpf_token_info") && !vocabulary.has_info_struct("bpf_prog_info"));
    }

    #[test]
    fn a_vocabulary_survives_a_round_trip_through_json() {
        let read = vocabulary(&kernel_with_attr().bytes()).unwrap();
        let text = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<Vocabulary>(&text).unwrap(), read);
    }

    #[test]
    fn missing_types_are_named() {
        let no_attr = vocabulary(&kernel().bytes()).unwrap_err().to_string();
        insta::assert_snapshot!(
            no_attr,
            @"the BTF has no union bpf_attr, so it is not from a kernel built with CONFIG_BPF_SYSCALL=y"
        );
        let mut writer = Writer::new();
        writer.record("bpf_attr", UNION, &[]);
        let no_names = vocabulary(&writer.bytes()).unwrap_err().to_string();
        insta::assert_snapshot!(
            no_names,
            @"the BTF has no enum bpf_cmd, so it is not from a kernel built with CONFIG_BPF_SYSCALL=y"
        );
    }

    #[test]
    fn hostile_bytes_are_an_error_or_a_vocabulary_but_never_a_panic() {
        let good = kernel_with_attr().bytes();
        for length in 0..good.len() {
            assert!(vocabulary(&good[..length]).is_err(), "cut at {length}");
        }
        for at in 0..good.len() {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                // Some changes leave valid BTF, so the only requirement is that nothing panics.
                let _ = vocabulary(&bad);
            }
        }
    }

    #[test]
    fn a_header_that_claims_gigabytes_is_refused_before_allocation() {
        let mut bytes = kernel_with_attr().bytes();
        bytes[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(vocabulary(&bytes), Err(VocabularyError::NotBtf { .. })));
    }
}
