use super::*;

/// BTF with these words as its types, and these names.
fn bytes(types: &[u32], names: &[u8]) -> Vec<u8> {
    let types: Vec<u8> = types.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut bytes = vec![0x9f, 0xeb, 1, 0];
    for word in [24, 0, types.len() as u32, types.len() as u32, names.len() as u32] {
        bytes.extend(word.to_le_bytes());
    }
    [bytes, types, names.to_vec()].concat()
}

fn info(kind: u32, entries: u32) -> u32 {
    kind << 24 | entries
}

#[test]
fn types_are_found_by_number() {
    // int a; struct b { int a; int a[3]; }; typedef of it; an array; a pointer.
    let types = [
        [1, info(1, 0), 4, 32].to_vec(),
        [3, info(4, 2), 16, 1, 1, 0, 1, 4, 32].to_vec(),
        [5, info(8, 0), 2].to_vec(),
        [0, info(3, 0), 0, 1, 1, 3].to_vec(),
        [0, info(2, 0), 3].to_vec(),
    ];
    let whole = bytes(&types.concat(), b"\0a\0b\0c\0");
    let btf = Btf::of(&whole).unwrap();
    assert_eq!((btf.len(), btf.get(0).is_none(), btf.get(6).is_none()), (5, true, true));
    let (number, structure) = btf.plain(3).unwrap();
    assert_eq!((number, structure.kind, structure.name), (2, BtfKind::Struct, "b"));
    let members: Vec<_> = btf.members(&structure).map(|member| (member.name, member.of, member.offset)).collect();
    assert_eq!(members, [("a", 1, 0), ("a", 4, 32)]);
    assert_eq!([1, 2, 3, 4, 5].map(|number| btf.size(number)), [Some(4), Some(16), Some(16), Some(12), Some(8)]);
    assert_eq!((btf.pointee(5), btf.pointee(1)), (Some(3), None));
}

#[test]
fn types_in_a_cycle_have_no_size() {
    let whole = bytes(&[0, info(8, 0), 2, 0, info(10, 0), 1, 0, info(3, 0), 0, 3, 3, 1], b"\0");
    let btf = Btf::of(&whole).unwrap();
    assert_eq!([1, 2, 3].map(|number| btf.size(number)), [None; 3]);
}

#[test]
fn damaged_input_is_refused() {
    let sound = bytes(&[1, info(1, 0), 4, 32], b"\0a\0");
    for length in 0..sound.len() {
        assert!(Btf::of(&sound[..length]).is_err(), "{length}");
    }
    let unknown_kind = bytes(&[0, info(31, 0), 0], b"\0");
    let cut_members = bytes(&[0, info(4, 9), 0], b"\0");
    let errors = [&b"ELF"[..], &unknown_kind, &cut_members].map(|bytes| Btf::of(bytes).unwrap_err().to_string());
    insta::assert_snapshot!(errors.join("\n"), @"
    it is not little-endian BTF, version 1
    type 1 has the unknown kind 31
    its types or strings reach beyond its end
    ");
    // A name beyond the end of the names reads as empty.
    let nameless = bytes(&[99, info(1, 0), 4, 32], b"\0a\0");
    assert_eq!(Btf::of(&nameless).unwrap().get(1).unwrap().name, "");
}

#[test]
fn enumerations_are_found_by_name_and_kind() {
    let types = [
        // A structure and an enumeration of one name, and an enumeration of 64 bits.
        [1, info(4, 0), 0].to_vec(),
        [1, info(6, 2), 4, 3, 7, 5, u32::MAX].to_vec(),
        [1, info(19, 1), 8, 3, 2, 1].to_vec(),
    ];
    let whole = bytes(&types.concat(), b"\0e\0a\0b\0");
    let btf = Btf::of(&whole).unwrap();
    let of = |kind| btf.named(kind, "e").map(|(number, found)| (number, btf.enumerators(&found).collect::<Vec<_>>()));
    assert_eq!(of(BtfKind::Struct), Some((1, vec![])));
    let (a, b) = (Enumerator { name: "a", value: 7 }, Enumerator { name: "b", value: u64::from(u32::MAX) });
    assert_eq!(of(BtfKind::Enum), Some((2, vec![a, b])));
    assert_eq!(of(BtfKind::Enum64), Some((3, vec![Enumerator { value: 1 << 32 | 2, ..a }])));
    assert!(
        of(BtfKind::Union).is_none()
            && btf.named(BtfKind::Enum, "").is_none()
            && btf.named(BtfKind::Enum, "eb").is_none()
    );
}

#[test]
fn offsets_have_all_their_bits_unless_there_are_bit_fields() {
    for (flag, offset) in [(0, 0x0500_0010), (1 << 31, 0x10)] {
        let whole = bytes(&[1, info(4, 1) | flag, 4, 1, 1, 0x0500_0010], b"\0a\0");
        let btf = Btf::of(&whole).unwrap();
        let structure = btf.get(1).unwrap();
        assert_eq!(btf.members(&structure).next().unwrap().offset, offset);
    }
}

#[test]
fn hostile_bytes_are_an_error_or_types_but_never_a_panic() {
    let types = [
        [1, info(1, 0), 4, 32].to_vec(),
        [3, info(4, 2), 16, 1, 1, 0, 1, 4, 32].to_vec(),
        [0, info(3, 0), 0, 1, 1, 3].to_vec(),
        [3, info(6, 1), 4, 1, 1].to_vec(),
        [3, info(19, 1), 8, 1, 1, 1].to_vec(),
        [3, info(15, 1), 0, 1, 0, 4].to_vec(),
    ];
    let sound = bytes(&types.concat(), b"\0a\0b\0");
    for at in 0..sound.len() {
        for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let mut bad = sound.clone();
            bad[at] = value;
            let Ok(btf) = Btf::of(&bad) else { continue };
            for (number, found) in btf.iter() {
                let _ = (btf.size(number), btf.pointee(number), btf.section("b"), btf.named(found.kind, found.name));
                let _ = (btf.members(&found).count(), btf.enumerators(&found).count());
            }
        }
    }
}
