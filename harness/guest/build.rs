//! Makes the linker redirect two functions to the guest's wrappers: `syscall(3)`, through which libbpf reaches `bpf(2)`, and
//! libbpf's `feat_supported`, with which it probes. The wrappers are in `src/object/recorder.rs`, so only the program and its
//! unit tests are linked this way.

fn main() {
    for function in ["syscall", "feat_supported"] {
        println!("cargo:rustc-link-arg-bins=-Wl,--wrap={function}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
