//! Decompresses kernels and modules; their first bytes identify the method.

use std::io::{self, Read};

use thiserror::Error;

/// Why data could not be decompressed.
#[derive(Debug, Error)]
#[error("the {method} data is damaged")]
pub struct DecompressionError {
    method: &'static str,
    source: io::Error,
}

/// A compression method of the kernel or its modules (`scripts/Makefile.lib` and `scripts/Makefile.modinst` in the
/// kernel source).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Gzip,
    Xz,
    Zstd,
    Lz4,
    None,
}

impl Method {
    const MAGIC: [(&'static [u8], Self); 4] = [
        (b"\x1f\x8b", Self::Gzip),
        (b"\xfd7zXZ\0", Self::Xz),
        (b"\x28\xb5\x2f\xfd", Self::Zstd),
        // The legacy format of `lz4 -l`.
        (b"\x02\x21\x4c\x18", Self::Lz4),
    ];

    fn of(bytes: &[u8]) -> Self {
        let known = Self::MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic));
        known.map_or(Self::None, |(_, method)| *method)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::None => "nothing",
        }
    }
}

/// Decompresses the contents of a module file; uncompressed contents are returned as they are.
pub(super) fn decompressed(bytes: Vec<u8>) -> Result<Vec<u8>, DecompressionError> {
    match Method::of(&bytes) {
        Method::None => Ok(bytes),
        method => decompress(method, &bytes),
    }
}

/// Decompresses the kernel in a boot image. For every method except gzip, whose data ends with the size anyway, the
/// build appends the size in four bytes (`size_append` in `scripts/Makefile.lib`).
pub(super) fn decompressed_payload(payload: &[u8]) -> Result<Vec<u8>, DecompressionError> {
    match Method::of(payload) {
        Method::Gzip => decompress(Method::Gzip, payload),
        method => decompress(method, &payload[..payload.len().saturating_sub(4)]),
    }
}

/// The most bytes to unpack: ten times the size of a kernel.
const MOST: u64 = 1 << 30;

fn decompress(method: Method, bytes: &[u8]) -> Result<Vec<u8>, DecompressionError> {
    let decompressed = reader(method, bytes).and_then(|reader| read_at_most(MOST, reader));
    decompressed.map_err(|source| DecompressionError { method: method.name(), source })
}

fn reader(method: Method, bytes: &[u8]) -> io::Result<Box<dyn Read + '_>> {
    Ok(match method {
        Method::Gzip => Box::new(flate2::read::GzDecoder::new(bytes)),
        Method::Xz => Box::new(liblzma::read::XzDecoder::new(bytes)),
        Method::Zstd => Box::new(zstd::Decoder::new(bytes)?),
        Method::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(bytes)),
        Method::None => Box::new(bytes),
    })
}

/// Reads everything; errors if that is more than `most` bytes, which even a small file can unpack to.
fn read_at_most(most: u64, reader: impl Read) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    match reader.take(most + 1).read_to_end(&mut all)? as u64 {
        read if read > most => Err(io::Error::other(format!("it unpacks to more than {most} bytes"))),
        _ => Ok(all),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const TEXT: &[u8] = b"\x7fELF and what follows, which repeats, which repeats, which repeats";

    fn compressed(method: Method) -> Vec<u8> {
        match method {
            Method::Gzip => {
                let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                writer.write_all(TEXT).unwrap();
                writer.finish().unwrap()
            }
            Method::Xz => {
                let mut writer = liblzma::write::XzEncoder::new(Vec::new(), 6);
                writer.write_all(TEXT).unwrap();
                writer.finish().unwrap()
            }
            Method::Zstd => zstd::encode_all(TEXT, 3).unwrap(),
            Method::Lz4 => {
                let block = lz4_flex::block::compress(TEXT);
                [b"\x02\x21\x4c\x18", &(block.len() as u32).to_le_bytes()[..], &block].concat()
            }
            Method::None => TEXT.to_vec(),
        }
    }

    const ALL: [Method; 5] = [Method::Gzip, Method::Xz, Method::Zstd, Method::Lz4, Method::None];

    #[test]
    fn every_method_is_identified_and_undone() {
        for method in ALL {
            let bytes = compressed(method);
            assert_eq!(Method::of(&bytes), method);
            assert_eq!(decompressed(bytes).unwrap(), TEXT, "{method:?}");
        }
    }

    #[test]
    fn the_size_after_a_payload_is_not_part_of_it() {
        for method in ALL {
            let mut payload = compressed(method);
            if method != Method::Gzip {
                payload.extend((TEXT.len() as u32).to_le_bytes());
            }
            assert_eq!(decompressed_payload(&payload).unwrap(), TEXT, "{method:?}");
        }
    }

    #[test]
    fn data_that_unpacks_to_too_much_is_refused() {
        for method in ALL {
            let bytes = compressed(method);
            let unpack = |most| read_at_most(most, reader(method, &bytes).unwrap());
            assert_eq!(unpack(TEXT.len() as u64).unwrap(), TEXT);
            let error = unpack(TEXT.len() as u64 - 1).unwrap_err().to_string();
            assert_eq!(error, format!("it unpacks to more than {} bytes", TEXT.len() - 1));
        }
    }

    #[test]
    fn damaged_data_is_reported_with_its_method() {
        for method in [Method::Gzip, Method::Xz, Method::Zstd, Method::Lz4] {
            let whole = compressed(method);
            let error = decompressed(whole[..whole.len() / 2].to_vec()).unwrap_err().to_string();
            assert_eq!(error, format!("the {} data is damaged", method.name()));
        }
        assert!(decompressed_payload(b"\x1f\x8b").is_err());
        assert!(decompressed_payload(b"").unwrap().is_empty());
    }
}
