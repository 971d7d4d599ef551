//! The resolver, held against small crates whose circles are known.

use std::{collections::BTreeMap, path::Path};

use super::{
    circle::{Circle, Families, circles},
    held_against,
    tree::Tree,
};

/// The circles of a crate of these files, in which every path must lead somewhere.
fn found(files: &[(&str, &str)]) -> Vec<Circle> {
    let files: BTreeMap<String, &str> = files.iter().map(|(name, text)| (format!("src/{name}"), *text)).collect();
    let read = |path: &Path| files.get(path.to_str().unwrap()).map(|text| (*text).to_owned());
    let mut tree = Tree::default();
    let root = tree.add(Path::new("src/lib.rs"), &read).unwrap();
    let (references, missing) = tree.references();
    assert_eq!(missing, [""; 0]);
    circles(&tree, "sample", &[root], &references, Families::LeftOut)
}

/// The same as lines of the exceptions.
fn lines(files: &[(&str, &str)]) -> Vec<String> {
    found(files).iter().map(|circle| format!("{circle:?}")).collect()
}

const A_AND_B: [&str; 2] = ["sample files: a.rs b.rs", "sample modules of crate: a b"];

#[test]
fn uses_that_form_a_circle() {
    let a = ("a.rs", "use crate::b::{self, In};\npub struct Out(In);\nfn f() { b::g() }");
    let b = ("b.rs", "use super::{a::Out as Other};\npub struct In;\npub fn g() {}\nfn h(_: Other) {}");
    assert_eq!(lines(&[("lib.rs", "mod a; mod b;"), a, b]), A_AND_B);
}

#[test]
fn paths_without_use_that_form_a_circle() {
    let files = [
        ("lib.rs", "mod a { pub mod one; pub mod two; fn f() { one::f() } }"),
        ("a/one.rs", "pub trait Has { fn f(); }\npub fn f() -> super::two::Two { super::two::Two }"),
        ("a/two.rs", "pub struct Two;\nimpl Two { fn f() { <Two as crate::a::one::Has>::f() } }"),
    ];
    assert_eq!(lines(&files), ["sample files: a/one.rs a/two.rs", "sample modules of crate::a: one two"]);
}

#[test]
fn reexports_are_looked_through() {
    let top = ("lib.rs", "mod a; mod b; mod face { pub use super::a::*; pub use crate::b::In as Inner; }");
    let a = ("a.rs", "use crate::face::Inner;\npub struct Out(Inner);");
    let b = ("b.rs", "pub struct In;\nfn f(_: crate::face::Out) {}");
    let all = lines(&[top, a, b]);
    assert_eq!(all[0], A_AND_B[0]);
}

#[test]
fn paths_in_macros_count() {
    let a = ("a.rs", "fn f() -> String { format!(\"{}\", [crate::b::N + 1][0]) }\npub fn g() {}");
    let b = ("b.rs", "pub const N: usize = 1;\n#[derive(Other)]\n#[other(with = \"crate::a::g\")]\nstruct S;");
    assert_eq!(lines(&[("lib.rs", "mod a; mod b;"), a, b]), A_AND_B);
}

#[test]
fn names_that_a_macro_makes_are_found_where_it_is_called() {
    let top = ("lib.rs", "macro_rules! make { ($name:ident) => { pub struct $name; } }\nmod a; mod b;");
    let a = ("a.rs", "make!(Made);\nfn f(_: crate::b::B) {}");
    let b = ("b.rs", "pub struct B;\nfn f(_: super::a::Made) {}");
    assert_eq!(lines(&[top, a, b]), A_AND_B);
}

#[test]
fn tests_may_look_up() {
    let a = ("a.rs", "pub struct Out(crate::b::In);");
    let b =
        "pub struct In;\n#[cfg(test)]\nmod tests { use crate::a::Out; }\n#[cfg(all(test, unix))]\nuse crate::a::Out;";
    let b =
        format!("{b}\nimpl In {{ #[cfg(test)]\nfn f(_: crate::a::Out) {{}} }}\n#[test]\nfn f() {{ crate::a::g() }}");
    assert_eq!(lines(&[("lib.rs", "mod a; mod b;"), a, ("b.rs", &b)]), [""; 0]);
}

#[test]
fn parents_and_children_may_know_each_other() {
    let files = [
        ("lib.rs", "mod a; pub struct Top;"),
        ("a.rs", "mod one; mod two; pub struct A(one::One, two::Two, crate::Top);"),
        ("a/one.rs", "pub struct One(super::two::Two);\nfn f(_: super::A) {}"),
        ("a/two.rs", "pub struct Two;\nfn f(_: super::A) {}"),
    ];
    assert_eq!(lines(&files), [""; 0]);
}

#[test]
fn children_of_others_make_a_circle_of_modules() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "pub mod x; pub mod y;"),
        ("a/x.rs", "pub use crate::b::B;"),
        ("a/y.rs", "pub struct Y;"),
        ("b.rs", "pub struct B(crate::c::C);"),
        ("c.rs", "pub struct C(crate::a::y::Y);"),
    ];
    assert_eq!(lines(&files), ["sample modules of crate: a b c"]);
}

#[test]
fn a_variable_is_no_module_and_a_block_has_uses_of_its_own() {
    let a = ("a.rs", "use super::*;\nfn f(b: u8) -> u8 { let c = b; c }");
    let b = ("b.rs", "fn f() { use crate::a as other; use crate::c; other::x::y(); c::z() }");
    let files = [("lib.rs", "mod a; mod b; mod c;"), a, b, ("c.rs", "pub fn z() {}")];
    let read = |path: &Path| {
        files.iter().find(|(name, _)| path == Path::new("src").join(name)).map(|(_, text)| (*text).to_owned())
    };
    let mut tree = Tree::default();
    tree.add(Path::new("src/lib.rs"), &read).unwrap();
    let (references, missing) = tree.references();
    let found: Vec<(&str, &str)> = references
        .iter()
        .map(|reference| (tree.modules[reference.from].name.as_str(), reference.path.as_str()))
        .collect();
    assert_eq!(found, [("b", "crate::a"), ("b", "crate::c"), ("b", "crate::c::z")]);
    assert_eq!(missing, ["crate::a::x::y at src/b.rs:1"]);
}

#[test]
fn exceptions_only_become_fewer() {
    let a = ("a.rs", "use crate::b::In;");
    let b = ("b.rs", "pub struct In;\nuse crate::a;");
    let circles = found(&[("lib.rs", "mod a; mod b;"), a, b]);
    let both = A_AND_B.join("\n");
    assert_eq!(held_against(&both, &circles), "");
    let unknown = held_against(A_AND_B[1], &circles);
    assert!(unknown.ends_with(
        "sample files: a.rs b.rs\n    a.rs -> b.rs (crate::b::In at a.rs:1)\n    b.rs -> a.rs (crate::a at b.rs:2)\n\n"
    ));
    assert_eq!(
        held_against(&format!("{both}\nsample files: c.rs d.rs"), &circles),
        "An exception holds no more. Remove it from exceptions.txt:\nsample files: c.rs d.rs\n"
    );
    let larger = held_against(&format!("{}\nsample files: a.rs b.rs c.rs", A_AND_B[1]), &circles);
    assert!(larger.ends_with("sample files: a.rs b.rs c.rs\nand add what is left of it:\nsample files: a.rs b.rs\n"));
}
