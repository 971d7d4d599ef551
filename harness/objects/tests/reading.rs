//! What is read of objects that clang compiles from the sources beside.

use std::collections::BTreeMap;

use harness_objects::{
    AttachWay, BtfReason, ExpectedAttach, Map, MapSource, Note, Object, Program, ProgramTarget, known_sections, read,
};
use harness_uapi::{names, permission::Use, vocabulary::Kind};

mod compiled;
use compiled::{bytes, object};

/// The program of this name.
fn program<'a>(object: &'a Object, name: &str) -> &'a Program {
    object.programs.iter().find(|program| program.name == name).unwrap_or_else(|| panic!("no program {name}"))
}

fn map<'a>(object: &'a Object, name: &str) -> &'a Map {
    object.maps.iter().find(|map| map.name == name).unwrap_or_else(|| panic!("no map {name}"))
}

fn map_type(map: &Map) -> &'static str {
    names::name(Kind::Map, map.map_type).unwrap()
}

#[test]
fn every_section_of_libbpf_is_told_as_libbpf_has_it() {
    let table = include_str!("sections.txt");
    let rows: BTreeMap<&str, &str> = table.lines().skip(1).map(|line| line.split_once(' ').unwrap()).collect();
    let mut seen = Vec::new();
    for program in ["cgroup", "network", "tracing"].iter().flat_map(|name| object(name).programs) {
        let stem = program.section.split('/').next().unwrap();
        let row =
            rows.get_key_value(program.section.as_str()).or_else(|| rows.get_key_value(format!("{stem}+").as_str()));
        let (section, expected) = row.unwrap_or_else(|| panic!("{} is in no row", program.section));
        let attach = |number| names::name(Kind::Attach, number).unwrap();
        let (attach, how) = match program.attach_type {
            ExpectedAttach::None => ("-", "-"),
            ExpectedAttach::Optional(number) => (attach(number), "optional"),
            ExpectedAttach::Required(number) => (attach(number), "required"),
        };
        let kind = names::name(Kind::Prog, program.prog_type.unwrap()).unwrap();
        let word = |holds, word| if holds { word } else { "-" };
        let sleeps = word(program.sleepable, "sleepable");
        let itself = word(program.attaches_itself, "itself");
        assert_eq!(format!("{kind} {attach} {how} {sleeps} {itself}"), *expected, "{section}");
        assert!(program.autoload && program.attaches_by != AttachWay::Unknown, "{section}");
        assert_eq!(program.target.is_some(), section.ends_with('+'), "{section}");
        seen.push(*section);
    }
    assert_eq!((seen.len(), rows.len(), known_sections().count()), (105, 105, 105));
}

#[test]
fn every_type_of_map_is_read() {
    let object = object("maps");
    let read: Vec<u32> = object.maps.iter().map(|map| map.map_type).collect();
    // Operations have a source of their own.
    let of_all =
        names::all().list(Kind::Map).iter().filter(|entry| !matches!(entry.name.as_str(), "unspec" | "struct_ops"));
    for entry in of_all {
        assert!(read.contains(&entry.number), "{}", entry.name);
    }
    let hash = map(&object, "a_hash");
    assert_eq!((map_type(hash), hash.key_size, hash.value_size, hash.max_entries), ("hash", 4, 8, 4));
    assert_eq!((hash.flags, hash.source.clone(), hash.inner.clone()), (0, MapSource::Btf, None));
    assert_eq!(map(&object, "seeded").flags, 64);
}

#[test]
fn maps_in_maps_and_fields_of_values_are_read() {
    let object = object("maps");
    let outer = map(&object, "array_of_hashes");
    let inner = outer.inner.as_deref().unwrap();
    assert_eq!((map_type(outer), outer.value_size), ("array_of_maps", 4));
    assert_eq!((map_type(inner), inner.name.as_str(), inner.flags), ("hash", "array_of_hashes.inner", 1));
    assert_eq!((inner.key_size, inner.value_size, inner.max_entries), (12, 20, 8));
    let later = map(&object, "filled_in_later");
    assert_eq!((later.inner.is_some(), later.pinned_by_name), (false, true));
    for note in [Note::Pinned(later.name.clone()), Note::NoInner(later.name.clone()), Note::NoSize(later.name.clone())]
    {
        assert!(object.notes.contains(&note), "{note}");
    }
    assert_eq!(map(&object, "a_hash").special_fields, [""; 0]);
    let guarded = &map(&object, "guarded").special_fields;
    // Clang 14 tells no tags of types; those that do tell the pointer too.
    assert!(
        matches!(guarded[..], ["bpf_spin_lock", "bpf_timer"] | ["bpf_spin_lock", "bpf_timer", "kptr"]),
        "{guarded:?}"
    );
}

#[test]
fn data_configuration_and_symbols_are_read() {
    let object = object("data");
    let maps: Vec<_> = object.maps.iter().map(|map| (map.name.as_str(), &map.source)).collect();
    assert_eq!(maps.len(), 5);
    for expected in [
        (".bss", &MapSource::Bss),
        (".data", &MapSource::Data),
        (".data.hidden", &MapSource::Data),
        (".rodata", &MapSource::Rodata),
        (".kconfig", &MapSource::Kconfig),
    ] {
        assert!(maps.contains(&expected), "{expected:?}");
    }
    // A program cannot write constants (bit 7); what other files see can be mapped (bit 10).
    let flags = |name| map(&object, name).flags;
    assert_eq!([flags(".rodata"), flags(".data"), flags(".data.hidden")], [1 << 7 | 1 << 10, 1 << 10, 0]);
    assert_eq!(object.kconfig, ["CONFIG_HZ", "LINUX_HAS_BPF_COOKIE", "LINUX_KERNEL_VERSION"]);
    assert_eq!(object.ksyms, ["bpf_prog_active", "bpf_link_fops"]);
    assert_eq!(object.notes, [Note::Kconfig, Note::Addresses]);
    assert_eq!((object.license.as_str(), object.core_relocations), ("Dual BSD/GPL", 1));
    let leaves = program(&object, "leaves");
    assert_eq!(leaves.target, Some(ProgramTarget::Named("do_exit".into())));
    assert_eq!((leaves.maps.len(), leaves.helpers.iter().copied().collect::<Vec<_>>()), (5, vec![113]));
    let btf = object.btf.unwrap();
    assert!(btf.functions && btf.types > 10);
}

#[test]
fn operations_find_their_programs() {
    let object = object("operations");
    let maps: Vec<_> = object.maps.iter().map(|map| (map.name.as_str(), map.autocreate, map.flags)).collect();
    assert_eq!(maps, [("mine", true, 1 << 13), ("spare", false, 0)]);
    assert_eq!(object.maps[0].source, MapSource::StructOps("tcp_congestion_ops".into()));
    let told = |name| {
        let program = program(&object, name);
        match &program.target {
            Some(ProgramTarget::Member { structure, member, index }) if structure == "tcp_congestion_ops" => {
                (member.clone(), *index, program.autoload)
            }
            other => panic!("{name}: {other:?}"),
        }
    };
    assert_eq!(told("threshold"), ("ssthresh".into(), 0, true));
    assert_eq!(told("release"), ("release".into(), 2, true));
    assert_eq!(told("avoid"), ("cong_avoid".into(), 1, false));
    assert_eq!(program(&object, "unused").target, Some(ProgramTarget::Named("nobody".into())));
    assert!(object.notes.contains(&Note::NoOperations("unused".into())));
    assert!(object.programs.iter().all(|program| program.needs_btf.contains(&BtfReason::StructOps)));
}

#[test]
fn what_programs_call_is_followed() {
    let object = object("calls");
    let uses = |name: &str| program(&object, name).uses.iter().copied().collect::<Vec<_>>();
    let reasons = |name: &str| program(&object, name).needs_btf.iter().copied().collect::<Vec<_>>();
    assert_eq!(uses("plain"), []);
    assert_eq!((uses("jumping"), reasons("jumping")), (vec![Use::Helper(12)], vec![]));
    assert_eq!(uses("deep"), [Use::Helper(12), Use::Functions]);
    assert_eq!(reasons("deep"), [BtfReason::AbnormalReturn]);
    assert_eq!(reasons("repeating"), [BtfReason::Callback]);
    assert_eq!((reasons("locking"), reasons("looking")), (vec![BtfReason::SpecialFields], vec![]));
    assert_eq!(reasons("instead"), [BtfReason::Extension]);
    assert_eq!((uses("reading"), uses("ignoring")), (vec![Use::PacketOfCgroup], vec![]));
    assert_eq!(uses("crashing"), [Use::Functions, Use::Destruction]);
    assert_eq!(reasons("making"), [BtfReason::OwnObjects]);
    assert_eq!(uses("paging"), [Use::Arena]);
    let kfuncs: Vec<_> = program(&object, "crashing").kfuncs.iter().map(String::as_str).collect();
    assert_eq!(kfuncs, ["bpf_rcu_read_lock", "bpf_rcu_read_unlock", "crash_kexec"]);
    let spare = program(&object, "spare");
    assert_eq!((spare.section.as_str(), spare.autoload), ("tc", false));
    assert_eq!(program(&object, "of_others").prog_type, None);
    assert!(!object.programs.iter().any(|program| ["leaps", "through", "each"].contains(&program.name.as_str())));
}

#[test]
fn maps_of_old_are_read_and_said_to_be_old() {
    let object = object("legacy");
    let counts = map(&object, "counts");
    assert_eq!((map_type(counts), counts.key_size, counts.value_size, counts.max_entries), ("percpu_array", 4, 8, 256));
    assert_eq!((counts.source.clone(), object.kernel_version), (MapSource::Legacy, Some(0x06_0c_00)));
    assert_eq!(object.notes, [Note::LegacyMaps]);
    assert_eq!(program(&object, "filter").maps, [0].into());
}

#[test]
fn what_is_no_object_is_refused_with_what_to_do() {
    let whole = bytes("calls");
    let refused = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
    assert!(refused(b"").starts_with("it is no ELF file"));
    assert!(refused(b"\x7fELF\x02\x02\x01").contains("-target bpfel"));
    let changed = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        bytes
    };
    assert!(refused(&changed(18, 62)).contains("machine 62, not for BPF"));
    assert!(refused(&changed(16, 2)).contains("of type 2, not a relocatable one"));
    assert!(refused(&vec![0; 17 << 20]).contains("at most 16777216 are read"));
    for length in 0..whole.len() {
        // Its table of sections is at its end.
        assert!(read(&whole[..length]).is_err(), "{length}");
    }
}

#[test]
fn a_damaged_object_is_an_error_or_another_object() {
    let whole = bytes("data");
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        drop(read(&bytes));
    }
}
