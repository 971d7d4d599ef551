//! The part of a load that libbpf does: opens an object, prepares it, and loads it.

#![allow(unsafe_code)]

use std::{
    ffi::{CString, c_int},
    os::fd::BorrowedFd,
    ptr::{self, NonNull},
};

use harness_protocol::{
    errno::Errno,
    outcome::{ObjectAnswer, ObjectFailure},
    plan::{AttachTargetTiming, MapSize, ObjectLoad, Replaced, TokenPath},
};
use libbpf_sys as sys;

use super::{attach, bpffs_location, kallsyms, recorder};
use crate::{
    bpffs::{self, Mounted},
    context::Loader,
    error::last_errno,
    library,
};

/// The variable that names the bpffs for libbpf (`LIBBPF_BPF_TOKEN_PATH`, `src/libbpf.h`).
const VARIABLE: &str = "LIBBPF_BPF_TOKEN_PATH";

type LibbpfResult<T> = Result<T, ObjectFailure>;

/// Loads an object and closes it again. To be called in a process of its own, whose environment this changes.
pub(super) fn load(load: &ObjectLoad, loader: Loader, own: &Mounted, other: Option<BorrowedFd<'_>>) -> ObjectAnswer {
    let bpffs = bpffs_location::path(load.bpffs, own);
    // Root makes no token of a bpffs, not even of a container's.
    let chosen = |path: Option<TokenPath>| match path {
        Some(TokenPath::Bpffs) => (loader != Loader::Host).then(|| bpffs.clone()),
        Some(TokenPath::Empty) => Some(CString::default()),
        None => None,
    };
    // A unit's own `Environment=` applies unless the attempt says otherwise.
    if loader != Loader::Unit || load.environment.is_some() {
        set_environment(chosen(load.environment).as_ref());
    }
    // SAFETY: libbpf accepts a null print function.
    unsafe { sys::libbpf_set_print(None) };
    recorder::start();
    let token_path = other.map(bpffs::path_of).or_else(|| chosen(load.token_path));
    let result = load_all(load, token_path.as_ref());
    ObjectAnswer { failure: result.err(), ..recorder::finish() }
}

fn set_environment(path: Option<&CString>) {
    // SAFETY: the guest has one thread (see `crate::process`), and this process was forked for one load.
    unsafe {
        match path.map(|path| path.to_string_lossy()) {
            Some(path) => std::env::set_var(VARIABLE, &*path),
            None => std::env::remove_var(VARIABLE),
        }
    }
}

fn load_all(load: &ObjectLoad, token_path: Option<&CString>) -> LibbpfResult<()> {
    let other = load.replaces.as_ref().map(|replaced| load_replaced(replaced, token_path)).transpose()?;
    let object = Object::open(&load.file, "open", token_path)?;
    let replaced = load.replaces.as_ref().zip(other.as_ref());
    let set_target = |when| match replaced {
        Some((replaced, other)) if replaced.timing == when => object.replace(replaced, other),
        _ => Ok(()),
    };
    load.sizes.iter().try_for_each(|size| object.set_size(size))?;
    set_target(AttachTargetTiming::Opened)?;
    object.prepare("prepare")?;
    set_target(AttachTargetTiming::Prepared)?;
    object.load("load")?;
    check_kallsyms(load)?;
    if load.attach { attach::all(object.0) } else { Ok(()) }
}

fn load_replaced(replaced: &Replaced, token_path: Option<&CString>) -> LibbpfResult<Object> {
    let other = Object::open(&replaced.file, "opening the replaced object", token_path)?;
    other.prepare("preparing the replaced object")?;
    other.load("loading the replaced object")?;
    Ok(other)
}

/// Fails with the name of the first function that is not listed.
fn check_kallsyms(load: &ObjectLoad) -> LibbpfResult<()> {
    if load.kallsyms.is_empty() {
        return Ok(());
    }
    let shown = kallsyms::shown(&load.kallsyms).map_err(|error| failure("kallsyms", errno_of(&error)))?;
    match load.kallsyms.iter().find(|function| !shown.contains(*function)) {
        None => Ok(()),
        Some(function) => Err(failure(&format!("kallsyms, which lack {function}"), libc::ENOENT)),
    }
}

fn errno_of(error: &std::io::Error) -> c_int {
    error.raw_os_error().unwrap_or(libc::EBUSY)
}

fn failure(stage: &str, errno: c_int) -> ObjectFailure {
    ObjectFailure { stage: stage.to_owned(), errno: Errno::from_raw(errno) }
}

/// Converts what libbpf returns: a negative errno on failure (`libbpf_legacy.h`, since 1.0).
fn done(stage: &str, result: c_int) -> LibbpfResult<()> {
    if result < 0 { Err(failure(stage, -result)) } else { Ok(()) }
}

/// An open object. Dropping it closes it with everything it loaded.
struct Object(NonNull<sys::bpf_object>);

impl Object {
    fn open(file: &str, stage: &str, token_path: Option<&CString>) -> LibbpfResult<Self> {
        let bytes = library::get(file).ok_or_else(|| failure(&format!("finding {file}"), libc::ENOENT))?;
        let options = sys::bpf_object_open_opts {
            sz: size_of::<sys::bpf_object_open_opts>() as u64,
            object_name: c"object".as_ptr(),
            bpf_token_path: token_path.map_or(ptr::null(), |path| path.as_ptr()),
            ..Default::default()
        };
        // SAFETY: pointer and length are those of static bytes, which libbpf may keep using; the options and their
        // strings outlive the call, and libbpf copies what it keeps of them.
        let object = unsafe { sys::bpf_object__open_mem(bytes.as_ptr().cast(), bytes.len() as u64, &options) };
        match NonNull::new(object) {
            Some(object) => {
                recorder::set_object(object);
                Ok(Self(object))
            }
            None => Err(failure(stage, last_errno().raw())),
        }
    }

    fn prepare(&self, stage: &str) -> LibbpfResult<()> {
        // SAFETY: the object is open.
        done(stage, unsafe { sys::bpf_object__prepare(self.0.as_ptr()) })
    }

    fn load(&self, stage: &str) -> LibbpfResult<()> {
        // SAFETY: the object is open.
        done(stage, unsafe { sys::bpf_object__load(self.0.as_ptr()) })
    }

    /// Sets the size of a map, which must not have been created yet.
    fn set_size(&self, size: &MapSize) -> LibbpfResult<()> {
        let stage = format!("setting the size of {}", size.map);
        let name = CString::new(size.map.as_str()).map_err(|_| failure(&stage, libc::EINVAL))?;
        // SAFETY: the object is open, and the name outlives the call.
        let map = unsafe { sys::bpf_object__find_map_by_name(self.0.as_ptr(), name.as_ptr()) };
        let map = NonNull::new(map).ok_or_else(|| failure(&stage, libc::ENOENT))?;
        // SAFETY: a map of the open object.
        done(&stage, unsafe { sys::bpf_map__set_max_entries(map.as_ptr(), size.max_entries) })
    }

    fn first_program(&self) -> Option<NonNull<sys::bpf_program>> {
        // SAFETY: the object is open, and null asks for its first program.
        NonNull::new(unsafe { sys::bpf_object__next_program(self.0.as_ptr(), ptr::null_mut()) })
    }

    /// Makes the object's first program replace a function of another, loaded object's first program.
    fn replace(&self, replaced: &Replaced, other: &Self) -> LibbpfResult<()> {
        const STAGE: &str = "set_attach_target";
        let programs = self.first_program().zip(other.first_program());
        let (own, target) = programs.ok_or_else(|| failure(STAGE, libc::ENOENT))?;
        let function = CString::new(replaced.function.as_str()).map_err(|_| failure(STAGE, libc::EINVAL))?;
        // SAFETY: both are programs of open objects, and the name outlives the call, which copies what it keeps.
        done(STAGE, unsafe {
            let target = sys::bpf_program__fd(target.as_ptr());
            sys::bpf_program__set_attach_target(own.as_ptr(), target, function.as_ptr())
        })
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: it is open, and nobody uses it any more.
        unsafe { sys::bpf_object__close(self.0.as_ptr()) }
    }
}
