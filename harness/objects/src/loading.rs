//! The requests that a loader makes while it loads an object with a token, and how it reacts to the answers: those of libbpf
//! 1.7 (`bpf_object_prepare` and `bpf_object_load` in `src/libbpf.c`), and where other loaders differ ([`crate::Library`]).

mod input;
mod request;
mod sequence;

pub(crate) use input::LoadInput;
pub use request::{Kernel, LoadRequest, Necessity, RequestOwner};
pub(crate) use sequence::LibbpfSequence;

use crate::object::Object;

/// All requests that its loader may make while it loads the object, in the loader's order and with all alternatives.
pub fn asked(object: &Object, kernel: Kernel<'_>) -> Vec<LoadRequest> {
    every(&LoadInput::new(object, kernel))
}

pub(crate) fn every(input: &LoadInput<'_>) -> Vec<LoadRequest> {
    let mut all = Vec::new();
    let mut note = |request: LoadRequest| {
        all.push(request);
        true
    };
    // Everything is allowed, so that the sequence reaches its end.
    let _ = LibbpfSequence::new(input, &mut note).with_alternatives().run();
    all
}
