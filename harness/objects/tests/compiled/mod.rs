//! Objects compiled by clang from the sources of the tests.

use std::{fs, path::Path, process::Command};

use harness_objects::{Needs, Object, Program, needs, read};

/// Compiles one of `tests/sources`.
pub fn bytes(source: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let object = folder.path().join("object.o");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sources").join(source).with_extension("bpf.c");
    let mut clang = Command::new("clang");
    clang.args(["-target", "bpf", "-g", "-O2", "-Wall", "-Werror", "-c"]).arg(source).arg("-o").arg(&object);
    let output = clang.output().expect("clang starts; `cargo xtask setup` installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read(object).unwrap()
}

/// Compiles and reads.
pub fn object(source: &str) -> Object {
    read(&bytes(source)).unwrap()
}

/// The program of this name.
pub fn program<'a>(object: &'a Object, name: &str) -> &'a Program {
    object.programs.iter().find(|program| program.name == name).unwrap_or_else(|| panic!("no program {name}"))
}

/// An object with no other programs than these.
pub fn only(object: &Object, names: &[&str]) -> Object {
    let mut object = object.clone();
    object.programs.retain(|program| names.contains(&program.name.as_str()));
    object
}

/// What it needs of a kernel of this release.
pub fn needed(object: &Object, release: &str) -> Needs {
    let release: harness_model::scenario::Release = release.parse().unwrap();
    needs(&[("object".to_owned(), object.clone())], release.into())
}

/// The elements of the least grant by their names alone, without those that every object needs: `prog_load`, the type and
/// attach type of the probe of loading, and `CAP_BPF`.
pub fn elements(needs: &Needs) -> String {
    let names = needs.elements.keys().map(|element| element.to_string());
    let names = names.map(|name| name.rsplit(' ').next().unwrap().to_lowercase());
    let always = ["prog_load", "socket_filter", "cgroup_inet_ingress", "cap_bpf"];
    names.filter(|name| !always.contains(&name.as_str())).collect::<Vec<_>>().join(" ")
}
