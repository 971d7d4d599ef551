//! Has the linker lead two functions past the guest's own: `syscall(3)`, by which libbpf reaches `bpf(2)`, and libbpf's
//! `feat_supported`, by which it probes. `src/object/recorder.rs` is the other end. Only for the program and its unit tests:
//! nothing else has that other end.

fn main() {
    for function in ["syscall", "feat_supported"] {
        println!("cargo:rustc-link-arg-bins=-Wl,--wrap={function}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
