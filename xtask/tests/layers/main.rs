//! The shape of the code: crates stand on floors and import downward only, and within a crate no two files and no two sibling
//! modules reach each other, by whatever path. A module and those within it may know each other; tests may look up.
//!
//! `LAYERS_ROOT=DIR cargo test -p xtask --test layers picture -- --ignored --nocapture` shows the crates and the circles of DIR;
//! with `LAYERS_FAMILIES=1` also those that only an arrow between a file and one within it closes.

mod circle;
mod package;
mod resolve;
mod samples;
mod tree;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use circle::{Circle, Families, circles, circular};
use package::{Package, packages};
use resolve::Reference;
use tree::{Id, Tree};

/// The crates by floor: each imports crates of lower floors only.
const FLOORS: &[(&str, u32)] = &[
    ("guard-record", 0),
    ("harness-init", 0),
    ("harness-diagnostics", 0),
    ("harness-fixtures", 0),
    ("harness-page", 0),
    ("harness-program", 0),
    ("harness-protocol", 0),
    ("load-by-aya", 0),
    ("load-by-libbpf", 0),
    ("harness-guest", 1),
    ("harness-scenario", 1),
    ("harness-uapi", 1),
    ("guard-policy", 2),
    ("harness-planner", 2),
    ("harness-verdict", 2),
    ("guard-loader", 3),
    ("harness-proof", 3),
    ("harness-snapshot", 3),
    ("bpf-guard", 4),
    ("harness-builder", 4),
    ("harness-frontend", 4),
    ("harness-objects", 4),
    ("harness-findings", 5),
    ("harness-runner", 5),
    ("harness-cli", 6),
    ("bpf-token-harness", 7),
    ("xtask", 7),
];

/// The circles that are still there, which may only become fewer and smaller.
const EXCEPTIONS: &str = include_str!("exceptions.txt");

/// The crates that stand in the VM, and whom of ours they may know there.
const IN_THE_VM: [(&str, &[&str]); 2] = [("harness-init", &[]), ("harness-guest", &["harness-protocol"])];

fn top() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    env::var_os("LAYERS_ROOT").map_or_else(|| workspace.to_owned(), PathBuf::from)
}

static WORKSPACE: LazyLock<Workspace> = LazyLock::new(|| Workspace::read(&top()));

/// The sources of a workspace, read.
struct Workspace {
    packages: Vec<Package>,
    tree: Tree,
    /// The top modules of each package.
    roots: BTreeMap<String, Vec<Id>>,
    references: Vec<Reference>,
    missing: Vec<String>,
}

impl Workspace {
    fn read(top: &Path) -> Self {
        let packages = packages(top);
        let mut tree = Tree::default();
        let mut roots = BTreeMap::<String, Vec<Id>>::new();
        let read = |path: &Path| fs::read_to_string(top.join(path)).ok();
        for package in &packages {
            for file in package.tops().iter().filter(|file| top.join(file).exists()) {
                let root = tree.add(file, &read).unwrap_or_else(|error| panic!("{error}"));
                roots.entry(package.name.clone()).or_default().push(root);
                if file.ends_with("lib.rs") {
                    tree.libraries.insert(package.library(), root);
                }
            }
        }
        let (references, missing) = tree.references();
        Self { packages, tree, roots, references, missing }
    }

    fn circles(&self, families: Families) -> Vec<Circle> {
        let circles = |(name, roots): (&String, &Vec<Id>)| circles(&self.tree, name, roots, &self.references, families);
        self.roots.iter().flat_map(circles).collect()
    }
}

#[test]
fn every_path_leads_somewhere() {
    let missing = &WORKSPACE.missing;
    assert!(
        missing.is_empty(),
        "this check does not find what these paths name; mend its resolver:\n{}",
        missing.join("\n")
    );
}

#[test]
fn crates_import_downward() {
    let packages = &WORKSPACE.packages;
    let floors: BTreeMap<&str, u32> = FLOORS.iter().copied().collect();
    let mut wrong = String::new();
    for package in packages {
        let Some(floor) = floors.get(package.name.as_str()) else {
            let below = package.dependencies.keys().filter_map(|name| floors.get(name.as_str())).max();
            writeln!(
                wrong,
                "{} has no floor: add (\"{0}\", {}) to FLOORS",
                package.name,
                below.map_or(0, |floor| floor + 1)
            )
            .unwrap();
            continue;
        };
        for (name, line) in &package.dependencies {
            if let Some(other) = floors.get(name.as_str()).filter(|other| *other >= floor) {
                let manifest = package.folder.join("Cargo.toml");
                writeln!(
                    wrong,
                    "{} (floor {floor}) imports {name} (floor {other}) at {}:{line}: move what it needs to a lower floor",
                    package.name,
                    manifest.display()
                )
                .unwrap();
            }
        }
    }
    for name in floors.keys().filter(|name| packages.iter().all(|package| package.name != **name)) {
        writeln!(wrong, "{name} is gone: take it out of FLOORS").unwrap();
    }
    let arrows = packages
        .iter()
        .flat_map(|package| package.dependencies.keys().map(|name| (package.name.clone(), name.clone())));
    for circle in circular(&arrows.collect()) {
        writeln!(wrong, "these crates depend on each other: {}", Vec::from_iter(circle).join(" ")).unwrap();
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn little_crosses_into_the_vm() {
    for (name, allowed) in IN_THE_VM {
        let package = WORKSPACE.packages.iter().find(|package| package.name == name).unwrap();
        let dependencies: Vec<&str> = package.dependencies.keys().map(String::as_str).collect();
        assert_eq!(
            dependencies, allowed,
            "of our crates, {name} may depend on {allowed:?} only: all that it reaches is part of the guest program's key"
        );
    }
}

#[test]
fn no_two_modules_reach_each_other() {
    let circles = WORKSPACE.circles(Families::LeftOut);
    let wrong = held_against(EXCEPTIONS, &circles);
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// What is wrong with these circles and the list of those that are let pass.
fn held_against(exceptions: &str, circles: &[Circle]) -> String {
    let exceptions: Vec<(&str, BTreeSet<String>)> = exceptions
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(title, members)| (title, members.split(' ').map(str::to_owned).collect()))
        .collect();
    let holds = |exception: &(&str, BTreeSet<String>), circle: &Circle| {
        exception.0 == circle.title && circle.members.is_subset(&exception.1)
    };
    let mut wrong = String::new();
    for circle in circles.iter().filter(|circle| !exceptions.iter().any(|exception| holds(exception, circle))) {
        writeln!(wrong, "A new circle. Move what both sides need to a module below them, or into the one that uses it alone:\n{circle}").unwrap();
    }
    for exception in &exceptions {
        let left: Vec<&Circle> = circles.iter().filter(|circle| holds(exception, circle)).collect();
        let members: BTreeSet<String> = left.iter().flat_map(|circle| circle.members.clone()).collect();
        if members != exception.1 {
            let (title, all) = (exception.0, Vec::from_iter(exception.1.iter().map(String::as_str)).join(" "));
            writeln!(wrong, "An exception holds no more. Remove it from exceptions.txt:\n{title}: {all}").unwrap();
            left.iter().for_each(|circle| writeln!(wrong, "and add what is left of it:\n{circle:?}").unwrap());
        }
    }
    wrong
}

#[test]
#[ignore = "shows the crates and the circles, and proves nothing"]
fn picture() {
    let packages = &WORKSPACE.packages;
    let mut floors = BTreeMap::<u32, Vec<&str>>::new();
    for package in packages {
        floors.entry(floor(package, packages)).or_default().push(&package.name);
    }
    for (floor, names) in floors.iter().rev() {
        println!("{floor}  {}", names.join("  "));
    }
    println!();
    for package in packages {
        println!("{} -> {}", package.name, Vec::from_iter(package.dependencies.keys().map(String::as_str)).join(" "));
    }
    let circles = WORKSPACE.circles(Families::LeftOut);
    let strict = WORKSPACE.circles(Families::Counted);
    for name in WORKSPACE.roots.keys() {
        let of = |circles: &[Circle], what: &str| {
            circles.iter().filter(|circle| circle.title.starts_with(&format!("{name} {what}"))).count()
        };
        println!(
            "\n== {name}: {} circles of files ({} with arrows between parents and children), {} of sibling modules\n",
            of(&circles, "files"),
            of(&strict, "files"),
            of(&circles, "modules")
        );
        let shown = if env::var_os("LAYERS_FAMILIES").is_some() { &strict } else { &circles };
        shown
            .iter()
            .filter(|circle| circle.title.starts_with(&format!("{name} ")))
            .for_each(|circle| println!("{circle}"));
    }
    WORKSPACE.missing.iter().for_each(|path| println!("not found: {path}"));
}

/// The lowest floor on which a crate can stand.
fn floor(package: &Package, packages: &[Package]) -> u32 {
    let below = packages.iter().filter(|other| package.dependencies.contains_key(&other.name));
    below.map(|other| floor(other, packages) + 1).max().unwrap_or(0)
}
