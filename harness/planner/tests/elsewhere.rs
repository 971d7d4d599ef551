//! Targets of others, objects in other places, and settings: from scenario text to plan.

mod common;

use harness_protocol::plan::{Actor, Call, LinkTarget, ObjectKind, PinLocation};

use common::{expanded, problems};

#[test]
fn what_another_container_has_is_a_target() {
    let text = r#"
summary = "x"
[containers.other]
namespaces = ["net"]
[[attempt]]
by = "host"
op = "prog_load"
type = "sched_cls"
attach = "tcx_ingress"
save = "p"
[[attempt]]
op = "link_create"
prog = "p"
target = "interface:dummy0 of other"
[[attempt]]
by = "host"
op = "prog_query"
attach = "cgroup_device"
target = "cgroup of container"
"#;
    let attempts = &expanded(text, "6.12").plan.cases[0].attempts;
    let Call::LinkCreate { target, .. } = &attempts[1].call else { panic!("{:?}", attempts[1].call) };
    let other = Actor::Container("other".parse().unwrap());
    let what = Box::new(LinkTarget::Interface("dummy0".into()));
    assert_eq!(*target, LinkTarget::Of { whose: other, what });
    assert_eq!(target.bare(), &LinkTarget::Interface("dummy0".into()));
    assert!(matches!(&attempts[2].call, Call::ProgQuery { target: LinkTarget::Of { .. }, .. }));
}

#[test]
fn what_is_nobodys_has_no_owner_and_dummies_need_a_network() {
    let attempt = |target: &str| {
        let text = format!(
            "summary = 'x'\n[containers.other]\n[[attempt]]\nop = 'prog_query'\nattach = 'xdp'\ntarget = '{target}'\n"
        );
        problems(&text).join("\n")
    };
    assert!(attempt("root-cgroup of other").contains("belongs to nobody in particular"));
    assert!(attempt("cgroup of othr").contains("did you mean `other`?"));
    assert!(attempt("interface:dummy0 of other").contains("`other` has no network namespace of its own"));
    assert_eq!(attempt("interface:lo of other"), "");
}

#[test]
fn numbers_stand_for_types_without_a_name() {
    let map = |number: &str| format!("summary = 'x'\n[[attempt]]\nop = 'map_create'\ntype = '{number}'\n");
    let case = &expanded(&map("4000"), "6.12").plan.cases[0];
    assert!(matches!(case.attempts[0].call, Call::MapCreate { map_type: 4000, .. }));
    let found = problems(&map("1"));
    assert!(found[0].contains("map type 1 has a name (write `hash`)"), "{found:?}");
}

#[test]
fn pins_have_a_place_and_a_mode() {
    let pin = |rest: &str| {
        format!(
            "summary = 'x'\n[[attempt]]\nby = 'host'\nop = 'map_create'\ntype = 'array'\nsave = 'm'\n\
             [[attempt]]\nop = 'obj_pin'\nobject = 'm'\n{rest}\n\
             [[attempt]]\nby = 'host'\nop = 'obj_info'\nobject = 'm'\n"
        )
    };
    let text = pin("path = 'a.b'\nplace = 'tmpfs'\nmode = '640'\nexpect = 'malformed'");
    let attempts = expanded(&text, "6.12").plan.cases[0].attempts.clone();
    assert!(matches!(&attempts[1].call, Call::ObjPin { place: PinLocation::Tmpfs, mode: Some(0o640), .. }));
    assert!(matches!(&attempts[2].call, Call::ObjInfo { kind: Some(ObjectKind::Map), .. }));
    assert!(problems(&pin("path = 'a.b'"))[0].contains("no slash, no dot"));
    for mode in ["+7", "1777", "rw", "8"] {
        assert!(problems(&pin(&format!("path = 'p'\nmode = '{mode}'")))[0].contains("octal"), "{mode}");
    }
}

#[test]
fn a_setting_is_written_only_where_it_is_put_back() {
    let write = |head: &str, rest: &str| {
        format!("summary = 'x'\n{head}[[attempt]]\nby = 'host'\nop = 'sysctl_write'\nname = '{rest}\n")
    };
    let name = "kernel.unprivileged_bpf_disabled";
    assert!(problems(&write("", &format!("{name}'"))).is_empty());
    assert!(problems(&write("", &format!("{name}'\nvalue = 0")))[0].contains("nobody would put"));
    assert!(problems(&write("", "dev.x'"))[0].contains("may not change `dev.x`"));
    let set = format!("[vm]\nsysctl = {{ '{name}' = 0 }}\n");
    assert!(problems(&write(&set, &format!("{name}'\nvalue = 2"))).is_empty());
    assert!(problems(&write(&set, &format!("{name}'\nvalue = 1")))[0].contains("until the next boot"));
}
