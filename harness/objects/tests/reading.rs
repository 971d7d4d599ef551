//! What the reader finds in objects that clang compiles from `tests/sources`.

use std::collections::BTreeMap;

use harness_objects::{
    AttachWay, BtfReason, ExpectedAttach, Map, MapSource, Note, Object, Program, ProgramTarget, asked, known_sections,
    read,
};
use harness_uapi::{names, permission::Use, release::Release, vocabulary::Kind};

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
fn every_section_means_what_it_means_to_libbpf() {
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
fn every_map_type_is_read() {
    let object = object("maps");
    let read: Vec<u32> = object.maps.iter().map(|map| map.map_type).collect();
    // struct_ops maps have their own source file.
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
fn inner_maps_and_special_fields_are_read() {
    let object = object("maps");
    let outer = map(&object, "array_of_hashes");
    let inner = outer.inner.as_deref().unwrap();
    assert_eq!((map_type(outer), outer.value_size), ("array_of_maps", 4));
    assert_eq!((map_type(inner), inner.name.as_str(), inner.flags), ("hash", "array_of_hashes.inner", 1));
    assert_eq!((inner.key_size, inner.value_size, inner.max_entries), (12, 20, 8));
    let later = map(&object, "filled_in_later");
    assert_eq!((later.inner.is_some(), later.pinned_by_name), (false, true));
    for note in
        [Note::Pinned(later.name.clone()), Note::NoInner(later.name.clone()), Note::NoSize(later.name.clone(), 1)]
    {
        assert!(object.notes.contains(&note), "{note}");
    }
    assert_eq!(map(&object, "a_hash").special_fields, [""; 0]);
    let guarded = &map(&object, "guarded").special_fields;
    // Clang 14 emits no type tags; later versions do, and then the pointer is found too.
    assert!(
        matches!(guarded[..], ["bpf_spin_lock", "bpf_timer"] | ["bpf_spin_lock", "bpf_timer", "kptr"]),
        "{guarded:?}"
    );
}

#[test]
fn data_kconfig_values_and_symbols_are_read() {
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
    // Programs cannot write constants (bit 7); global variables are mmapable (bit 10).
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
fn struct_ops_members_find_their_programs() {
    let object = object("operations");
    let maps: Vec<_> = object.maps.iter().map(|map| (map.name.as_str(), map.autocreate, map.flags)).collect();
    assert_eq!(maps, [("mine", true, 1 << 13), ("spare", false, 0)]);
    assert_eq!(object.maps[0].source, MapSource::StructOps("tcp_congestion_ops".into()));
    let member = |name| {
        let program = program(&object, name);
        match &program.target {
            Some(ProgramTarget::Member { structure, member, index }) if structure == "tcp_congestion_ops" => {
                (member.clone(), *index, program.autoload)
            }
            other => panic!("{name}: {other:?}"),
        }
    };
    assert_eq!(member("threshold"), ("ssthresh".into(), 0, true));
    assert_eq!(member("release"), ("release".into(), 2, true));
    assert_eq!(member("avoid"), ("cong_avoid".into(), 1, false));
    assert_eq!(program(&object, "unused").target, Some(ProgramTarget::Named("nobody".into())));
    assert!(object.notes.contains(&Note::NoOperations("unused".into())));
    assert!(object.programs.iter().all(|program| program.needs_btf.contains(&BtfReason::StructOps)));
}

#[test]
fn calls_are_followed() {
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
fn legacy_maps_are_read_and_noted() {
    let object = object("legacy");
    let counts = map(&object, "counts");
    assert_eq!((map_type(counts), counts.key_size, counts.value_size, counts.max_entries), ("percpu_array", 4, 8, 256));
    assert_eq!((counts.source.clone(), object.kernel_version), (MapSource::Legacy, Some(0x06_0c_00)));
    assert_eq!(object.notes, [Note::LegacyMaps]);
    assert_eq!(program(&object, "filter").maps, [0].into());
}

#[test]
fn unreadable_files_are_refused_with_advice() {
    let whole = bytes("calls");
    let changed = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        bytes
    };
    let cases = [
        ("empty file", Vec::new()),
        ("big-endian", b"\x7fELF\x02\x02\x01".to_vec()),
        ("another machine", changed(18, 62)),
        ("linked", changed(16, 2)),
        ("too large", vec![0; 17 << 20]),
        ("truncated", whole[..whole.len() / 2].to_vec()),
    ];
    let texts = cases.map(|(name, bytes)| format!("{name}: {}", read(&bytes).unwrap_err()));
    insta::assert_snapshot!(texts.join("\n"), @"
    empty file: it is not an ELF64 file, or is damaged: Invalid ELF header size or alignment
    big-endian: it is big-endian, and the kernels here are little-endian; compile it with `-target bpfel`
    another machine: it is an ELF file for machine 62, not for BPF (247); compile it with `clang -target bpf`
    linked: it is an ELF file of type 2, not a relocatable one (1); use the output of `clang -target bpf -c`
    too large: it is 17825792 bytes long; the limit is 16777216
    truncated: it is not an ELF64 file, or is damaged: Invalid ELF section header offset/size/alignment
    ");
    // The section table is at the end, so every truncated object is refused.
    for length in 0..whole.len() {
        assert!(read(&whole[..length]).is_err(), "{length}");
    }
}

#[test]
fn a_damaged_object_is_refused_or_can_still_be_loaded() {
    let whole = bytes("data");
    let sound = read(&whole).unwrap();
    let release: Release = "6.12".parse().unwrap();
    let (mut refused, mut unchanged, mut changed) = (0, 0, 0);
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        match read(&bytes) {
            Err(error) => {
                let text = error.to_string();
                assert!(!text.is_empty() && text.lines().count() == 1, "byte {at}: {text}");
                refused += 1;
            }
            Ok(object) if object == sound => unchanged += 1,
            Ok(object) => {
                assert!(!asked(&object, release.into()).is_empty(), "byte {at}: loading makes no request");
                changed += 1;
            }
        }
        // The magic, the class, the byte order, the type and the machine are all checked.
        assert!(refused > at || !matches!(at, 0..6), "byte {at} of the header is not checked");
    }
    assert!(refused > 0 && unchanged > 0 && changed > 0, "{refused} {unchanged} {changed}");
}
