use harness_protocol::mount_option::MountOption;
use harness_uapi::vocabulary::Kind;

use super::*;
use crate::{
    configuration::{Effect, Meaning},
    execution_context::{SystemCall, UserNamespace},
    names::SystemdRelease,
    source::Sources,
    testing::known,
};

fn read_of(frontend: Frontend, text: &str) -> Result<Vec<Configuration>, String> {
    let known = known();
    let sources = Sources::of("dir/c1.yaml", text.as_bytes()).unwrap();
    crate::read(frontend, &sources, &Names::new(&known, SystemdRelease::V262)).map_err(|report| report.to_string())
}

fn one(frontend: Frontend, text: &str) -> Configuration {
    let mut all = read_of(frontend, text).unwrap();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn options(configuration: &Configuration) -> Vec<(String, String)> {
    configuration.mount_options().into_iter().map(|MountOption { key, value }| (key, value)).collect()
}

const WEB: &str = "\
architecture: x86_64
config:
  image.os: Debian
  security.bpffs.delegate_cmds: map_create, prog_load,
  security.bpffs.delegate_maps: \"hash:array\"
  security.bpffs.delegate_progs: ' '
  security.bpffs.path: /run/bpf
devices: {root: {path: /, type: disk}}
name: web
profiles:
- default
";

#[test]
fn incus_splits_at_commas_and_joins_with_colons() {
    let web = one(INCUS, WEB);
    assert_eq!((web.name.as_str(), web.bpffs.as_ref().unwrap().path.as_str()), ("web", "/run/bpf"));
    let expected = [("delegate_cmds", "map_create:prog_load"), ("delegate_maps", "hash:array")];
    assert_eq!(options(&web), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    assert_eq!(web.delegation().unwrap().masks(), [0x21, 6, 0, 0]);
    assert_eq!(web.execution_context.user_namespace.value, UserNamespace::Own);
    let places: Vec<&str> =
        web.delegated.iter().flatten().flat_map(|a| &a.elements).map(|e| &WEB[e.location.span.clone()]).collect();
    assert_eq!(places, ["map_create", "prog_load", "hash", "array"]);
    assert_eq!(&WEB[web.delegated(Kind::Map)[0].location.span.clone()], "security.bpffs.delegate_maps: \"hash:array\"");
    assert_eq!(&WEB[web.delegated(Kind::Map)[0].value.span.clone()], "hash:array");
}

#[test]
fn a_path_alone_mounts_nothing() {
    let read = one(INCUS, "config:\n  security.bpffs.path: /run/bpf\n  security.bpffs.delegate_cmds: ''\n");
    assert_eq!((read.bpffs.as_ref(), read.problems[0].effect), (None, Effect::IgnoredSilently));
    assert_eq!((read.name.as_str(), read.mount_options()), ("c1", vec![]));
}

#[test]
fn lxd_passes_values_unchanged() {
    let text = "config:\n  security.delegate_bpf: 'true'\n  security.delegate_bpf.cmd_types: map_create:prog_load\n  \
                security.delegate_bpf.map_types: hash,array\n";
    let read = one(LXD, text);
    let expected = [("cmds", "map_create:prog_load"), ("maps", "hash,array"), ("progs", "0"), ("attachs", "0")];
    assert_eq!(options(&read), expected.map(|(key, value)| (format!("delegate_{key}"), value.to_owned())));
    let error = read.delegation().unwrap_err();
    assert_eq!((error.text.as_str(), error.option), ("hash,array", "delegate_maps"));
    assert_eq!(read.problems.len(), 1);
}

#[test]
fn lxd_mounts_nothing_without_its_switch() {
    let read = one(LXD, "config: {security.delegate_bpf.cmd_types: any}\n");
    assert_eq!((read.bpffs.as_ref(), read.problems[0].effect), (None, Effect::IgnoredSilently));
    assert!(read.mount_options().is_empty());
}

#[test]
fn other_spellings_are_understood_and_refused() {
    let text = "config:\n  security.bpffs.delegate_maps: BPFMapTypeHash,ANY,hashh,0x10\n";
    let read = one(INCUS, text);
    let meanings: Vec<Meaning> = read.delegated(Kind::Map)[0].elements.iter().map(|element| element.meaning).collect();
    assert_eq!(meanings, [Meaning::Name(1), Meaning::Any, Meaning::Unreadable, Meaning::Number(16)]);
    let instead: Vec<Option<&str>> = read.problems.iter().map(|problem| problem.instead.as_deref()).collect();
    assert_eq!(instead, [Some("hash"), Some("any"), None]);
}

#[test]
fn profiles_of_a_preseed_are_read_each() {
    let text = "config: {}\nprofiles:\n- name: a\n  config:\n    security.bpffs.delegate_cmds: any\n- {name: b, config: \
                {security.privileged: true}}\n- name: c\n";
    let read = read_of(INCUS, text).unwrap();
    assert_eq!(read.iter().map(|read| read.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c1"]);
    assert_eq!(read[1].execution_context.user_namespace.value, UserNamespace::Host);
}

#[test]
fn scalars_of_every_style_have_locations() {
    let styles = [
        "'map_create,prog_load'",
        "\"map_create\\x2cprog_load\"",
        "\"map_create,\\\n      prog_load\"",
        "|\n    map_create,\n    prog_load",
        ">-\n    map_create,\n    prog_load",
        "map_create,\n    prog_load",
        "!!str &a map_create,prog_load",
    ];
    for style in styles {
        let text = format!("# ä\nconfig:\n  security.bpffs.delegate_cmds: {style}\nx: y\n");
        let read = one(INCUS, &text);
        let places: Vec<&str> = read.delegated[0][0].elements.iter().map(|e| &text[e.location.span.clone()]).collect();
        assert_eq!(places, ["map_create", "prog_load"], "{style}");
        assert_eq!(read.delegation().unwrap().masks()[0], 0x21, "{style}");
    }
}

#[test]
fn a_name_with_escapes_is_located_at_the_whole_scalar() {
    let text = "config:\n  security.bpffs.delegate_cmds: \"\\x6dap_create\"\n";
    let read = one(INCUS, text);
    assert_eq!(&text[read.delegated[0][0].elements[0].location.span.clone()], "\\x6dap_create");
}

#[test]
fn lists_of_system_calls_refuse() {
    let denied = one(INCUS, "config:\n  security.syscalls.deny: |-\n    bpf errno 1\n    mount\n");
    assert_eq!(denied.execution_context.refused_calls.keys().copied().collect::<Vec<_>>(), [SystemCall::Bpf]);
    let allowed = one(LXD, "config:\n  security.syscalls.allow: \"bpf\\nfsopen\"\n");
    assert_eq!(allowed.execution_context.refused_calls.len(), SystemCall::ALL.len() - 2);
}

#[test]
fn keys_that_do_not_exist_are_refused() {
    let read = one(INCUS, "config:\n  security.bpffs.delegate_attaches: any\n  security.delegate_bpf: 'true'\n");
    assert!(read.problems.iter().all(|problem| problem.effect == Effect::Refused));
    let messages: Vec<&str> = read.problems.iter().map(|problem| problem.message.as_str()).collect();
    insta::assert_snapshot!(messages.join("\n"), @r#"
    `security.delegate_bpf` is a key of LXD
    unknown key `security.bpffs.delegate_attaches`
    "#);
}

#[test]
fn a_value_the_kernel_has_no_room_for_is_refused() {
    let text = format!("config:\n  security.bpffs.delegate_cmds: {}\n", ["prog_load"; 30].join(","));
    let [problem] = one(INCUS, &text).problems.try_into().unwrap();
    assert_eq!(problem.effect, Effect::Refused);
}

#[test]
fn invalid_yaml_is_refused_with_its_location() {
    let error = read_of(INCUS, "config:\n  a: [b\nc: d\n").unwrap_err();
    insta::assert_snapshot!(error, @r#"dir/c1.yaml:3:2: invalid YAML: invalid indentation"#);
    let deep = format!("a: {}", "[".repeat(10_000));
    let error = read_of(INCUS, &deep).unwrap_err();
    insta::assert_snapshot!(error.lines().next().unwrap(), @r#"dir/c1.yaml:1:259: invalid YAML: recursion limit exceeded"#);
}

#[test]
fn comments_suppress() {
    let text = "config:\n  security.bpffs.delegate_cmds: any # bpf-token: allow any-cmd for tests\n";
    assert_eq!(one(INCUS, text).suppressions[0].code, "any-cmd");
}

#[test]
fn a_comment_after_a_value_is_not_part_of_it() {
    for value in ["\"map_create,\\x70rog_load\"", "'map_create,prog_load'", "map_create,prog_load"] {
        let text = format!("config:\n  security.bpffs.path: /x\n  security.bpffs.delegate_cmds: {value}  # \"\u{e4}\n");
        let read = one(INCUS, &text);
        let assignment = &read.delegated(Kind::Cmd)[0];
        assert_eq!(&text[assignment.location.span.clone()], format!("security.bpffs.delegate_cmds: {value}"));
        assert_eq!(&text[assignment.value.span.clone()], value.trim_matches(['"', '\'']));
    }
}
