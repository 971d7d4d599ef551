//! Attaches what an object loaded, as far as libbpf can by itself.

#![allow(unsafe_code)]

use std::ptr::NonNull;

use harness_protocol::outcome::ObjectFailure;
use libbpf_sys as sys;

use super::recorder::{self, Attached};
use crate::{bpf::names::text, error::last_errno};

/// Attaches every program and structure that libbpf attaches by itself, one after the other, and detaches each at once:
/// an attached one could act on the calls that follow.
///
/// # Errors
/// Returns the first failure; the others are tried nevertheless.
pub(super) fn all(object: NonNull<sys::bpf_object>) -> Result<(), ObjectFailure> {
    let mut failures: Vec<ObjectFailure> = programs(object).filter_map(attach_program).collect();
    failures.extend(maps(object).filter_map(attach_structure));
    failures.into_iter().next().map_or(Ok(()), Err)
}

fn attach_program(program: *mut sys::bpf_program) -> Option<ObjectFailure> {
    // SAFETY: a program of an open object.
    let (wanted, name) = unsafe {
        let wanted = sys::bpf_program__autoload(program) && sys::bpf_program__autoattach(program);
        (wanted, text(sys::bpf_program__name(program)))
    };
    // SAFETY: as above; it was loaded with its object.
    if wanted { one(&name, Attached::Program, || unsafe { sys::bpf_program__attach(program) }) } else { None }
}

fn attach_structure(map: *mut sys::bpf_map) -> Option<ObjectFailure> {
    // SAFETY: a map of an open object.
    let (wanted, name) = unsafe {
        let structure = sys::bpf_map__type(map) == sys::BPF_MAP_TYPE_STRUCT_OPS;
        let wanted = structure && sys::bpf_map__autocreate(map) && sys::bpf_map__autoattach(map);
        (wanted, text(sys::bpf_map__name(map)))
    };
    // SAFETY: as above; it was made with its object.
    if wanted { one(&name, Attached::Structure, || unsafe { sys::bpf_map__attach_struct_ops(map) }) } else { None }
}

/// Attaches one and returns how it failed, if it did. For a program whose target it does not know, libbpf returns
/// `EOPNOTSUPP` before any call.
fn one(name: &str, what: Attached, attach: impl FnOnce() -> *mut sys::bpf_link) -> Option<ObjectFailure> {
    recorder::attaching(name, what);
    let link = NonNull::new(attach());
    let refused = link.is_none().then(last_errno);
    let calls = recorder::attached(refused);
    if let Some(link) = link {
        // SAFETY: libbpf just made it, and nobody else owns it.
        unsafe { sys::bpf_link__destroy(link.as_ptr()) };
    }
    let errno = refused.filter(|errno| calls > 0 || errno.raw() != libc::EOPNOTSUPP)?;
    Some(ObjectFailure { stage: format!("attach of {name}"), errno })
}

fn programs(object: NonNull<sys::bpf_object>) -> impl Iterator<Item = *mut sys::bpf_program> {
    let next = move |last: Option<&*mut sys::bpf_program>| {
        // SAFETY: the object is open, and the other is null or one of its programs.
        let next = unsafe { sys::bpf_object__next_program(object.as_ptr(), last.map_or(std::ptr::null_mut(), |p| *p)) };
        (!next.is_null()).then_some(next)
    };
    std::iter::successors(next(None), move |last| next(Some(last)))
}

fn maps(object: NonNull<sys::bpf_object>) -> impl Iterator<Item = *mut sys::bpf_map> {
    let next = move |last: Option<&*mut sys::bpf_map>| {
        // SAFETY: the object is open, and the other is null or one of its maps.
        let next = unsafe { sys::bpf_object__next_map(object.as_ptr(), last.map_or(std::ptr::null_mut(), |m| *m)) };
        (!next.is_null()).then_some(next)
    };
    std::iter::successors(next(None), move |last| next(Some(last)))
}
