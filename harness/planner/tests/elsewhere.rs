//! Targets of other containers, pins and settings: from scenario text to plan.

mod common;

use harness_protocol::plan::{Actor, Call, LinkTarget, ObjectKind, PinLocation};

use common::{expanded, problems};

#[test]
fn a_target_can_belong_to_another_container() {
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
fn a_type_without_a_name_is_written_as_a_number() {
    let text = "summary = 'x'\n[[attempt]]\nop = 'map_create'\ntype = '4000'\n";
    let case = &expanded(text, "6.12").plan.cases[0];
    assert!(matches!(case.attempts[0].call, Call::MapCreate { map_type: 4000, .. }));
}

#[test]
fn a_pin_has_a_location_and_a_mode() {
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
    for mode in ["+7", "1777", "rw", "8"] {
        let found = problems(&pin(&format!("path = 'p'\nmode = '{mode}'")));
        assert_eq!(found, [format!("11:8: `{mode}` is not a file mode (write octal digits, for example \"644\")")]);
    }
}

#[test]
fn an_attempt_writes_the_current_value_or_a_setting_that_is_restored() {
    let write = |head: &str, rest: &str| {
        format!("summary = 'x'\n{head}[[attempt]]\nby = 'host'\nop = 'sysctl_write'\nname = '{rest}\n")
    };
    let name = "kernel.unprivileged_bpf_disabled";
    assert!(problems(&write("", &format!("{name}'"))).is_empty());
    let set = format!("[vm]\nsysctl = {{ '{name}' = 0 }}\n");
    assert!(problems(&write(&set, &format!("{name}'\nvalue = 2"))).is_empty());
}
