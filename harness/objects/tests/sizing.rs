//! The sizes of maps that are assumed or set.

use harness_objects::{Named, Note, SizeError, SizeOrigin, set_size};

#[allow(dead_code, reason = "this test uses only a part of it")]
mod compiled;

fn named() -> Named {
    Named::of_bytes("sizes.o", compiled::bytes("sizes"), None).unwrap().remove(0)
}

fn sizes(named: &Named) -> Vec<(&str, u32, SizeOrigin)> {
    named.object.sizes.iter().map(|size| (size.map.as_str(), size.max_entries, size.origin)).collect()
}

#[test]
fn a_size_is_assumed_where_the_kernel_takes_one_and_the_file_has_none() {
    use SizeOrigin::Assumed;
    let named = named();
    let expected = [("counts", 1), ("events", 4096), ("to_kernel", 4096), ("memory", 1)];
    assert_eq!(sizes(&named), expected.map(|(map, size)| (map, size, Assumed)));
    for (map, size) in expected {
        assert!(named.object.notes.contains(&Note::NoSize(map.to_owned(), size)), "{map}");
    }
}

#[test]
fn a_set_size_replaces_one_that_is_assumed_or_defined() {
    let mut objects = [named(), named()];
    for (map, size) in [("events", 65536), ("queues", u32::MAX), ("samples", 2)] {
        set_size(&mut objects, map, size).unwrap();
    }
    for named in &objects {
        let given: Vec<_> = sizes(named).into_iter().filter(|size| size.2 == SizeOrigin::Given).collect();
        let given: Vec<_> = given.iter().map(|(map, size, _)| (*map, *size)).collect();
        assert_eq!(given, [("events", 65536), ("queues", u32::MAX), ("samples", 2)]);
        let notes = &named.object.notes;
        let unsized_maps = notes.iter().filter(|note| matches!(note, Note::NoSize(..))).count();
        assert_eq!((unsized_maps, sizes(named).len()), (3, 6));
        let queues = named.object.maps.iter().find(|map| map.name == "queues").unwrap();
        assert_eq!(queues.max_entries, u32::MAX);
    }
}

#[test]
fn what_cannot_be_set_is_an_error_with_the_reason() {
    let mut objects = [named()];
    let unchanged = objects[0].object.clone();
    let mut message = |map: &str| set_size(&mut objects, map, 1).unwrap_err();
    let known = ["counts", "events", "memory", "queues", "samples", "to_kernel"];
    let unknown = SizeError::Unknown { map: "queues.inner".to_owned(), known: known.map(str::to_owned).to_vec() };
    assert_eq!(message("queues.inner"), unknown);
    insta::assert_snapshot!([".bss", "by_socket", "by_cgroup"].map(|map| message(map).to_string()).join("\n"), @"
    the size of map `.bss` in sizes.o cannot be set: it holds the object's variables, as one element
    the size of map `by_socket` in sizes.o cannot be set: the kernel requires 0 for storage maps
    the size of map `by_cgroup` in sizes.o cannot be set: the kernel requires 0 for storage maps
    ");
    assert_eq!(objects[0].object, unchanged);
}
