use super::{table::*, *};
use crate::{
    Frontend, INCUS, SYSTEMD_RUN,
    names::{Names, SystemdRelease},
    source::Sources,
    testing::known,
};

fn configuration(frontend: Frontend, files: &[(&str, &str)]) -> Configuration {
    let known = known();
    let mut sources = Sources::default();
    files.iter().for_each(|(label, text)| sources.add(label, text.as_bytes()).unwrap());
    crate::read(frontend, &sources, &Names::new(&known, SystemdRelease::V262)).unwrap().remove(0)
}

fn vm_unit(files: &[(&str, &str)]) -> VmUnit {
    VmUnit::of(&configuration(SYSTEMD, files)).unwrap()
}

fn lines(assignments: &[Assignment]) -> Vec<String> {
    assignments.iter().map(|one| format!("{}={}", one.key, one.value)).collect()
}

fn changes(vm_unit: &VmUnit) -> Vec<String> {
    let text = |change: &Change| match &change.instead {
        Some(instead) => format!("{} -> {instead}", change.what),
        None => change.what.clone(),
    };
    vm_unit.changes.iter().map(text).collect()
}

#[test]
fn settings_of_processes_keep_their_order_repetitions_and_resets() {
    let main = "[Unit]\nAfter=x\n[Service]\nExecStart=/bin/x\nType=notify\nBPFDelegateMaps=any\nBPFDelegateMaps=\n\
                BPFDelegateMaps = BPFMapTypeHash,\\\n# no\n  BPFMapTypeArray\nFancy=1\n[X-Ours]\nA=1\n";
    let files =
        [("a.service", main), ("a.service.d/1.conf", "[Service]\nPrivateBPF=yes\n"), ("a.service.d/2.conf", "")];
    let vm_unit = vm_unit(&files);
    assert_eq!(
        lines(&vm_unit.unit.service),
        ["BPFDelegateMaps=any", "BPFDelegateMaps=", "BPFDelegateMaps=BPFMapTypeHash,   BPFMapTypeArray", "Fancy=1"]
    );
    assert_eq!(vm_unit.unit.drop_ins.iter().map(|one| lines(one)).collect::<Vec<_>>(), [["PrivateBPF=yes"]]);
    assert_eq!(changes(&vm_unit), ["After=", "ExecStart=", "Type="]);
}

#[test]
fn users_and_paths_that_the_image_lacks_are_replaced() {
    let text = "[Service]\nUser=postgres\nGroup=postgres\nSupplementaryGroups=kvm docker\nReadWritePaths=/a -/b \"/c d\"\n\
                NetworkNamespacePath=/run/netns/x\nUser=\nUser=nobody\nRuntimeDirectory=%p\n";
    let vm_unit = vm_unit(&[("a.service", text)]);
    assert_eq!(
        lines(&vm_unit.unit.service),
        [
            "User=user",
            "Group=user",
            "SupplementaryGroups=kvm",
            "ReadWritePaths=-/a -/b -\"/c d\"",
            "PrivateNetwork=yes",
            "User=",
            "User=nobody",
            "RuntimeDirectory=%p"
        ]
    );
    assert_eq!(vm_unit.changes.len(), 6, "{:?}", changes(&vm_unit));
    assert_eq!(changes(&vm_unit)[0], "User=postgres -> User=user");
}

#[test]
fn the_guest_program_is_visible_where_the_image_is_hidden() {
    let files = [("a.service", "[Service]\nTemporaryFileSystem=/\n"), ("a.service.d/1.conf", "[Service]\nA=1\n")];
    let vm_unit = vm_unit(&files);
    assert_eq!(lines(&vm_unit.unit.drop_ins[0]), ["A=1", "BindReadOnlyPaths=/usr/bin/bpf-token-guest"]);
    assert_eq!(
        changes(&vm_unit),
        ["TemporaryFileSystem=/ -> TemporaryFileSystem=/ and BindReadOnlyPaths=/usr/bin/bpf-token-guest"]
    );
}

#[test]
fn a_user_that_systemd_allocates_keeps_its_name() {
    let vm_unit = vm_unit(&[("a.service", "[Service]\nUser=made-up\nDynamicUser=yes\n")]);
    assert_eq!(lines(&vm_unit.unit.service), ["User=made-up", "DynamicUser=yes"]);
    assert!(vm_unit.changes.is_empty());
}

#[test]
fn templates_are_started_as_instances() {
    assert_eq!(vm_unit(&[("a@b-c.service", "[Service]\nA=1\n")]).unit.instance.as_deref(), Some("b-c"));
    let template = vm_unit(&[("a@.service", "[Service]\nA=1\n")]);
    assert_eq!((template.unit.instance.as_deref(), template.changes.len()), (Some("instance"), 1));
    assert_eq!(vm_unit(&[("a.service", "[Service]\nA=1\n")]).unit.instance, None);
}

#[test]
fn options_of_a_command_are_settings_and_cannot_inject_others() {
    let text = "systemd-run --uid=postgres --gid kvm -E A=1 -p PrivateBPF=yes --wait -p 'B=1\n[Unit]' -p 'C=x\\' -p 'D e=1' sh";
    let vm_unit = VmUnit::of(&configuration(SYSTEMD_RUN, &[("x.sh", text)])).unwrap();
    assert_eq!(lines(&vm_unit.unit.service), ["User=user", "Group=kvm", "Environment=A=1", "PrivateBPF=yes"]);
    assert_eq!(changes(&vm_unit), ["User=postgres -> User=user", "B=", "C=", "D e="]);
}

#[test]
fn only_services_of_the_system_manager_are_started() {
    let none = |frontend, name: &str, text: &str| VmUnit::of(&configuration(frontend, &[(name, text)])).unwrap_err();
    assert_eq!(none(SYSTEMD, "a.socket", "[Socket]\nPrivateBPF=yes\n"), NotStartable::NoService);
    assert_eq!(none(INCUS, "a.yaml", "config:\n  security.bpffs.path: /x\n"), NotStartable::NoUnit);
    for option in ["--user", "--scope", "-M x"] {
        let text = format!("systemd-run {option} -p PrivateBPF=yes sh");
        assert_eq!(none(SYSTEMD_RUN, "x.sh", &text), NotStartable::OtherManager, "{option}");
    }
    let long = format!("[Service]\n{}", "A=\n".repeat(MOST_WRITTEN + 5));
    assert_eq!(none(SYSTEMD, "a.service", &long), NotStartable::TooLong);
    let all = [NotStartable::NoUnit, NotStartable::NoService, NotStartable::OtherManager, NotStartable::TooLong];
    insta::assert_snapshot!(all.map(|why| why.to_string()).join("\n"), @r#"
    it is not a systemd unit
    only services can be started in a VM
    it does not run under the system manager, which is the only one in the VM
    it has more than 10000 assignments
    "#);
}

#[test]
fn locations_in_the_journal_are_traced_to_the_files() {
    let main = "[Service]\n\nExecStart=x\nA=1\nB=2\n";
    let vm_unit = vm_unit(&[("a.service", main), ("a.service.d/x.conf", "[Service]\nC=3\n")]);
    let at = |warning: &str| {
        vm_unit.locate(warning).map(|(location, rest)| (location.source, location.span.start, rest.to_owned()))
    };
    let b = main.find("B=2").unwrap();
    assert_eq!(at("/run/systemd/system/unit.service:3: Unknown key"), Some((0, b, "Unknown key".to_owned())));
    assert_eq!(at("/run/systemd/system/unit.service.d/01.conf:2: no"), Some((1, 10, "no".to_owned())));
    // Added lines, the header, and texts without a location.
    for other in
        ["/x/unit.service:4: a", "/x/unit.service:1: a", "/x/unit.service.d/07.conf:2: a", "unit.service: bad", ""]
    {
        assert_eq!(at(other), None, "{other}");
    }
}

#[test]
fn the_image_has_the_users_and_groups_that_are_kept() {
    let image = include_str!("../../../../images/parts/systemd.toml");
    for (name, number) in USERS {
        assert!(image.contains(&format!("\n{name}:x:{number}:")), "{name}");
    }
    for (name, number) in GROUPS {
        assert!(image.contains(&format!("\n{name}:x:{number}:\n")), "{name}");
    }
}

#[test]
fn what_cannot_be_written_stays_one_line() {
    assert!(is_one_line("A", "a\\\\") && !is_one_line("A", "a\\") && !is_one_line("", "a") && !is_one_line("[A", "]"));
    assert!(names_itself("x%n") && names_itself("%%%p") && !names_itself("%%n %i %"));
}
