//! What the kernel is asked while libbpf 1.7 loads an object with a token, and what libbpf makes of the answers
//! (`bpf_object_prepare` and `bpf_object_load` in `src/libbpf.c`).

mod asked;
mod course;
mod subject;

pub use asked::{Asked, Kernel, Must, Owner};
pub(crate) use course::Course;
pub(crate) use subject::Subject;

use crate::object::Object;

/// All that a kernel may be asked while libbpf loads the object, in libbpf's order, with all alternatives.
pub fn asked(object: &Object, kernel: Kernel<'_>) -> Vec<Asked> {
    every(&Subject::new(object, kernel))
}

pub(crate) fn every(subject: &Subject<'_>) -> Vec<Asked> {
    let mut all = Vec::new();
    let mut note = |asked: Asked| {
        all.push(asked);
        true
    };
    // Everything is answered with yes, so that it gets to the end.
    let _ = Course::new(subject, &mut note).with_alternatives().run();
    all
}
