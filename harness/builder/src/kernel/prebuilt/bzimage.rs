//! The boot image of an x86 kernel: its release, and the kernel packed into it.

use thiserror::Error;

use super::compression::{self, DecompressionError};

/// Why a file is not a usable boot image.
#[derive(Debug, Error)]
pub enum ImageError {
    /// It has no boot image header, or one from before 2007.
    #[error("it is not an x86 boot image (bzImage) with boot protocol 2.08 or newer")]
    NoHeader,
    /// Its header points past its end.
    #[error("it is cut short: its header puts {what} at byte {start}, but it ends at byte {end}")]
    CutShort {
        /// What should be there.
        what: &'static str,
        /// The offset.
        start: usize,
        /// The size of the file.
        end: usize,
    },
    /// The kernel in it cannot be unpacked.
    #[error(transparent)]
    Payload(#[from] DecompressionError),
}

/// The size of a sector, the unit of the real-mode part.
const SECTOR: usize = 512;
/// The first protocol with `payload_offset` (Documentation/arch/x86/boot.rst, as for all offsets here).
const OLDEST_PROTOCOL: u16 = 0x208;

/// A boot image.
#[derive(Clone, Copy, Debug)]
pub(super) struct BootImage<'a> {
    bytes: &'a [u8],
}

impl<'a> BootImage<'a> {
    /// Checks the header of a file.
    pub(super) fn of(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let image = Self { bytes };
        let is_one = bytes.get(0x202..0x206) == Some(b"HdrS") && image.u16(0x206)? >= OLDEST_PROTOCOL;
        if is_one { Ok(image) } else { Err(ImageError::NoHeader) }
    }

    /// Returns the output of `uname -r`: the first word of the text that the header points to.
    pub(super) fn release(&self) -> Result<&'a str, ImageError> {
        let start = usize::from(self.u16(0x20e)?) + SECTOR;
        let text = self.bytes.get(start..).ok_or_else(|| self.cut_short("the version", start))?;
        let end = text.iter().position(|byte| matches!(byte, 0 | b' ')).unwrap_or(0);
        std::str::from_utf8(&text[..end]).ok().filter(|text| !text.is_empty()).ok_or(ImageError::NoHeader)
    }

    /// Unpacks the kernel, an ELF file.
    pub(super) fn vmlinux(&self) -> Result<Vec<u8>, ImageError> {
        // A count of 0 stands for 4.
        let sectors = match self.bytes.get(0x1f1).copied().unwrap_or_default() {
            0 => 4,
            count => usize::from(count),
        };
        let start = (sectors + 1) * SECTOR + self.u32(0x248)?;
        let payload = self.bytes.get(start..).and_then(|rest| rest.get(..self.u32(0x24c).ok()?));
        Ok(compression::decompressed_payload(payload.ok_or_else(|| self.cut_short("the kernel", start))?)?)
    }

    fn cut_short(&self, what: &'static str, start: usize) -> ImageError {
        ImageError::CutShort { what, start, end: self.bytes.len() }
    }

    fn u16(&self, at: usize) -> Result<u16, ImageError> {
        let bytes = self.bytes.get(at..at + 2).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u16::from_le_bytes).ok_or(ImageError::NoHeader)
    }

    fn u32(&self, at: usize) -> Result<usize, ImageError> {
        let bytes = self.bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(|bytes| u32::from_le_bytes(bytes) as usize).ok_or(ImageError::NoHeader)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Makes an uncompressed boot image of a kernel.
    pub(in crate::kernel::prebuilt) fn boot_image(release: &str, vmlinux: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 2 * SECTOR];
        bytes[0x1f1] = 2;
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
        bytes[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
        bytes[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
        let text = format!("{release} (builder@host) #1 SMP\0");
        bytes[0x300..0x300 + text.len()].copy_from_slice(text.as_bytes());
        bytes[0x248..0x24c].copy_from_slice(&16_u32.to_le_bytes());
        bytes[0x24c..0x250].copy_from_slice(&(vmlinux.len() as u32 + 4).to_le_bytes());
        bytes.resize(3 * SECTOR + 16, 0);
        bytes.extend(vmlinux);
        bytes.extend((vmlinux.len() as u32).to_le_bytes());
        bytes.extend(b"what follows");
        bytes
    }

    #[test]
    fn an_image_has_a_release_and_a_kernel() {
        let bytes = boot_image("6.12.1+deb13-amd64", b"\x7fELF kernel");
        let image = BootImage::of(&bytes).unwrap();
        assert_eq!(image.release().unwrap(), "6.12.1+deb13-amd64");
        assert_eq!(image.vmlinux().unwrap(), b"\x7fELF kernel");
    }

    #[test]
    fn other_files_are_refused() {
        for bytes in [&b""[..], b"\x7fELF", &[0; 4096]] {
            assert!(matches!(BootImage::of(bytes), Err(ImageError::NoHeader)));
        }
        let mut old = boot_image("2.6.22", b"kernel");
        old[0x206] = 6;
        assert!(matches!(BootImage::of(&old), Err(ImageError::NoHeader)));
    }

    #[test]
    fn a_truncated_image_is_an_error() {
        let bytes = boot_image("6.12.1", b"\x7fELF kernel");
        let cut = &bytes[..3 * SECTOR + 20];
        let error = BootImage::of(cut).unwrap().vmlinux().unwrap_err().to_string();
        insta::assert_snapshot!(error, @"it is cut short: its header puts the kernel at byte 1552, but it ends at byte 1556");
        let mut far = bytes.clone();
        far[0x20f] = 0xff;
        assert!(matches!(BootImage::of(&far).unwrap().release(), Err(ImageError::CutShort { .. })));
    }
}
