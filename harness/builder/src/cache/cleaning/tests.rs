//! Plans for invented inventories, and caches made for the tests.

use std::fs::{self, File};

use super::*;
use crate::progress::Progress;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + 1000 * DAY
}

fn item(area: Area, name: &str, days: u32) -> Item {
    Item { area, name: name.to_owned(), bytes: 1, used: now() - days * DAY, is_running: false }
}

fn planned(
    items: Vec<Item>,
    references: &References,
    areas: &[Area],
    scope: CleanScope,
) -> Vec<(String, RemovalReason)> {
    let plan = Plan::new(&Inventory { items }, references, areas, scope, now());
    plan.removals.into_iter().map(|(item, why)| (item.name, why)).collect()
}

fn idle(items: Vec<Item>, references: &References) -> Vec<(String, RemovalReason)> {
    planned(items, references, &Area::ALL, CleanScope::Idle)
}

fn owned(expected: &[(&str, RemovalReason)]) -> Vec<(String, RemovalReason)> {
    expected.iter().map(|(name, why)| ((*name).to_owned(), *why)).collect()
}

#[test]
fn unreferenced_kernels_and_downloads_are_removed() {
    let mut references = References::default();
    references.add_all(Area::Kernels, "6.12-aaa");
    references.add(Area::Downloads, "a_1.deb");
    let items = vec![
        item(Area::Downloads, "a_1.deb", 400),
        item(Area::Downloads, "a_0.deb", 0),
        item(Area::Kernels, "6.12-aaa-tool", 400),
        item(Area::Kernels, "6.12-bbb-tool", 0),
        item(Area::Mutants, "6.12-aaa", 0),
    ];
    let expected = [
        ("a_0.deb", RemovalReason::Unreferenced),
        ("6.12-bbb-tool", RemovalReason::Unreferenced),
        ("6.12-aaa", RemovalReason::Unreferenced),
    ];
    assert_eq!(idle(items, &references), owned(&expected), "a reference holds in its own area only");
}

#[test]
fn old_trees_and_outcomes_are_removed() {
    let mut references = References::default();
    references.add(Area::Trees, "kernel-a");
    references.add(Area::Trees, "kernel-b");
    let items = vec![
        item(Area::Trees, "kernel-a", 29),
        item(Area::Trees, "kernel-b", 31),
        item(Area::Trees, "kernel-c", 0),
        item(Area::Store, "0a/new.json", 29),
        item(Area::Store, "0a/old.json", 31),
    ];
    let expected = [
        ("kernel-b", RemovalReason::Old),
        ("kernel-c", RemovalReason::Unreferenced),
        ("0a/old.json", RemovalReason::Old),
    ];
    assert_eq!(idle(items, &references), owned(&expected));
}

#[test]
fn leftovers_are_removed_and_unfinished_builds_are_kept() {
    let is_running = Item { is_running: true, ..item(Area::Runs, "7-0", 0) };
    let items = vec![
        item(Area::Downloads, ".tmpAbC", 0),
        item(Area::Downloads, ".tmpOld", 2),
        item(Area::Kernels, ".partial-6.12-aaa", 0),
        item(Area::Store, "0a/.tmpX", 2),
        is_running,
        item(Area::Runs, "6-0", 0),
        item(Area::Runs, ".gate", 400),
        item(Area::Runs, "kvm-proof.json", 400),
    ];
    let expected = [".tmpOld", ".partial-6.12-aaa", "0a/.tmpX", "6-0"].map(|name| (name, RemovalReason::Leftover));
    let found = idle(items.clone(), &References::default());
    assert_eq!(found, owned(&expected));
    assert_eq!(
        planned(items, &References::default(), &Area::ALL, CleanScope::Everything),
        found,
        "not even if asked for"
    );
}

#[test]
fn everything_in_the_named_areas_is_removed_on_request() {
    let mut references = References::default();
    references.add(Area::Guest, "current");
    let items = vec![item(Area::Guest, "current", 0), item(Area::Store, "0a/x.json", 0), item(Area::Kernels, "k", 0)];
    let found = planned(items, &references, &[Area::Guest, Area::Store], CleanScope::Everything);
    assert_eq!(found, owned(&[("current", RemovalReason::Asked), ("0a/x.json", RemovalReason::Asked)]));
}

fn filled_cache() -> (tempfile::TempDir, Cache) {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path().join("cache")).unwrap();
    for file in ["kernels/a-1/boot", "kernels/.partial-b-1/boot", "downloads/x.deb", "store/0a/x.json", "runs/1-0/lock"]
    {
        let path = cache.root().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "text").unwrap();
    }
    (folder, cache)
}

fn everything(cache: &Cache) -> Plan {
    let inventory = Inventory::of(cache.root()).unwrap();
    Plan::new(&inventory, &References::default(), &Area::ALL, CleanScope::Everything, now())
}

#[test]
fn everything_planned_is_removed_and_nothing_outside() {
    let (folder, cache) = filled_cache();
    let outside = folder.path().join("precious");
    fs::write(&outside, "text").unwrap();
    std::os::unix::fs::symlink(folder.path(), cache.root().join("kernels/a-1/out")).unwrap();
    std::os::unix::fs::symlink(&outside, cache.root().join("kernels/link-1")).unwrap();
    let freed = everything(&cache).carry_out(&cache).unwrap();
    assert_eq!((freed.items, freed.left.len()), (6, 0));
    assert!(freed.bytes > 0);
    assert_eq!(Inventory::of(cache.root()).unwrap(), Inventory::default());
    assert_eq!(fs::read_to_string(&outside).unwrap(), "text");
}

#[test]
fn locked_items_are_kept() {
    let (_folder, cache) = filled_cache();
    let hold = |area, name| cache.entry(area, name).unwrap().lock(&Progress::silent()).unwrap();
    let _locks = [hold(Area::Kernels, "a-1"), hold(Area::Kernels, "b-1")];
    let freed = everything(&cache).carry_out(&cache).unwrap();
    let left: Vec<&str> = freed.left.iter().map(|(item, _)| item.name.as_str()).collect();
    assert_eq!(left, [".partial-b-1", "a-1"]);
    let reason = format!("process {} has locked it", std::process::id());
    assert!(freed.left.iter().all(|(_, left)| *left == reason), "{freed:?}");
    assert!(cache.root().join("kernels/a-1/boot").exists() && cache.root().join("kernels/.partial-b-1/boot").exists());
}

#[test]
fn items_of_running_vms_are_kept() {
    let (_folder, cache) = filled_cache();
    let lock = File::open(cache.root().join("runs/1-0/lock")).unwrap();
    lock.lock().unwrap();
    let freed = everything(&cache).carry_out(&cache).unwrap();
    assert_eq!((freed.items, freed.left.len()), (1, 3), "only the download goes: {freed:?}");
    assert!(cache.root().join("runs/1-0").exists() && !cache.root().join("downloads/x.deb").exists());
}

#[test]
fn a_run_folder_nested_deeper_than_any_path_is_listed_and_removed() {
    use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
    let (_folder, cache) = filled_cache();
    let mut inner = openat(CWD, cache.root().join("runs/1-0"), OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..1000 {
        mkdirat(&inner, "deeper", Mode::RWXU).unwrap();
        inner = openat(&inner, "deeper", OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    everything(&cache).carry_out(&cache).unwrap();
    assert!(!cache.root().join("runs/1-0").exists());
}
