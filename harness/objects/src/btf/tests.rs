use super::*;

/// Type information of these words as types, and these names.
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
fn types_are_told_by_their_numbers() {
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
fn types_that_go_round_have_no_size() {
    let whole = bytes(&[0, info(8, 0), 2, 0, info(10, 0), 1, 0, info(3, 0), 0, 3, 3, 1], b"\0");
    let btf = Btf::of(&whole).unwrap();
    assert_eq!([1, 2, 3].map(|number| btf.size(number)), [None; 3]);
}

#[test]
fn what_is_damaged_is_refused() {
    let sound = bytes(&[1, info(1, 0), 4, 32], b"\0a\0");
    for length in 0..sound.len() {
        assert!(Btf::of(&sound[..length]).is_err(), "{length}");
    }
    assert_eq!(Btf::of(&bytes(&[0, info(31, 0), 0], b"\0")).unwrap_err(), BtfError::Kind { number: 1, kind: 31 });
    assert_eq!(Btf::of(&bytes(&[0, info(4, 9), 0], b"\0")).unwrap_err(), BtfError::Bounds);
    // A name outside of the names is none.
    let nameless = bytes(&[99, info(1, 0), 4, 32], b"\0a\0");
    assert_eq!(Btf::of(&nameless).unwrap().get(1).unwrap().name, "");
}
