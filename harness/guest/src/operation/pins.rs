//! Names in a bpffs.

use std::{ffi::CStr, os::fd::BorrowedFd};

use rustix::fs::{CWD, Mode};

use super::{OperationError, Outcome, done};
use crate::{bpf, error::During};

/// `BPF_OBJ_PIN`; its file is given other permissions, if some are wanted. If the name is not to stay, it is taken away
/// again.
pub(super) fn pin(
    object: BorrowedFd<'_>,
    path: &CStr,
    mode: Option<u32>,
    stays: bool,
) -> Result<Outcome, OperationError> {
    let pinned = bpf::obj_pin(object, path);
    if let (Ok(()), Some(mode)) = (&pinned, mode) {
        rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(mode), rustix::fs::AtFlags::empty())
            .during(|| "chmod what was just pinned")?;
    }
    if pinned.is_ok() && !stays {
        rustix::fs::unlink(path).during(|| "unlink what was just pinned")?;
    }
    Ok(done(pinned))
}
