//! Compiles the guard's BPF programs.

use std::{env, path::Path, process::Command};

/// The sources, beside this crate.
const SOURCES: &str = "../bpf";
const MAIN: &str = "guard.bpf.c";

fn main() {
    println!("cargo::rerun-if-changed={SOURCES}");
    println!("cargo::rerun-if-env-changed=BPF_CLANG");
    let clang = env::var("BPF_CLANG").unwrap_or_else(|_| "clang".to_owned());
    let headers = env::var("DEP_BPF_INCLUDE").expect("libbpf-sys says where the headers of libbpf are");
    let object = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("guard.bpf.o");
    // No path of this machine gets into the object: its BTF is the same wherever it is compiled.
    let compiled = Command::new(&clang)
        .current_dir(SOURCES)
        .args(["-std=gnu11", "-target", "bpf", "-mcpu=v3", "-g", "-O2", "-Wall", "-Wextra", "-Werror"])
        .args(["-Wno-unused-parameter", "-Wno-sign-compare", "-D__TARGET_ARCH_x86"])
        .args([&format!("-ffile-prefix-map={headers}=libbpf"), "-fdebug-compilation-dir=."])
        .args(["-I", &headers, "-c", MAIN, "-o"])
        .arg(&object)
        .output();
    match compiled {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!("{clang} does not compile {MAIN}:\n{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => panic!("cannot run {clang}, which compiles {MAIN}: {error}; install the package clang"),
    }
}
