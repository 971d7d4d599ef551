//! `docs/glossary.md` names what there is: each path in it is defined in its crate, and it stays short.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{Item, UseTree};

/// The most terms that the page may explain.
const MOST_TERMS: usize = 60;

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn page() -> String {
    fs::read_to_string(project().join("docs/glossary.md")).unwrap()
}

/// The rows of the page's tables: the terms, and their meaning.
fn rows(page: &str) -> Vec<(Vec<&str>, &str)> {
    let cells = page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
    let rows = cells.filter(|(term, _)| *term != "term" && *term != "---");
    rows.map(|(terms, meaning)| (terms.split(", ").collect(), meaning)).collect()
}

/// The names in code style that are paths: `crate::…::Name`.
fn paths(page: &str) -> BTreeSet<&str> {
    page.split('`').skip(1).step_by(2).filter(|name| name.contains("::")).collect()
}

/// The names in code style that stand alone in parentheses, which are crates.
fn crates(page: &str) -> BTreeSet<&str> {
    let rests = page.split("(`").skip(1);
    let names = rests.filter_map(|rest| rest.split_once("`)")).map(|(name, _)| name);
    names.filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_')).collect()
}

/// The names that a crate defines or exports, each with the modules that lead to it.
fn definitions(name: &str) -> Vec<Vec<String>> {
    let sources = project().join("harness").join(name).join("src");
    let top = ["lib.rs", "main.rs"].map(|file| sources.join(file)).into_iter().find(|file| file.exists());
    let mut found = Vec::new();
    if let Some(top) = top {
        let items = syn::parse_file(&fs::read_to_string(top).unwrap()).unwrap().items;
        add(&items, &[], &sources, &mut found);
    }
    found
}

fn add(items: &[Item], modules: &[String], folder: &Path, found: &mut Vec<Vec<String>>) {
    let mut define = |name: String| found.push(modules.iter().cloned().chain([name]).collect());
    let mut inner = Vec::new();
    for item in items {
        match item {
            Item::Struct(item) => define(item.ident.to_string()),
            Item::Enum(item) => define(item.ident.to_string()),
            Item::Trait(item) => define(item.ident.to_string()),
            Item::Type(item) => define(item.ident.to_string()),
            Item::Fn(item) => define(item.sig.ident.to_string()),
            Item::Use(item) => exported(&item.tree).into_iter().for_each(&mut define),
            // A macro of the crate's own may define a type by the name that it is given.
            Item::Macro(item) => item.mac.tokens.clone().into_iter().for_each(|token| {
                if let proc_macro2::TokenTree::Ident(name) = token {
                    define(name.to_string());
                }
            }),
            Item::Mod(item) => {
                define(item.ident.to_string());
                inner.push(item);
            }
            _ => {}
        }
    }
    for module in inner {
        let name = module.ident.to_string();
        let deeper: Vec<String> = modules.iter().cloned().chain([name.clone()]).collect();
        match &module.content {
            Some((_, items)) => add(items, &deeper, &folder.join(name), found),
            None => {
                let file: PathBuf = folder.join(format!("{name}.rs"));
                if let Ok(text) = fs::read_to_string(file) {
                    add(&syn::parse_file(&text).unwrap().items, &deeper, &folder.join(name), found);
                }
            }
        }
    }
}

/// The names that a `use` brings.
fn exported(tree: &UseTree) -> Vec<String> {
    match tree {
        UseTree::Path(path) => exported(&path.tree),
        UseTree::Name(name) => vec![name.ident.to_string()],
        UseTree::Rename(rename) => vec![rename.rename.to_string()],
        UseTree::Group(group) => group.items.iter().flat_map(exported).collect(),
        UseTree::Glob(_) => Vec::new(),
    }
}

/// Whether a definition ends with the name of a path, and has the path's modules before it in their order.
fn is_at(definition: &[String], path: &[&str]) -> bool {
    let (Some((name, modules)), Some((wanted, further))) = (definition.split_last(), path.split_last()) else {
        return false;
    };
    let mut modules = modules.iter();
    name == wanted && further.iter().all(|module| modules.any(|found| found == module))
}

#[test]
fn there_are_at_most_sixty_terms_and_each_stands_once() {
    let page = page();
    let terms: Vec<&str> = rows(&page).into_iter().flat_map(|(terms, _)| terms).collect();
    assert!((1..=MOST_TERMS).contains(&terms.len()), "{} terms", terms.len());
    let distinct: BTreeSet<&str> = terms.iter().copied().collect();
    assert_eq!(distinct.len(), terms.len(), "a term stands twice: {terms:?}");
}

#[test]
fn every_path_is_defined_in_its_crate() {
    let page = page();
    let paths = paths(&page);
    assert!(paths.len() > 20, "{paths:?}");
    let mut crates = BTreeMap::new();
    let mut is_missing = |path: &&&str| {
        let segments: Vec<&str> = path.split("::").collect();
        let defined = crates.entry(segments[0].to_owned()).or_insert_with_key(|name| definitions(name));
        !defined.iter().any(|definition| is_at(definition, &segments[1..]))
    };
    let missing: Vec<&&str> = paths.iter().filter(|path| is_missing(path)).collect();
    assert!(missing.is_empty(), "docs/glossary.md names what the code does not define: {missing:?}");
}

#[test]
fn every_crate_that_is_named_exists() {
    let page = page();
    let crates = crates(&page);
    assert!(!crates.is_empty());
    let exists = |name: &str| project().join("harness").join(name).join("Cargo.toml").exists();
    let missing: Vec<&str> = crates.into_iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "docs/glossary.md names crates that do not exist: {missing:?}");
}

#[test]
fn a_wrong_path_is_noticed() {
    let definition = ["kernel", "mutant", "Mutant"].map(str::to_owned);
    for path in [&["Mutant"][..], &["mutant", "Mutant"], &["kernel", "Mutant"]] {
        assert!(is_at(&definition, path), "{path:?}");
    }
    for path in [&["mutant"][..], &["Mutants"], &["image", "Mutant"], &["mutant", "kernel", "Mutant"], &[]] {
        assert!(!is_at(&definition, path), "{path:?}");
    }
    assert!(definitions("no-such-crate").is_empty());
}
