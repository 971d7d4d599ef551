use super::*;
use crate::{
    configuration::{Meaning, Rejection},
    execution_context::{Namespace, NamespaceType, SystemCall, User, UserNamespace},
    names::SystemdRelease,
    testing::known,
};

fn read_all(files: &[(&str, &str)]) -> Configuration {
    let known = known();
    let mut sources = Sources::default();
    files.iter().for_each(|(label, text)| sources.add(label, text.as_bytes()).unwrap());
    let mut read = read(SYSTEMD, &sources, &Names::new(&known, SystemdRelease::V262)).unwrap();
    assert_eq!(read.len(), 1);
    read.remove(0)
}

fn service(text: &str) -> Configuration {
    read_all(&[("a.service", &format!("[Service]\n{text}"))])
}

fn masks(text: &str) -> [u64; 4] {
    service(text).delegation().unwrap().masks()
}

fn messages(read: &Configuration) -> Vec<&str> {
    read.problems.iter().map(|problem| problem.message.as_str()).collect()
}

#[test]
fn the_last_assignment_counts() {
    assert_eq!(
        masks("BPFDelegateMaps=BPFMapTypeHash\nBPFDelegateMaps=BPFMapTypeArray,BPFMapTypeQueue")[1],
        4 | 1 << 22
    );
    assert_eq!(masks("BPFDelegateMaps=any\nBPFDelegateMaps=")[1], 0);
    assert_eq!(masks("BPFDelegateMaps=\nBPFDelegateMaps=any")[1], u64::MAX);
}

#[test]
fn only_exact_names_between_commas_are_accepted() {
    let read = service("BPFDelegateMaps=BPFMapTypeHash, BPFMapTypeArray,hash,any,0x4,BPFMapTypeHashh,bpfmaptypehash\n");
    assert_eq!(read.delegation().unwrap().masks()[1], 2);
    let meanings: Vec<Meaning> = read.delegated(Kind::Map)[0].elements.iter().map(|element| element.meaning).collect();
    let meant = [
        Meaning::Name(1),
        Meaning::Name(2),
        Meaning::Name(1),
        Meaning::Any,
        Meaning::Number(4),
        Meaning::Unreadable,
        Meaning::Name(1),
    ];
    assert_eq!(meanings, meant);
    assert_eq!(read.problems.len(), 6);
    let instead: Vec<Option<&str>> = read.problems.iter().map(|problem| problem.instead.as_deref()).collect();
    assert_eq!(instead, [None, Some("BPFMapTypeHash"), None, None, None, Some("BPFMapTypeHash")]);
    insta::assert_snapshot!(messages(&read).join("\n"), @r#"
    systemd drops `BPFMapTypeArray` from BPFDelegateMaps=: it takes whitespace for a part of the name; separate names only by commas
    systemd drops `hash` from BPFDelegateMaps=: it spells this name BPFMapTypeHash
    systemd drops `any` from BPFDelegateMaps=: it accepts `any` only alone and in lower case
    systemd drops `0x4` from BPFDelegateMaps=: it accepts no numbers
    systemd drops `BPFMapTypeHashh` from BPFDelegateMaps=: `BPFMapTypeHashh` is not a map type; did you mean `BPFMapTypeHash` (or BPFMapTypeRhash)?
    systemd drops `bpfmaptypehash` from BPFDelegateMaps=: it spells this name BPFMapTypeHash
    "#);
}

#[test]
fn any_is_accepted_alone_and_in_lower_case() {
    assert_eq!(masks("BPFDelegateCommands=any\nBPFDelegateMaps=Any\nBPFDelegatePrograms=any,"), [u64::MAX, 0, 0, 0]);
}

#[test]
fn names_in_continued_lists_include_whitespace() {
    let text = "[Service]\nBPFDelegateMaps=BPFMapTypeHash,\\\n  BPFMapTypeArray,BPFMapTypeQueue\\\n,BPFMapTypeStack\n";
    let read = read_all(&[("a.service", text)]);
    assert_eq!(read.delegation().unwrap().masks()[1], 2 | 1 << 23);
    let places: Vec<&str> =
        read.delegated(Kind::Map)[0].elements.iter().map(|e| &text[e.location.span.clone()]).collect();
    assert_eq!(places, ["BPFMapTypeHash", "BPFMapTypeArray", "BPFMapTypeQueue", "BPFMapTypeStack"]);
    assert_eq!(&text[read.delegated(Kind::Map)[0].location.span.clone()], text[10..].trim_end());
}

#[test]
fn systemd_passes_four_numbers() {
    let read = service("PrivateBPF=yes\nBPFDelegateCommands=BPFMapCreate,BPFProgLoad\nBPFDelegateAttachments=any\n");
    let options: Vec<(String, String)> =
        read.mount_options().into_iter().map(|option| (option.key, option.value)).collect();
    let expected = [("cmds", "0x21"), ("maps", "0x0"), ("progs", "0x0"), ("attachs", "0xffffffffffffffff")];
    assert_eq!(options, expected.map(|(kind, value)| (format!("delegate_{kind}"), value.to_owned())));
    assert!(service("PrivateBPF=yes\nPrivateBPF=no\nBPFDelegateCommands=any").mount_options().is_empty());
    assert!(service("PrivateBPF=\nPrivateBPF=ON\nPrivateBPF=perhaps").bpffs.is_some());
}

#[test]
fn drop_ins_add_to_the_unit() {
    let read = read_all(&[
        ("/etc/systemd/system/a.service.d/20.conf", "[Service]\nBPFDelegateMaps=BPFMapTypeHash\n"),
        ("/usr/lib/systemd/system/a.service.d/10.conf", "[Service]\nBPFDelegateMaps=any\nPrivateBPF=yes\n"),
        ("/usr/lib/systemd/system/a.service", "[Unit]\nDescription=x\n[Service]\nExecStart=/bin/true\n"),
    ]);
    assert_eq!((read.name.as_str(), read.delegation().unwrap().masks()[1]), ("a.service", 2));
    assert_eq!(read.bpffs.unwrap().location, Location { source: 1, span: 30..44 });
}

#[test]
fn lines_that_systemd_ignores_are_reported() {
    let read = read_all(&[(
        "a.service",
        "PrivateBPF=yes\n[Service]\nfoo\n=bar\nPrivateBpf=yes\nBPFDelegateMap=any\nX-PrivateBPFF=1\n[Unit]\nPrivateBPF=yes\n\
         [Service2]\nPrivateBPF=yes\n[X-Own]\nz\n",
    )]);
    assert!(read.bpffs.is_none());
    let effects: Vec<Effect> = read.problems.iter().map(|problem| problem.effect).collect();
    assert_eq!(effects, [Effect::Ignored; 7], "{:?}", messages(&read));
    insta::assert_snapshot!(messages(&read).join("\n"), @r#"
    an assignment outside of a section
    a line without `=`
    a line without a name before `=`
    systemd has no setting `PrivateBpf`; did you mean PrivateBPF=?
    systemd has no setting `BPFDelegateMap`; did you mean BPFDelegateMaps=?
    `PrivateBPF` has no effect in this section
    systemd ignores the unknown section [Service2] in a.service
    "#);
    let instead = |problem: &Rejection| problem.instead.clone();
    assert_eq!(read.problems.iter().filter_map(instead).collect::<Vec<_>>(), ["PrivateBPF", "BPFDelegateMaps"]);
}

#[test]
fn a_broken_header_ends_the_file() {
    let read = read_all(&[("a.service", "[Service]\nPrivateBPF=yes\n[Serv\nPrivateBPF=no\n")]);
    assert!(read.bpffs.is_some());
    assert_eq!(read.problems[0].effect, Effect::Refused);
}

#[test]
fn settings_belong_to_units_that_start_processes() {
    assert!(read_all(&[("a.socket", "[Socket]\nPrivateBPF=yes\n")]).bpffs.is_some());
    assert!(read_all(&[("a.slice", "[Slice]\nPrivateBPF=yes\n")]).bpffs.is_none());
    assert!(read_all(&[("override.conf", "[Service]\nPrivateBPF=yes\n")]).bpffs.is_some());
    assert!(read_all(&[("a.socket", "[Service]\nPrivateBPF=yes\n")]).bpffs.is_none());
}

#[test]
fn the_execution_context_is_read() {
    let read = service(
        "PrivateUsers=full\nPrivateMounts=yes\nPrivateNetwork=yes\nDelegateNamespaces=mnt net\nDelegateNamespaces=~net\n\
         CapabilityBoundingSet=CAP_BPF CAP_NOPE\nAmbientCapabilities=CAP_BPF\nNoNewPrivileges=yes\nUser=%i\n\
         ProtectKernelTunables=yes\nSystemCallFilter=~bpf\n",
    );
    let context = &read.execution_context;
    assert_eq!(context.user_namespace.value, UserNamespace::Own);
    assert_eq!((context.mount_namespace.value, context.network_namespace.value), (Namespace::Own, Namespace::Own));
    assert_eq!(context.delegated_namespaces.value, [NamespaceType::Mnt].into());
    assert_eq!((context.bounding_set.value.0, context.ambient_set.value.0), (1 << 39, 1 << 39));
    assert!(context.no_new_privileges.value && context.protect_kernel_tunables.value);
    assert_eq!(context.user.value, User::Named("%i".into()));
    assert_eq!(context.refused_calls.keys().copied().collect::<Vec<_>>(), [SystemCall::Bpf]);
    assert_eq!(read.problems.iter().map(|problem| problem.effect).collect::<Vec<_>>(), [Effect::IgnoredSilently]);
}

#[test]
fn delegated_namespaces_imply_a_user_namespace() {
    let context = |text: &str| service(text).execution_context;
    assert_eq!(context("").user_namespace.value, UserNamespace::Host);
    assert_eq!(context("DelegateNamespaces=no").user_namespace.value, UserNamespace::Own);
    assert_eq!(context("DelegateNamespaces=yes\nDelegateNamespaces=").user_namespace.value, UserNamespace::Host);
    assert_eq!(context("DelegateNamespaces=yes").delegated_namespaces.value.len(), 6);
    assert_eq!(context("DelegateNamespaces=~mnt").delegated_namespaces.value.len(), 5);
    assert_eq!(context("DelegateNamespaces=mnt user").delegated_namespaces.value.len(), 0);
    assert_eq!(context("PrivateUsers=no\nPrivateUsers=nobody").user_namespace.value, UserNamespace::Host);
}

#[test]
fn a_bpffs_implies_a_mount_namespace() {
    assert_eq!(service("PrivateBPF=yes").execution_context.mount_namespace.value, Namespace::Own);
    assert_eq!(service("PrivateMounts=no").execution_context.mount_namespace.value, Namespace::Shared);
    assert_eq!(
        service("PrivateMounts=no\nPrivateNetwork=yes").execution_context.mount_namespace.value,
        Namespace::Shared
    );
    assert_eq!(service("PrivateNetwork=yes").execution_context.mount_namespace.value, Namespace::Own);
    assert_eq!(service("DynamicUser=maybe").problems[0].effect, Effect::Refused);
    assert_eq!(service("DynamicUser=yes\nUser=x").execution_context.user.value, User::Dynamic);
    assert_eq!(service("User=x\nUser=").execution_context.user.value, User::Root);
}

#[test]
fn comments_suppress() {
    let read = service("# bpf-token: allow any-map we trust it\nBPFDelegateMaps=any\n");
    assert_eq!((read.suppressions[0].code.as_str(), read.suppressions[0].reason.as_str()), ("any-map", "we trust it"));
}

#[test]
fn a_flood_of_names_is_refused() {
    let read = service(&format!("BPFDelegateMaps={}\n", "a,".repeat(100_000)));
    assert_eq!(read.room(), 0);
}
