use super::*;

/// An object with one section of four bytes and its section table.
fn object() -> Vec<u8> {
    let mut bytes = [0; HEADER + 4];
    bytes[..7].copy_from_slice(MAGIC);
    bytes[16] = 1;
    bytes[18..20].copy_from_slice(&EM_BPF.to_le_bytes());
    bytes[40] = HEADER as u8 + 4;
    (bytes[58], bytes[60]) = (HEADER as u8, 1);
    let mut section = [0; HEADER];
    (section[4], section[24], section[32]) = (1, HEADER as u8, 4);
    [&bytes[..], &section[..]].concat()
}

#[test]
fn objects_are_found_at_any_offset() {
    let one = object();
    let whole = [b"abc\x7fELF\x02".to_vec(), one.clone(), b"\x7f\x7f".to_vec(), one.clone(), vec![0; 9]].concat();
    let found: Vec<_> = embedded(&whole).into_iter().map(|object| (object.offset, object.size, object.name)).collect();
    let size = one.len();
    assert_eq!(found, [(8, size, None), (8 + size + 2, size, None)]);
}

#[test]
fn incomplete_objects_are_left_out() {
    let one = object();
    for length in 0..one.len() {
        assert_eq!(embedded(&one[..length]), []);
    }
    // For another machine, linked, without sections, or with a section table beyond the end.
    for (at, byte) in [(18, 62), (16, 2), (60, 0), (47, 0x7f)] {
        let mut other = one.clone();
        other[at] = byte;
        assert_eq!(embedded(&other), [], "{at}");
    }
}
