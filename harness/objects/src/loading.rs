//! What the kernel is asked while libbpf 1.7 loads an object with a token, and what libbpf makes of the answers
//! (`bpf_object_prepare` and `bpf_object_load` in `src/libbpf.c`).

mod input;
mod request;
mod sequence;

pub(crate) use input::LoadInput;
pub use request::{Kernel, LoadRequest, Necessity, RequestOwner};
pub(crate) use sequence::LibbpfSequence;

use crate::object::Object;

/// All that a kernel may be asked while libbpf loads the object, in libbpf's order, with all alternatives.
pub fn asked(object: &Object, kernel: Kernel<'_>) -> Vec<LoadRequest> {
    every(&LoadInput::new(object, kernel))
}

pub(crate) fn every(subject: &LoadInput<'_>) -> Vec<LoadRequest> {
    let mut all = Vec::new();
    let mut note = |asked: LoadRequest| {
        all.push(asked);
        true
    };
    // Everything is answered with yes, so that it gets to the end.
    let _ = LibbpfSequence::new(subject, &mut note).with_alternatives().run();
    all
}
