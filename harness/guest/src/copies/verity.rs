//! A file system whose files can have fs-verity (`Documentation/filesystems/fsverity.rst`): ext4 on a loop device in memory.

#![allow(unsafe_code)]

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};

use flate2::read::GzDecoder;
use rustix::{
    fs::{MemfdFlags, memfd_create},
    mount::{MountFlags, mount},
};

/// The first 140 KiB of an empty file system; the rest is zeros. Made by
/// `mkfs.ext4 -b 4096 -N 32 -m 0 -O ^has_journal,^resize_inode,verity -E lazy_itable_init=1,nodiscard` of e2fsprogs 1.47.
const BEGINNING: &[u8] = include_bytes!("ext4.gz");

/// Its size in bytes: room for the copies of a guard.
const SIZE: u64 = 48 << 20;

/// `LOOP_CTL_GET_FREE` and `LOOP_CONFIGURE` (`include/uapi/linux/loop.h`).
const GET_FREE: u64 = 0x4c82;
const CONFIGURE: u64 = 0x4c0a;
/// `FS_IOC_ENABLE_VERITY` and `FS_IOC_MEASURE_VERITY` (`include/uapi/linux/fsverity.h`).
const ENABLE: u64 = 0x4080_6685;
const MEASURE: u64 = 0xc004_6686;
/// `FS_VERITY_HASH_ALG_SHA256`, and the bytes of its digest.
const SHA256: u16 = 1;
const DIGEST: usize = 32;

/// Mounts an empty file system at a folder. Its device is freed when it is unmounted.
pub(super) fn mount_at(folder: &str) -> io::Result<()> {
    let mut memory = File::from(memfd_create(c"ext4", MemfdFlags::CLOEXEC)?);
    let mut beginning = Vec::new();
    GzDecoder::new(BEGINNING).read_to_end(&mut beginning)?;
    memory.write_all(&beginning)?;
    memory.set_len(SIZE)?;
    let control = OwnedFd::from(File::open("/dev/loop-control")?);
    // SAFETY: this request takes no argument.
    let number = result(unsafe { libc::ioctl(control.as_raw_fd(), GET_FREE as _) })?;
    let path = format!("/dev/loop{number}");
    let device = File::options().read(true).write(true).open(&path)?;
    // `struct loop_config`: the descriptor, and of its `struct loop_info64` the flag `LO_FLAGS_AUTOCLEAR`.
    let mut configuration = [0_u32; 76];
    configuration[0] = memory.as_raw_fd().unsigned_abs();
    configuration[15] = 4;
    // SAFETY: the kernel reads a structure of this size, which outlives the call.
    result(unsafe { libc::ioctl(device.as_raw_fd(), CONFIGURE as _, configuration.as_ptr()) })?;
    // What is open for writing cannot be mounted (`CONFIG_BLK_DEV_WRITE_MOUNTED`), and what nobody has open is freed.
    let read_only = File::open(&path)?;
    drop(device);
    mount(&*path, folder, "ext4", MountFlags::empty(), None)?;
    drop(read_only);
    Ok(())
}

/// Makes a file one with fs-verity, which nobody can write any more. Nobody may have it open for writing.
pub(super) fn enable(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    // `struct fsverity_enable_arg`: its version, the algorithm, and the size of blocks.
    let mut argument = [0_u32; 32];
    argument[..3].copy_from_slice(&[1, SHA256.into(), 4096]);
    // SAFETY: the kernel reads a structure of this size, which outlives the call.
    result(unsafe { libc::ioctl(file.as_raw_fd(), ENABLE as _, argument.as_ptr()) }).map(drop)
}

/// Returns the digest of a file with fs-verity.
pub(super) fn measure(path: &Path) -> io::Result<[u8; DIGEST]> {
    let file = File::open(path)?;
    // `struct fsverity_digest`: the algorithm, the size of the digest, and the digest.
    let mut answer = [0_u8; 4 + DIGEST];
    answer[2..4].copy_from_slice(&(DIGEST as u16).to_ne_bytes());
    // SAFETY: the kernel writes at most as many bytes of digest as it is given room for.
    result(unsafe { libc::ioctl(file.as_raw_fd(), MEASURE as _, answer.as_mut_ptr()) })?;
    let (head, digest) = answer.split_at(4);
    if head[..2] != SHA256.to_ne_bytes() {
        return Err(io::Error::other("the digest of fs-verity is no SHA-256"));
    }
    Ok(digest.try_into().expect("there are as many bytes"))
}

fn result(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
