//! Records every `bpf(2)` and `perf_event_open(2)` call that libbpf makes, with the kernel's answer.
//!
//! libbpf reaches the kernel through `syscall(3)` and probes with its own `feat_supported` (`src/bpf.c`,
//! `src/features.c` of libbpf 1.7). The linker redirects both here (`build.rs`). Each call goes on to the real
//! function, and is recorded only while the thread has a recorder.

#![allow(unsafe_code)]

use std::{
    cell::RefCell,
    ffi::{c_int, c_long, c_void},
    ptr,
};

use harness_protocol::{
    errno::Errno,
    outcome::{Feature, MOST_MESSAGES, ObjectAnswer, ObjectStep, Purpose, VerifierMessage},
};
use libbpf_sys as sys;

use super::answer;
use crate::bpf::{
    names::{MEMORY_OF_CGROUPS, attach_type, command_name, feature_name, map_type, prog_type, text},
    verifier_log,
};

thread_local! {
    static RECORDER: RefCell<Option<Recorder>> = const { RefCell::new(None) };
}

/// The state of a recording.
#[derive(Default)]
struct Recorder {
    answer: ObjectAnswer,
    /// The feature being probed, by its number in libbpf's list.
    probing: Option<u32>,
    recorded: RecordedObject,
    /// How many messages of the verifier were kept.
    messages: usize,
    attaching: Option<Attaching>,
}

/// What is being attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attached {
    /// A program.
    Program,
    /// A structure of operations, which is a map.
    Structure,
}

struct Attaching {
    name: String,
    what: Attached,
    /// The calls made for it.
    calls: u32,
    /// Whether one of them was refused.
    refused: bool,
}

/// The object being loaded.
#[derive(Default)]
struct RecordedObject {
    object: Option<ptr::NonNull<sys::bpf_object>>,
    /// How many of its maps were made; libbpf makes them in the object's order.
    maps_made: usize,
    /// Whether the next of them was refused with its types.
    map_refused: bool,
}

/// Starts a recording on this thread, and discards one that is in progress.
pub(super) fn start() {
    RECORDER.set(Some(Recorder::default()));
}

/// Sets the object that is loaded from now on; it must stay open until the recording ends or another one is set.
pub(super) fn set_object(object: ptr::NonNull<sys::bpf_object>) {
    with(|recorder| recorder.recorded = RecordedObject { object: Some(object), ..RecordedObject::default() });
}

/// Sets what is attached from now on.
pub(super) fn attaching(name: &str, what: Attached) {
    let name = name.to_owned();
    with(|recorder| recorder.attaching = Some(Attaching { name, what, calls: 0, refused: false }));
}

/// Ends the attachment, with how it failed, if so. Returns how many calls were made for it. If none of them was
/// refused, libbpf failed by itself, which is recorded as a step as well.
pub(super) fn attached(failure: Option<Errno>) -> u32 {
    with(|recorder| recorder.attached(failure)).unwrap_or_default()
}

/// Makes libbpf probe now, with the caller's privileges, what it would otherwise probe in the middle of loading the first
/// object. Forks inherit the result.
pub(crate) fn trigger_probes() {
    // SAFETY: sets a number.
    unsafe { sys::libbpf_set_memlock_rlim(0) };
    // SAFETY: asks as libbpf itself does before a call; without a cache it uses that of the process.
    unsafe { __real_feat_supported(ptr::null_mut(), MEMORY_OF_CGROUPS as c_int) };
}

/// Ends the recording and returns it.
pub(super) fn finish() -> ObjectAnswer {
    RECORDER.take().map(|recorder| recorder.answer).unwrap_or_default()
}

/// Runs `act` on the recorder, if there is one and it is not in use.
fn with<T>(act: impl FnOnce(&mut Recorder) -> T) -> Option<T> {
    RECORDER.with(|cell| cell.try_borrow_mut().ok()?.as_mut().map(act))
}

unsafe extern "C" {
    fn __real_syscall(number: c_long, ...) -> c_long;
    fn __real_feat_supported(cache: *mut c_void, feature: c_int) -> bool;
}

/// `syscall(3)` for the whole program. In C it is variadic; on x86-64 integers of a variadic call are passed like any
/// other, so reading all six, given or not, is what the C library's own does too.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    // SAFETY: passes on the caller's own call.
    let result = unsafe { __real_syscall(number, a, b, c, d, e, f) };
    if number == libc::SYS_bpf || number == libc::SYS_perf_event_open {
        // SAFETY: the location is this thread's own and always valid.
        let location = unsafe { libc::__errno_location() };
        // SAFETY: as above.
        let errno = unsafe { *location };
        let refused = (result < 0).then(|| Errno::from_raw(errno));
        if number == libc::SYS_bpf {
            // SAFETY: by the meaning of `bpf(2)`, `b` points at `c` bytes of attributes, which the kernel has just
            // read.
            let attr = unsafe { attributes(b as *const u8, c as usize) };
            with(|recorder| recorder.note(a as u32, &attr, refused));
        } else {
            with(|recorder| recorder.note_event(refused));
        }
        // SAFETY: as above; the caller must not see an errno of what happened since.
        unsafe { *location = errno };
    }
    result
}

/// libbpf's probe for a feature; every call it makes is part of the probe.
///
/// Without a recorder the question whether the kernel charges the memory of BPF to control groups is answered here: every
/// kernel since 5.11 does so, and a call that is one attempt must be no more than that.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_feat_supported(cache: *mut c_void, feature: c_int) -> bool {
    let number = feature as u32;
    if number == MEMORY_OF_CGROUPS && with(|_| ()).is_none() {
        return true;
    }
    let before = with(|recorder| recorder.probing.replace(number));
    // SAFETY: passes on the caller's own call.
    let supported = unsafe { __real_feat_supported(cache, feature) };
    if let Some(before) = before {
        with(|recorder| {
            recorder.probing = before;
            let feature = Feature { name: feature_name(number), by_object: !cache.is_null(), supported };
            answer::add_feature(&mut recorder.answer, feature);
        });
    }
    supported
}

/// Copies the attributes of a call, with zeros where the caller gave none.
///
/// # Safety
/// `from` must be valid for reading `size` bytes.
unsafe fn attributes(from: *const u8, size: usize) -> sys::bpf_attr {
    let mut attr = sys::bpf_attr::default();
    let size = size.min(size_of_val(&attr));
    // SAFETY: the source is valid by the contract, the destination has at least `size` bytes, and any bytes make a
    // union of integers.
    unsafe { ptr::copy_nonoverlapping(from, (&raw mut attr).cast(), size) };
    attr
}

impl Recorder {
    fn note(&mut self, cmd: u32, attr: &sys::bpf_attr, errno: Option<Errno>) {
        let (about, token, own) = match cmd {
            // SAFETY: the command determines the member of the union; all are integers.
            sys::BPF_MAP_CREATE => self.map_create(unsafe { &attr.__bindgen_anon_1 }, errno.is_none()),
            // SAFETY: as above.
            sys::BPF_PROG_LOAD => self.prog_load(unsafe { &attr.__bindgen_anon_3 }),
            // SAFETY: as above.
            sys::BPF_BTF_LOAD => (String::new(), unsafe { attr.__bindgen_anon_7.btf_flags } & TOKEN != 0, true),
            sys::BPF_BTF_GET_FD_BY_ID => {
                // SAFETY: as above.
                (String::new(), unsafe { attr.__bindgen_anon_6.open_flags } & TOKEN != 0, false)
            }
            _ => (String::new(), false, false),
        };
        let attached = self.attachment(cmd, attr);
        let purpose = match (self.probing, own, cmd) {
            (Some(number), _, _) => Purpose::Probe(feature_name(number)),
            _ if attached.is_some() => Purpose::Attachment,
            (None, true, _) => Purpose::Object,
            // `bpf_object__probe_loading`, the only probe outside of `feat_supported`.
            (None, false, sys::BPF_PROG_LOAD) => Purpose::Probe("loading".to_owned()),
            (None, false, _) => Purpose::Work,
        };
        let about = attached.unwrap_or(about);
        let verifier = errno.filter(|_| cmd == sys::BPF_PROG_LOAD).and_then(|_| self.said(attr));
        self.add(ObjectStep { cmd: command_name(cmd), about, purpose, token, errno, times: 1, verifier, site: None });
    }

    /// Returns what the verifier says of a program that it refused, if libbpf asked for that.
    fn said(&mut self, attr: &sys::bpf_attr) -> Option<VerifierMessage> {
        // SAFETY: the command is BPF_PROG_LOAD; all members are integers.
        let load = unsafe { &attr.__bindgen_anon_3 };
        if load.log_level == 0 || load.log_buf == 0 || self.messages == MOST_MESSAGES {
            return None;
        }
        // SAFETY: libbpf's buffer has this size, and lives as long as the call; the kernel has just written to it.
        let log = unsafe { std::slice::from_raw_parts(load.log_buf as *const u8, load.log_size as usize) };
        let end = log.iter().position(|byte| *byte == 0)?;
        let message = verifier_log::message(&log[..end])?;
        self.messages += 1;
        Some(message)
    }

    fn note_event(&mut self, errno: Option<Errno>) {
        let (about, purpose) = match (&self.attaching, self.probing) {
            (_, Some(number)) => (String::new(), Purpose::Probe(feature_name(number))),
            (Some(attaching), None) => (attaching.name.clone(), Purpose::Attachment),
            (None, None) => (String::new(), Purpose::Work),
        };
        let cmd = "perf_event_open".to_owned();
        self.add(ObjectStep { cmd, about, purpose, token: false, errno, times: 1, ..Default::default() });
    }

    fn add(&mut self, step: ObjectStep) {
        if let Some(attaching) = &mut self.attaching {
            attaching.calls += 1;
            attaching.refused |= step.purpose == Purpose::Attachment && step.errno.is_some();
        }
        answer::add_step(&mut self.answer, step);
    }

    /// Returns what a call attaches, and as what, if it attaches something.
    fn attachment(&self, cmd: u32, attr: &sys::bpf_attr) -> Option<String> {
        let Attaching { name, what, .. } = self.attaching.as_ref().filter(|_| self.probing.is_none())?;
        match cmd {
            sys::BPF_LINK_CREATE => {
                // SAFETY: the command determines the member of the union.
                let kind = attach_type(unsafe { attr.link_create.attach_type });
                Some(format!("{kind} {name}"))
            }
            sys::BPF_RAW_TRACEPOINT_OPEN => Some(name.clone()),
            sys::BPF_MAP_UPDATE_ELEM if *what == Attached::Structure => Some(name.clone()),
            _ => None,
        }
    }

    fn attached(&mut self, failure: Option<Errno>) -> u32 {
        let Some(Attaching { name, calls, refused, .. }) = self.attaching.take() else { return 0 };
        let unsupported = calls == 0 && failure == Some(Errno::from_raw(libc::EOPNOTSUPP));
        if failure.is_some() && !refused && !unsupported {
            let (cmd, purpose) = ("attach".to_owned(), Purpose::Attachment);
            self.add(ObjectStep {
                cmd,
                about: name,
                purpose,
                token: false,
                errno: failure,
                times: 1,
                ..Default::default()
            });
        }
        calls
    }

    fn map_create(&mut self, attr: &sys::bpf_attr__bindgen_ty_1, made: bool) -> (String, bool, bool) {
        let kind = map_type(attr.map_type);
        let token = attr.map_flags & TOKEN != 0;
        if self.probing.is_some() {
            return (kind, token, false);
        }
        let name = self.recorded.map_created(attr, made);
        let lost = if attr.map_name[0] == 0 { ", without its name" } else { "" };
        (format!("{kind} {name}{lost}"), token, true)
    }

    fn prog_load(&self, attr: &sys::bpf_attr__bindgen_ty_4) -> (String, bool, bool) {
        let kind = prog_type(attr.prog_type);
        let token = attr.prog_flags & TOKEN != 0;
        match self.recorded.program_with(attr.insns).filter(|_| self.probing.is_none()) {
            None => (kind, token, false),
            Some(name) => {
                let lost = if attr.prog_name[0] == 0 { ", without its name" } else { "" };
                (format!("{kind} {name}{lost}"), token, true)
            }
        }
    }
}

impl RecordedObject {
    /// Returns the name of the map being made, whatever name the kernel was given.
    fn map_created(&mut self, attr: &sys::bpf_attr__bindgen_ty_1, made: bool) -> String {
        let Some((name, kind)) = self.maps().nth(self.maps_made) else { return "?".to_owned() };
        if kind != attr.map_type {
            return format!("within {name}");
        }
        let typed = attr.btf_key_type_id != 0 || attr.btf_value_type_id != 0;
        let lost = if self.map_refused && !typed { ", without its types" } else { "" };
        self.map_refused = !made;
        self.maps_made += usize::from(made);
        format!("{name}{lost}")
    }

    /// Returns the maps that libbpf makes, with their types.
    fn maps(&self) -> impl Iterator<Item = (String, u32)> {
        let object = self.object;
        let mut last = ptr::null_mut();
        let every = std::iter::from_fn(move || {
            // SAFETY: the object is open as long as it is recorded, and `last` is null or one of its maps.
            last = unsafe { sys::bpf_object__next_map(object?.as_ptr(), last) };
            (!last.is_null()).then_some(last)
        });
        // SAFETY: each is a map of the open object.
        let made = every.filter(|map| unsafe { sys::bpf_map__autocreate(*map) });
        // SAFETY: as above; names live as long as the object, and are copied.
        made.map(|map| unsafe { (text(sys::bpf_map__name(map)), sys::bpf_map__type(map)) })
    }

    /// Returns the program whose instructions are at this address.
    fn program_with(&self, instructions: u64) -> Option<String> {
        let mut program = ptr::null_mut();
        loop {
            // SAFETY: the object is open as long as it is recorded, and `program` is null or one of its programs.
            program = unsafe { sys::bpf_object__next_program(self.object?.as_ptr(), program) };
            if program.is_null() {
                return None;
            }
            // SAFETY: a program of the open object.
            if unsafe { sys::bpf_program__insns(program) } as u64 == instructions {
                // SAFETY: as above; the name is copied.
                return Some(unsafe { text(sys::bpf_program__name(program)) });
            }
        }
    }
}

const TOKEN: u32 = sys::BPF_F_TOKEN_FD;

#[cfg(test)]
mod tests;
