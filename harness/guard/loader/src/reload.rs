//! Asks the guard in force to put another policy in its place.

use std::{io, os::fd::AsFd as _};

use guard_policy::{
    Image,
    layout::{INCOMING_FIELDS, SIGNATURE},
};
use guard_record::Reason;
use rustix::io::Errno;

use crate::{
    access::{Access, published},
    error::LoadError,
    query,
    state::exchange,
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
        return Err(LoadError::Refused("a signature has at most 4096 bytes".to_owned()));
    }
    // What another process has left there is judged now, and the answer is not ours.
    let map = query::map_by_id(id).or_else(|_| query::map_by_id(id)).map_err(not_opened)?;
    let asked = exchange(map.as_fd(), &image.incoming(signature), || query::map_by_id(id));
    match asked.map_err(|errno| failed(errno.into()))? {
        (Ok(_), _) => Ok(()),
        (Err(error), after) if error.kind() == io::ErrorKind::PermissionDenied => {
            let reason = u16::try_from(number(&after, "reason")).unwrap_or(u16::MAX);
            Err(LoadError::Refused(words(image, reason, number(&after, "what"))))
        }
        (Err(error), _) => Err(not_opened(error)),
    }
}

/// Where a member of `struct guard_incoming` begins, and its size.
fn place(name: &str) -> (usize, usize) {
    let field = INCOMING_FIELDS.iter().find(|field| field.name == name).expect("a member of the structure");
    (field.offset, field.size)
}

fn number(value: &[u8], name: &str) -> u64 {
    let (start, size) = place(name);
    let mut bytes = [0; 8];
    bytes[..size].copy_from_slice(&value[start..start + size]);
    u64::from_le_bytes(bytes)
}

fn failed(error: io::Error) -> LoadError {
    LoadError::File { path: "the guard's map incoming".into(), error }
}

fn not_opened(error: io::Error) -> LoadError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            LoadError::Refused("only root of the initial user namespace may ask for it".to_owned())
        }
        io::ErrorKind::ResourceBusy => LoadError::Refused("another policy is being judged; try again".to_owned()),
        _ => failed(error),
    }
}

/// Says why an image is refused.
fn words(image: &Image, reason: u16, what: u64) -> String {
    match Reason::try_from(reason) {
        Ok(Reason::ImageSignature) => signature_words(what),
        Ok(Reason::ImageRevision) => {
            format!("its revision is {}, which is not higher than that of the policy in force", image.revision())
        }
        Ok(Reason::ImageKernel) => {
            "it was compiled for another kernel; compile it on a machine with this one".to_owned()
        }
        Ok(Reason::ImageFormat) => "it is not what the version of bpf-guard that is in force compiles".to_owned(),
        Ok(Reason::ImageFixed) => {
            "its `reload` or `self_protection` is not that of the policy in force, which only a boot changes".to_owned()
        }
        _ => "only root of the initial user namespace may ask for it".to_owned(),
    }
}

/// The errors of the kernel's check (`crypto/asymmetric_keys`, `certs/system_keyring.c`).
fn signature_words(error: u64) -> String {
    let errno = i32::try_from(error).map_or(Errno::INVAL, Errno::from_raw_os_error);
    match errno {
        Errno::NOKEY => "no key of the keyring has signed it".to_owned(),
        Errno::KEYREJECTED | Errno::BADMSG => "it has no signature, or the signature is not right".to_owned(),
        Errno::NOPKG => "the kernel lacks an algorithm of the signature; sign with SHA-512".to_owned(),
        _ => format!("the kernel cannot check its signature: {}", io::Error::from(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_its_words() {
        let policy = "version = 1\nrevision = 3\n[guard]\nreload = \"root\"\n[[rule]]\nallow = true\n";
        let (policy, _) = guard_policy::parse("p.toml", policy).unwrap_or_else(|report| panic!("{report}"));
        let image = Image::of(&policy.compile(), None, &[]).unwrap();
        let text = |reason: Reason, what: u64| words(&image, reason.number(), what);
        assert!(text(Reason::ImageRevision, 3).starts_with("its revision is 3, which is not higher"));
        assert!(text(Reason::ImageSignature, 126).contains("no key of the keyring"));
        assert!(text(Reason::ImageSignature, 129).contains("has no signature, or"));
        assert!(text(Reason::ImageSignature, 12).contains("Cannot allocate memory"));
        assert!(text(Reason::ImageKernel, 0).contains("for another kernel"));
        assert!(text(Reason::NoReason, 0).contains("only root"));
        let mut value = image.incoming(b"signed");
        assert_eq!((number(&value, "ready"), number(&value, "signature_size")), (1, 6));
        let (start, _) = place("what");
        value[start] = 9;
        assert_eq!(number(&value, "what"), 9);
    }
}
