//! Asks the guard in force to put another policy in its place.

use std::{io, os::fd::AsFd as _};

use guard_policy::{
    Image,
    layout::{INCOMING_FIELDS, SIGNATURE},
};
use rustix::io::Errno;

use crate::{
    access::{Access, published},
    error::LoadError,
    query,
    state::write_value,
};

/// Gives an image and its signature to the guard in force, which judges them and answers. The signature is PKCS #7 in DER,
/// detached; it may be empty for a policy with `reload = "root"`.
///
/// # Errors
/// [`LoadError::NoGuard`] if no guard was started early; [`LoadError::NoReload`] if its policy cannot be reloaded;
/// [`LoadError::Refused`] if it refuses this one. Then the policy in force stays.
pub fn reload(image: &Image, signature: &[u8]) -> Result<(), LoadError> {
    let id = *published()?.get(Access::INCOMING).ok_or(LoadError::NoReload)?;
    if signature.len() > SIGNATURE {
        return Err(LoadError::Refused("a signature has at most 4096 bytes"));
    }
    // What another process has left there is judged now, and the answer is not ours.
    let map = query::map_by_id(id).or_else(|_| query::map_by_id(id)).map_err(|error| answer(&error))?;
    write_value(map.as_fd(), &value(image, signature)).map_err(|errno| failed(errno.into()))?;
    query::map_by_id(id).map(drop).map_err(|error| answer(&error))
}

/// `struct guard_incoming`.
fn value(image: &Image, signature: &[u8]) -> Vec<u8> {
    let mut value = vec![0; INCOMING_FIELDS.iter().map(|field| field.size).sum()];
    let size = u32::try_from(signature.len()).unwrap_or(u32::MAX);
    let parts: [&[u8]; 4] = [&1_u32.to_le_bytes(), &size.to_le_bytes(), signature, image.bytes()];
    for (field, part) in INCOMING_FIELDS.iter().zip(parts) {
        value[field.offset..field.offset + part.len()].copy_from_slice(part);
    }
    value
}

fn failed(error: io::Error) -> LoadError {
    LoadError::File { path: "the guard's map incoming".into(), error }
}

/// What the errors of `guard_reload` (`harness/guard/bpf/guard.bpf.c`) say; those of a signature are the kernel's own
/// (`crypto/asymmetric_keys`).
fn answer(error: &io::Error) -> LoadError {
    let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
    LoadError::Refused(match errno {
        Errno::PERM | Errno::ACCESS => "only root of the initial user namespace may ask for it",
        Errno::STALE => "its revision is not higher than that of the policy in force",
        Errno::NOEXEC => "it was compiled for another kernel; compile it on a machine with this one",
        Errno::INVAL => {
            "it is not what this version of bpf-guard compiles, or its `reload` or `self_protection` is not that of the policy in force"
        }
        Errno::TOOBIG => "it has more kfuncs, targets, tags and digests than the guard has room for",
        Errno::BUSY => "another policy is being judged; try again",
        Errno::NOKEY => "no key of the keyring has signed it",
        Errno::KEYREJECTED | Errno::BADMSG => "it has no signature, or the signature is not right",
        Errno::NOPKG => "the kernel lacks an algorithm of the signature; sign with SHA-512",
        _ => return failed(io::Error::from(errno)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_of_the_kernel_has_its_words() {
        let text = |number: i32| answer(&io::Error::from_raw_os_error(number)).to_string();
        assert_eq!(
            text(116),
            "the guard does not take the policy: its revision is not higher than that of the policy in force; the one in force stays"
        );
        assert!(text(126).contains("no key of the keyring has signed it"));
        assert!(text(129).contains("has no signature, or"));
        assert!(text(74).contains("the signature is not right"));
        assert_eq!(text(12), "the guard's map incoming: Cannot allocate memory (os error 12)");
    }
}
