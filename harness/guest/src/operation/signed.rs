//! Loading signed programs.

#![allow(unsafe_code)]

use std::{ffi::CStr, os::fd::AsRawFd};

use harness_protocol::{
    errno::Errno,
    plan::{Keyring, OWN_CERTIFICATE, Signature},
};

use super::result::{AttemptResult, OperationError, made};
use crate::{
    attr::Attr,
    bpf::{ProgSpec, Token},
    error::{SysError, last_errno},
    library,
};

/// `BPF_PROG_LOAD` with a signature, once, without a verifier log.
///
/// # Errors
/// [`OperationError`] if the host made no signature, or the keyring cannot be made. A kernel that does not take
/// signatures answers by itself.
pub(super) fn load(
    spec: ProgSpec<'_>,
    signature: &Signature,
    token: Token<'_>,
) -> Result<AttemptResult, OperationError> {
    let bytes = file(&signature.file)?;
    let keyring = prepare(signature.keyring)?;
    let (btf, functions) = spec.types.map_or((None, &[][..]), |(btf, functions)| (Some(btf), functions));
    let maps: Vec<i32> = spec.maps.iter().map(AsRawFd::as_raw_fd).collect();
    let flag = if token.is_some() { libbpf_sys::BPF_F_TOKEN_FD } else { 0 };
    let mut attr = Attr::new()
        .u32(0, spec.prog_type)
        .u32(4, spec.body.len() as u32)
        .input(8, spec.body)
        .input(16, spec.license.to_bytes_with_nul())
        .u32(44, spec.flags | flag)
        .u32(68, spec.expected_attach_type)
        .u32(108, spec.target)
        .input(152, bytes)
        .u32(160, bytes.len() as u32)
        .u32(164, keyring.cast_unsigned());
    if !functions.is_empty() {
        attr = attr.u32(76, size_of::<[u32; 2]>() as u32).input(80, functions).u32(88, functions.len() as u32);
    }
    if !maps.is_empty() {
        attr = attr.input(120, &maps);
    }
    // Since Linux 7.3 the signature covers the maps of the `fd_array` if its length is named. Before, a program that names it
    // cannot use an exclusive map: the kernel compares its digest before it has computed it.
    if signature.signed.len() > size_of_val(spec.body) {
        attr = attr.u32(148, maps.len() as u32);
    }
    for (offset, fd) in [(72, btf), (112, spec.replaces), (144, token)] {
        if let Some(fd) = fd {
            attr = attr.fd(offset, fd);
        }
    }
    // SAFETY: each count is that of its buffer, and the license ends with a zero; the command returns a new descriptor.
    Ok(made(unsafe { attr.make(libbpf_sys::BPF_PROG_LOAD) }))
}

fn file(name: &str) -> Result<&'static [u8], OperationError> {
    library::get(name).ok_or_else(|| OperationError::NoFile(name.to_owned()))
}

/// Makes the keyring, unless it is the kernel's, and returns its `keyring_id`. The numbers of the kernel's are in
/// `include/linux/verification.h`.
fn prepare(keyring: Keyring) -> Result<i32, OperationError> {
    match keyring {
        Keyring::Builtin => Ok(0),
        Keyring::Secondary => Ok(1),
        Keyring::Platform => Ok(2),
        Keyring::Session | Keyring::Empty => {
            join_session()?;
            if keyring.needs_certificate() {
                add_certificate(file(OWN_CERTIFICATE)?)?;
            }
            Ok(libc::KEY_SPEC_SESSION_KEYRING)
        }
    }
}

/// `keyctl(KEYCTL_JOIN_SESSION_KEYRING)`: a new session keyring without a name takes the place of the old one.
fn join_session() -> Result<(), SysError> {
    // SAFETY: no name is given.
    let joined = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, 0) };
    done("keyctl(KEYCTL_JOIN_SESSION_KEYRING)", joined)
}

/// `add_key(2)` to the session keyring.
fn add_certificate(certificate: &[u8]) -> Result<(), SysError> {
    const TYPE: &CStr = c"asymmetric";
    const NAME: &CStr = c"";
    // SAFETY: the strings end with a zero, and pointer and length of the certificate belong together.
    let added = unsafe {
        libc::syscall(
            libc::SYS_add_key,
            TYPE.as_ptr(),
            NAME.as_ptr(),
            certificate.as_ptr(),
            certificate.len(),
            libc::KEY_SPEC_SESSION_KEYRING,
        )
    };
    done("add_key", added)
}

fn done(call: &str, result: libc::c_long) -> Result<(), SysError> {
    let errno: Option<Errno> = (result < 0).then(last_errno);
    errno.map_or(Ok(()), |errno| Err(SysError { call: call.to_owned(), errno }))
}

#[cfg(test)]
mod tests {
    use harness_protocol::plan::SigningKey;

    use super::*;

    #[test]
    fn a_signature_that_the_host_did_not_make_is_named() {
        let signature = Signature {
            file: "builtin-12.p7s".to_owned(),
            key: SigningKey::Builtin,
            keyring: Keyring::Builtin,
            signed: vec![],
        };
        let error = load(ProgSpec::PLAIN, &signature, None).unwrap_err().to_string();
        insta::assert_snapshot!(error, @"the host made no builtin-12.p7s: it signs with a kernel's built-in key only if it has built the kernel with one, as 7.3-integrity");
    }
}
