//! The headers of an RPM package, checked before the crate `rpm` reads them: it relies on their numbers, and would panic or
//! take memory without limit if they are wrong.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

/// What precedes the headers, in bytes (the lead, `docs/manual/format_v4.md` of rpm).
const LEAD: u64 = 96;

/// The most entries of a header, as in rpm itself (`hdrchkTags`, `lib/header.cc`).
const MOST_ENTRIES: u32 = 0xffff;

/// The most bytes of a header's data, as in rpm itself (`hdrchkData`, `lib/header.cc`).
const MOST_DATA: u32 = 0x0fff_ffff;

/// Checks the numbers in both headers of a package file.
pub(super) fn check(package: &Path) -> io::Result<()> {
    let mut file = BufReader::new(File::open(package)?);
    skip(&mut file, LEAD)?;
    let signature = check_header(&mut file)?;
    // The first header is padded, the second one is not.
    skip(&mut file, u64::from(signature.next_multiple_of(8) - signature))?;
    check_header(&mut file).map(drop)
}

/// Checks a header: every entry's data is within its data, and all together are no more than that. Returns the size of the
/// data.
fn check_header(file: &mut impl Read) -> io::Result<u32> {
    let [_, _, entries, size] = words(file)?;
    if entries > MOST_ENTRIES || size > MOST_DATA {
        return Err(damaged());
    }
    let mut together = 0;
    for _ in 0..entries {
        let [_, kind, offset, count] = words(file)?;
        let bytes = u64::from(count) * width(kind);
        together += bytes;
        if u64::from(offset) + bytes > u64::from(size) || together > u64::from(size) {
            return Err(damaged());
        }
    }
    skip(file, size.into())?;
    Ok(size)
}

/// Returns how many bytes an item of a type takes at least.
fn width(kind: u32) -> u64 {
    match kind {
        0 => 0,
        3 => 2,
        4 => 4,
        5 => 8,
        _ => 1,
    }
}

fn words(file: &mut impl Read) -> io::Result<[u32; 4]> {
    let mut bytes = [0; 16];
    file.read_exact(&mut bytes)?;
    let word = |at| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    Ok([0, 4, 8, 12].map(word))
}

fn skip(file: &mut impl Read, bytes: u64) -> io::Result<()> {
    let skipped = io::copy(&mut file.take(bytes), &mut io::sink())?;
    if skipped == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// The error of a package that the crate cannot read either.
pub(super) fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a header of the package is damaged")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a header of entries: type, offset and count.
    fn header(entries: &[[u32; 3]], size: u32) -> Vec<u8> {
        let mut words = vec![0x8ead_e801, 0, entries.len() as u32, size];
        words.extend(entries.iter().flat_map(|[kind, offset, count]| [1000, *kind, *offset, *count]));
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.resize(bytes.len() + size.min(100) as usize, 0);
        bytes
    }

    #[test]
    fn data_is_within_the_header_and_is_counted_once() {
        let checked = |entries: &[[u32; 3]], size| check_header(&mut &header(entries, size)[..]);
        assert_eq!(checked(&[[4, 0, 2], [6, 8, 1], [0, 9, 7]], 9).unwrap(), 9);
        for (entries, size) in [
            (&[[6, 10, 1]][..], 9),
            (&[[6, 43_010, 1]], 9),
            (&[[5, 0, 2]], 9),
            (&[[5, 0, u32::MAX]], 9),
            (&[[7, 0, 5], [7, 0, 5]], 9),
            (&[], MOST_DATA + 1),
        ] {
            assert_eq!(checked(entries, size).unwrap_err().to_string(), damaged().to_string(), "{entries:?}");
        }
        assert_eq!(checked(&[], 101).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let many = [0x8ead_e801_u32, 0, MOST_ENTRIES + 1, 0].map(u32::to_be_bytes).concat();
        assert!(check_header(&mut &many[..]).is_err());
    }
}
