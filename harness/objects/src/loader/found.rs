//! Finds out which library a program loads its objects with.

use super::{Library, Loader, LoaderVersion};

/// The start of what the Go linker records about modules (`debug/buildinfo` of Go).
const GO: &[u8] = b"\xff Go buildinf:";
/// A line of these records, up to the version.
const CILIUM: &[u8] = b"\tgithub.com/cilium/ebpf\tv";
/// What paths to sources of aya begin with in messages of panics.
const AYA: &[u8] = b"/aya-";
/// What messages of libbpf begin with (`__base_pr` in `src/libbpf_internal.h`).
const LIBBPF: &[u8] = b"libbpf: ";
/// What `libbpf_version_string` returns, up to the second number (`src/libbpf.c`); libbpf is in 1.x since 2022.
const VERSION: &[u8] = b"\0v1.";

/// The loader that is part of a program: by Go's record of modules, by paths to sources of aya, or by libbpf's messages
/// and version. `None` if there is no sign of one; a program that links libbpf dynamically bears no version, and gets the
/// modelled one.
pub(crate) fn found(bytes: &[u8]) -> Option<Loader> {
    cilium(bytes).or_else(|| aya(bytes)).or_else(|| libbpf(bytes))
}

fn cilium(bytes: &[u8]) -> Option<Loader> {
    after(bytes, GO)?;
    Some(Loader { library: Library::CiliumEbpf, version: version(after(bytes, CILIUM)?)? })
}

fn aya(bytes: &[u8]) -> Option<Loader> {
    let mut rest = bytes;
    loop {
        rest = after(rest, AYA)?;
        if let Some(version) = version(rest) {
            return Some(Loader { library: Library::Aya, version });
        }
    }
}

fn libbpf(bytes: &[u8]) -> Option<Loader> {
    let is_static = after(bytes, LIBBPF).is_some();
    let minor = || {
        let rest = after(bytes, VERSION)?;
        let (minor, rest) = number(rest)?;
        (rest.first() == Some(&0)).then_some(LoaderVersion { major: 1, minor })
    };
    match is_static.then(minor).flatten() {
        Some(version) => Some(Loader { library: Library::Libbpf, version }),
        None => (is_static || after(bytes, b"\0libbpf.so.1\0").is_some()).then_some(Loader::LIBBPF),
    }
}

/// What follows the first occurrence of a text.
fn after<'a>(bytes: &'a [u8], text: &[u8]) -> Option<&'a [u8]> {
    let mut at = 0;
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == text[0])?;
        if bytes[at..].starts_with(text) {
            return Some(&bytes[at + text.len()..]);
        }
        at += 1;
    }
}

/// The version at the start, `MAJOR.MINOR`.
fn version(bytes: &[u8]) -> Option<LoaderVersion> {
    let (major, rest) = number(bytes)?;
    let (minor, _) = number(rest.strip_prefix(b".")?)?;
    Some(LoaderVersion { major, minor })
}

fn number(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = std::str::from_utf8(&bytes[..digits]).ok()?;
    Some((text.parse().ok()?, &bytes[digits..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8]) -> Option<String> {
        found(bytes).map(|loader| loader.to_string())
    }

    #[test]
    fn a_program_shows_its_loader() {
        let go = b"\x7fELF..\xff Go buildinf:..dep\tgithub.com/cilium/ebpf\tv0.17.3\th1:x=\n";
        assert_eq!(shown(go).as_deref(), Some("cilium/ebpf 0.17"));
        let rust = b"/root/src/aya-obj-0.6.0/src/obj.rs\0/root/src/aya-0.16.0/src/bpf.rs\0";
        assert_eq!(shown(rust).as_deref(), Some("aya 0.16"));
        let linked = b"libbpf: failed to open\0v1.4\0x";
        assert_eq!(shown(linked).as_deref(), Some("libbpf 1.4"));
        // Linked dynamically, the version is that of the machine.
        assert_eq!(shown(b"\0libbpf.so.1\0").as_deref(), Some("libbpf 1.7"));
    }

    #[test]
    fn a_program_without_a_sign_of_a_loader_has_none() {
        // The module's name without Go's record is a mention; `aya-obj` alone has no version of aya.
        for mention in [&b"\tgithub.com/cilium/ebpf\tv0.17.3"[..], b"/aya-obj-0.6.0/", b"\0v1.4\0", b"", b"/aya-"] {
            assert_eq!(shown(mention), None, "{}", String::from_utf8_lossy(mention));
        }
    }
}
