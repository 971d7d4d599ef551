//! `abi.h` and its twins in Rust are the same: a member, a number or a name on one side only fails here.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use guard_policy::layout as policy;
use guard_record as record;
use harness_uapi::btf::{Btf, BtfKind, BtfType};
use object::{Endianness, Object as _, ObjectSection, read::elf::ElfFile64};

use crate::state::State;

fn sources() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../bpf")
}

fn read(name: &str) -> String {
    fs::read_to_string(sources().join(name)).unwrap()
}

/// The words that follow this text in `abi.h`, up to the next blank.
fn declared(before: &str) -> BTreeSet<String> {
    let word = |line: &str| line.strip_prefix(before)?.split([' ', ';']).next().map(str::to_owned);
    read("abi.h").lines().filter_map(word).filter(|word| !word.is_empty()).collect()
}

/// Names of macros of `abi.h` that are numbers.
fn macros() -> BTreeSet<String> {
    declared("#define ").into_iter().filter(|name| name != "GUARD_ABI_H").collect()
}

/// Compiles something that uses everything of `abi.h`, since the guard's object has only the types of its maps and functions.
fn compiled() -> Vec<u8> {
    let structures = declared("struct ").into_iter().map(|name| format!("struct {name} a_{name};\n"));
    let enumerations = declared("enum ").into_iter().map(|name| format!("enum {name} an_{name};\n"));
    let numbers: String = macros().iter().map(|name| format!("NUMBER_{name} = {name},")).collect();
    let mut text = "#include \"kernel.h\"\n#include \"abi.h\"\n".to_owned();
    text.extend(structures.chain(enumerations));
    text.push_str(&format!("enum numbers {{ {numbers} }} numbers;\n"));
    let clang = env::var("BPF_CLANG").unwrap_or_else(|_| "clang".to_owned());
    let mut child = Command::new(clang)
        .current_dir(sources())
        .args(["-target", "bpf", "-g", "-O2", "-Wall", "-Werror", "-I.", "-x", "c", "-c", "-", "-o", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "clang does not compile:\n{text}");
    output.stdout
}

fn section(object: &[u8]) -> Vec<u8> {
    let file = ElfFile64::<Endianness, _>::parse(object).unwrap();
    file.section_by_name(".BTF").expect("clang -g writes BTF").data().unwrap().to_vec()
}

/// Name, offset and size of a member, both in bytes.
type Member = (String, usize, usize);

/// A structure: its members in order, and its size.
#[derive(Debug, PartialEq)]
struct Structure {
    members: Vec<Member>,
    size: usize,
}

fn structure_in_c(btf: &Btf<'_>, ty: &BtfType<'_>) -> Structure {
    let member = |member: harness_uapi::btf::Member<'_>| {
        let size = btf.size(member.of).expect("every member has a size");
        // The union of a record has no name in C.
        let name = if member.name.is_empty() { "part" } else { member.name };
        assert_eq!(member.offset % 8, 0, "{name} is no bit field");
        (name.to_owned(), member.offset as usize / 8, size as usize)
    };
    Structure { members: btf.members(ty).map(member).collect(), size: ty.size_or_type as usize }
}

fn of_fields(fields: &[record::Field]) -> Structure {
    let member = |field: &record::Field| (field.name.trim_start_matches("r#").to_owned(), field.offset, field.size);
    let members: Vec<Member> = fields.iter().map(member).collect();
    let size = members.iter().map(|(_, _, size)| size).sum();
    Structure { members, size }
}

/// A structure whose numbers Rust reads or writes one by one, without a type of its own.
fn of_numbers(members: &[(&str, usize, usize)], size: usize) -> Structure {
    Structure { members: members.iter().map(|(name, at, size)| ((*name).to_owned(), *at, *size)).collect(), size }
}

/// The variables of the BPF programs; the list of their members must be complete.
fn of_state() -> Structure {
    fn size_of_member<M>(_: fn(&State) -> &M) -> usize {
        size_of::<M>()
    }
    macro_rules! members {
        ($($member:ident),*) => {{
            // A member that the list lacks does not compile.
            let _ = |State { $($member: _),* }: State| {};
            vec![$((
                stringify!($member).to_owned(),
                std::mem::offset_of!(State, $member),
                size_of_member(|state| &state.$member),
            )),*]
        }};
    }
    let members = members!(
        seq,
        calls,
        lost,
        guard_start,
        reader_start,
        guard_tgid,
        reader_tgid,
        armed,
        off,
        exempt_tgid,
        generation,
        reloading,
        reserved
    );
    Structure { members, size: size_of::<State>() }
}

fn structures_in_rust() -> BTreeMap<&'static str, Structure> {
    use policy::{Cgroup, Loader, Profile, Rule, SetKey, Settings};
    // `constants` in guard.rs writes them.
    let constants = of_numbers(
        &[
            ("vmlinux_btf_id", 0, 4),
            ("own_bpffs_dev", 4, 4),
            ("is_trial", 8, 1),
            ("has_kernel_argument", 9, 1),
            ("has_cgroups", 10, 1),
            ("has_ima", 11, 1),
            ("has_fs_verity", 12, 1),
            ("has_loaders", 13, 1),
            ("reserved", 14, 2),
            ("build_id", 16, policy::BUILD_ID),
            ("reserved2", 36, 4),
            ("settings", 40, Settings::SIZE),
        ],
        40 + Settings::SIZE,
    );
    BTreeMap::from([
        ("guard_settings", of_fields(Settings::FIELDS)),
        ("guard_rule", of_fields(Rule::FIELDS)),
        ("guard_cgroup", of_fields(Cgroup::FIELDS)),
        ("guard_profile", of_fields(Profile::FIELDS)),
        ("guard_loader", of_fields(Loader::FIELDS)),
        ("guard_policy", of_fields(policy::POLICY_FIELDS)),
        ("guard_set_key", of_fields(SetKey::FIELDS)),
        ("guard_set_entry", of_fields(policy::SET_ENTRY_FIELDS)),
        ("guard_image", of_fields(policy::IMAGE_FIELDS)),
        ("guard_incoming", of_fields(policy::INCOMING_FIELDS)),
        ("guard_prog", of_fields(record::PROGRAM_FIELDS)),
        ("guard_map", of_fields(record::MAP_FIELDS)),
        ("guard_record", of_fields(record::RECORD_FIELDS)),
        // `counters` in access.rs reads them.
        ("guard_counter", of_numbers(&[("counted", 0, 8), ("recorded", 8, 8)], 16)),
        ("guard_state", of_state()),
        ("guard_constants", constants),
        // `register_own` in guard.rs writes them.
        ("guard_own_key", of_numbers(&[("object", 0, 4), ("id", 4, 4)], 8)),
    ])
}

#[test]
fn structures_are_the_same_in_c_and_rust() {
    let twins = structures_in_rust();
    assert_eq!(declared("struct "), twins.keys().map(|name| (*name).to_owned()).collect(), "structures of abi.h");
    let (all, own) = (section(&compiled()), section(crate::object::BYTES));
    let (all, own) = (Btf::of(&all).unwrap(), Btf::of(&own).unwrap());
    for (name, twin) in &twins {
        let (_, ty) = all.named(BtfKind::Struct, name).unwrap_or_else(|| panic!("{name} has no BTF"));
        assert_eq!(structure_in_c(&all, &ty), *twin, "struct {name}: C on the left, Rust on the right");
    }
    let loaded: Vec<&str> = twins.keys().copied().filter(|name| own.named(BtfKind::Struct, name).is_some()).collect();
    assert!(loaded.len() >= 8, "the object that is loaded has only {loaded:?}");
    for name in loaded {
        let (_, ty) = own.named(BtfKind::Struct, name).unwrap();
        assert_eq!(structure_in_c(&own, &ty), twins[name], "struct {name} of the object that is loaded");
    }
}

/// `ProgLoad` as `GUARD_PROG_LOAD`, behind the prefix.
fn in_c(prefix: &str, name: &impl std::fmt::Debug) -> String {
    let mut text = prefix.to_owned();
    for letter in format!("{name:?}").chars() {
        text.extend(letter.is_uppercase().then_some('_'));
        text.push(letter.to_ascii_uppercase());
    }
    text
}

type Numbers = BTreeMap<String, u64>;

fn numbers(list: &[(&str, u64)]) -> Numbers {
    list.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect()
}

fn enumerations_in_rust() -> BTreeMap<&'static str, Numbers> {
    let with = |mut numbers: Numbers, name: &str, number: u64| {
        numbers.insert(name.to_owned(), number);
        numbers
    };
    let hooks: Numbers = record::Hook::ALL.iter().map(|hook| (in_c("GUARD_HOOK", hook), *hook as u64)).collect();
    let verdicts: Numbers = record::Verdict::ALL.iter().map(|one| (in_c("GUARD", one), one.number().into())).collect();
    let reasons: Numbers = record::Reason::ALL.iter().map(|one| (in_c("GUARD", one), one.number().into())).collect();
    let hard = record::Reason::ALL.iter().filter(|one| one.is_hard()).map(|one| u64::from(one.number())).min();
    let (hook_count, verdict_count) = (hooks.len() as u64, verdicts.len() as u64);
    BTreeMap::from([
        ("guard_hook", with(hooks, "GUARD_HOOKS", hook_count)),
        ("guard_verdict", with(verdicts, "GUARD_VERDICTS", verdict_count)),
        ("guard_reason", with(reasons, "GUARD_HARD", hard.unwrap())),
        (
            "guard_userns",
            numbers(&[
                ("GUARD_USERNS_ANY", policy::USERNS_ANY.into()),
                ("GUARD_USERNS_INITIAL", policy::USERNS_INITIAL.into()),
                ("GUARD_USERNS_NOT_INITIAL", policy::USERNS_NOT_INITIAL.into()),
            ]),
        ),
        (
            "guard_action",
            numbers(&[
                ("GUARD_USE_PROFILE", policy::USE_PROFILE.into()),
                ("GUARD_ALLOW", policy::ALLOW.into()),
                ("GUARD_DENY", policy::DENY.into()),
            ]),
        ),
        (
            "guard_mode",
            numbers(&[
                ("GUARD_MODE_OF_POLICY", policy::MODE_OF_POLICY.into()),
                ("GUARD_MODE_AUDIT", policy::MODE_AUDIT.into()),
                ("GUARD_MODE_ENFORCE", policy::MODE_ENFORCE.into()),
            ]),
        ),
        (
            "guard_identity",
            numbers(&[
                ("GUARD_IDENTITY_INODE", policy::IDENTITY_INODE.into()),
                ("GUARD_IDENTITY_IMA", policy::IDENTITY_IMA.into()),
                ("GUARD_IDENTITY_FS_VERITY", policy::IDENTITY_FS_VERITY.into()),
            ]),
        ),
        (
            "guard_reload",
            numbers(&[
                ("GUARD_RELOAD_NEVER", policy::RELOAD_NEVER.into()),
                ("GUARD_RELOAD_ROOT", policy::RELOAD_ROOT.into()),
                ("GUARD_RELOAD_BUILTIN", policy::RELOAD_BUILTIN.into()),
                ("GUARD_RELOAD_SECONDARY", policy::RELOAD_SECONDARY.into()),
                ("GUARD_RELOAD_PLATFORM", policy::RELOAD_PLATFORM.into()),
            ]),
        ),
        (
            "guard_set",
            numbers(&[
                ("GUARD_SET_INODE", policy::SET_INODE.into()),
                ("GUARD_SET_IMA", policy::SET_IMA.into()),
                ("GUARD_SET_FS_VERITY", policy::SET_FS_VERITY.into()),
                ("GUARD_SET_KFUNC", policy::SET_KFUNC.into()),
                ("GUARD_SET_TARGET", policy::SET_TARGET.into()),
                ("GUARD_SET_TAG", policy::SET_TAG.into()),
            ]),
        ),
        (
            "guard_signed",
            numbers(&[
                ("GUARD_SIGNED_NO", policy::SIGNED_NO.into()),
                ("GUARD_SIGNED_ANY", policy::SIGNED_ANY.into()),
                ("GUARD_SIGNED_BUILTIN", policy::SIGNED_BUILTIN.into()),
                ("GUARD_SIGNED_SECONDARY", policy::SIGNED_SECONDARY.into()),
                ("GUARD_SIGNED_PLATFORM", policy::SIGNED_PLATFORM.into()),
            ]),
        ),
        (
            "guard_keyring",
            record::KEYRINGS
                .iter()
                .zip(0..)
                .map(|(name, number)| (format!("GUARD_KEYRING_{}", name.to_uppercase()), number))
                .collect(),
        ),
        // `register_own` in guard.rs writes them.
        ("guard_object", numbers(&[("GUARD_OBJECT_MAP", 0), ("GUARD_OBJECT_PROG", 1), ("GUARD_OBJECT_LINK", 2)])),
        (
            "guard_own",
            numbers(&[
                ("GUARD_OWN_SECRET", crate::guard::SECRET.into()),
                ("GUARD_OWN_FOR_READER", crate::guard::FOR_READER.into()),
                ("GUARD_OWN_TO_LOOK_AT", crate::guard::TO_LOOK_AT.into()),
                ("GUARD_OWN_FOR_ROOT", crate::guard::FOR_ROOT.into()),
            ]),
        ),
    ])
}

#[test]
fn enumerations_and_numbers_are_the_same_in_c_and_rust() {
    let twins = enumerations_in_rust();
    assert_eq!(declared("enum "), twins.keys().map(|name| (*name).to_owned()).collect(), "enumerations of abi.h");
    let bytes = section(&compiled());
    let btf = Btf::of(&bytes).unwrap();
    let in_c = |name: &str| -> Numbers {
        let (_, ty) = btf.named(BtfKind::Enum, name).unwrap_or_else(|| panic!("{name} has no BTF"));
        btf.enumerators(&ty).map(|one| (one.name.to_owned(), one.value)).collect()
    };
    for (name, twin) in &twins {
        assert_eq!(in_c(name), *twin, "enum {name}: C on the left, Rust on the right");
    }
    let defined = numbers(&[
        ("GUARD_ABI", policy::ABI.into()),
        ("GUARD_MOST_RULES", policy::MOST_RULES as u64),
        ("GUARD_MOST_PROFILES", policy::MOST_PROFILES as u64),
        ("GUARD_MOST_CGROUPS", policy::MOST_CGROUPS as u64),
        ("GUARD_CGROUP_DEPTH", policy::CGROUP_DEPTH as u64),
        ("GUARD_CGROUP_NAME", policy::CGROUP_NAME as u64),
        ("GUARD_ATTACH_TYPES", policy::ATTACH_TYPES as u64),
        ("GUARD_HELPERS", policy::HELPERS as u64),
        ("GUARD_MOST_LOADERS", policy::MOST_LOADERS as u64),
        ("GUARD_FILE_NAME", policy::FILE_NAME as u64),
        ("GUARD_MOST_SETS", policy::MOST_SETS as u64),
        ("GUARD_SIGNATURE", policy::SIGNATURE as u64),
        ("GUARD_BUILD_ID", policy::BUILD_ID as u64),
        ("GUARD_MAGIC", u32::from_le_bytes(*policy::MAGIC).into()),
        ("GUARD_ANY_LOADER", policy::ANY_LOADER.into()),
        ("GUARD_HAS_TOKEN", record::HAS_TOKEN.into()),
        ("GUARD_OF_KERNEL", record::OF_KERNEL.into()),
        ("GUARD_OF_GUARD", record::OF_GUARD.into()),
        ("GUARD_LISTED", record::LISTED as u64),
    ]);
    let defined: Numbers = defined.into_iter().map(|(name, number)| (format!("NUMBER_{name}"), number)).collect();
    assert_eq!(in_c("numbers"), defined, "numbers of abi.h: C on the left, Rust on the right");
}

/// The hooks of the guard: LSM hook, arguments, and body.
fn hooks() -> Vec<(String, String, String)> {
    let text = read("guard.bpf.c");
    let hook = |part: &str| {
        let (hook, rest) = part.split_once("\")\nint BPF_PROG(").expect("a hook is declared on two lines");
        let (signature, rest) = rest.split_once("\n{\n").expect("a hook has a body");
        let (body, _) = rest.split_once("\n}\n").expect("a body ends");
        let hook = hook.rsplit('/').next().unwrap_or(hook);
        (hook.to_owned(), signature.to_owned(), body.to_owned())
    };
    text.split("SEC(\"lsm").skip(1).map(hook).collect()
}

/// Before 7.3 the kernel gives `bpf_prog_load` no token, whatever the program has (`kernel/bpf/syscall.c`).
#[test]
fn tokens_of_programs_are_read_from_the_program() {
    let hooks = hooks();
    assert!(hooks.len() >= 19, "{hooks:?}");
    let mut by_argument = BTreeSet::new();
    for (hook, signature, body) in &hooks {
        if hook.starts_with("bpf_prog") {
            assert!(!signature.contains("token"), "{hook} takes a token: {signature}");
            assert!(!body.contains("argument("), "{hook} reads an argument by its number");
            assert!(body.contains("prog->aux->token"), "{hook} does not look at prog->aux->token");
        } else if !hook.starts_with("bpf_token") {
            assert!(!signature.contains("token"), "{hook} takes a token: {signature}");
        }
        if body.contains("argument(") {
            by_argument.insert(hook.as_str());
        }
    }
    // The fourth of `bpf` says whether the kernel makes the call. The third of `bpf_map_create` is the token, which a map
    // does not keep and every kernel with tokens passes.
    assert_eq!(by_argument, BTreeSet::from(["bpf", "bpf_map_create"]), "hooks that read an argument by its number");
    for file in fs::read_dir(sources()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let text = read(&name);
        let calls = text.lines().filter(|line| line.contains("argument(ctx, ")).count();
        assert_eq!(calls, if name == "guard.bpf.c" { 2 } else { 0 }, "{name} reads arguments by number elsewhere");
    }
}
