use super::*;
use crate::delegation::Delegation;

fn release(text: &str) -> Release {
    text.parse().unwrap()
}

fn number(kind: Kind, name: &str) -> u32 {
    names::number(kind, name).unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn prog(name: &str, attach: &str, uses: &[Use]) -> Request {
    Request::ProgLoad {
        prog_type: number(Kind::Prog, name),
        expected_attach_type: number(Kind::Attach, attach),
        uses: uses.iter().copied().collect(),
    }
}

fn map(name: &str) -> Request {
    Request::MapCreate { map_type: number(Kind::Map, name), traits: BTreeSet::new() }
}

/// Everything that is required, as text.
fn needs(request: &Request, of: &str) -> String {
    let needed = requirement(request, release(of));
    let bits = needed.bits.keys().map(|bit| names::shown(bit.kind, bit.number));
    let inside = needed.capabilities.keys().map(|capability| capability.name().to_owned());
    let outside = needed.undelegable.keys().map(|capability| format!("initial {}", capability.name()));
    bits.chain(inside).chain(outside).collect::<Vec<_>>().join(" ")
}

fn helper(name: &str) -> Use {
    Use::Helper((0..300).find(|number| names::helper(*number) == name).unwrap())
}

#[test]
fn maps_need_their_type_and_its_capability() {
    assert_eq!(needs(&map("hash"), "6.12"), "map_create hash bpf");
    assert_eq!(needs(&map("xskmap"), "6.12"), "map_create xskmap net_admin bpf");
    assert!(requirement(&map("hash"), FIRST_RELEASE).only_if_closed);
    assert!(!requirement(&map("queue"), FIRST_RELEASE).only_if_closed);
    let seeded = Request::MapCreate { map_type: 1, traits: [MapTrait::ZeroSeed].into() };
    assert_eq!(needs(&seeded, "7.3"), "map_create hash bpf initial sys_admin");
}

#[test]
fn programs_need_their_type_and_the_attach_type_the_kernel_checks() {
    assert_eq!(needs(&prog("xdp", "xdp", &[]), "6.12"), "prog_load xdp xdp net_admin bpf");
    assert_eq!(
        needs(&prog("kprobe", "cgroup_inet_ingress", &[]), "6.12"),
        "prog_load kprobe cgroup_inet_ingress perfmon bpf"
    );
    let filled = prog("cgroup_sock", "cgroup_inet_ingress", &[]);
    assert_eq!(needs(&filled, "6.12"), "prog_load cgroup_sock cgroup_inet_sock_create net_admin bpf");
    let ext = requirement(&prog("ext", "cgroup_inet_ingress", &[]), FIRST_RELEASE);
    assert_eq!(ext.capabilities.len(), 3);
}

#[test]
fn what_programs_do_needs_more() {
    let filter = |uses: &[Use]| prog("socket_filter", "cgroup_inet_ingress", uses);
    let tail = "prog_load socket_filter cgroup_inet_ingress";
    assert_eq!(needs(&filter(&[]), "6.12"), format!("{tail} bpf"));
    assert_eq!(needs(&filter(&[helper("trace_printk")]), "6.12"), format!("{tail} perfmon bpf"));
    assert_eq!(needs(&filter(&[helper("map_lookup_elem")]), "6.12"), format!("{tail} bpf"));
    assert!(!requirement(&filter(&[helper("loop")]), FIRST_RELEASE).only_if_closed);
    let writes = prog("kprobe", "cgroup_inet_ingress", &[helper("probe_write_user")]);
    let tail = "prog_load kprobe cgroup_inet_ingress";
    assert_eq!(needs(&writes, "6.12"), format!("{tail} perfmon bpf initial sys_admin"));
    assert_eq!(needs(&writes, "6.14"), format!("{tail} sys_admin perfmon bpf"));
    let syscall = prog("syscall", "cgroup_inet_ingress", &[helper("probe_read_kernel")]);
    let tail = "prog_load syscall cgroup_inet_ingress";
    assert_eq!(needs(&syscall, "6.12"), format!("{tail} bpf"));
    assert_eq!(needs(&syscall, "7.3"), format!("{tail} perfmon bpf"));
    let of_class = prog("cgroup_skb", "cgroup_inet_ingress", &[helper("get_cgroup_classid")]);
    let is_free = |of: &str| requirement(&of_class, release(of)).only_if_closed;
    assert_eq!(["6.12", "6.16", "7.3"].map(is_free), [true, false, false]);
}

#[test]
fn four_commands_honour_a_token_and_the_rest_do_not() {
    let shown =
        |text| commands_with_token(release(text)).iter().map(|n| names::shown(Kind::Cmd, *n)).collect::<Vec<_>>();
    assert_eq!(shown("6.12"), ["map_create", "prog_load", "btf_load"]);
    assert_eq!(shown("6.15"), ["map_create", "prog_load", "btf_load", "btf_get_fd_by_id"]);
    let next = Request::Command { cmd: number(Kind::Cmd, "map_get_next_id") };
    assert_eq!(needs(&next, "7.3"), "initial sys_admin");
    assert_eq!(needs(&Request::Command { cmd: number(Kind::Cmd, "link_update") }, "7.3"), "");
    let attach = |name| Request::Attach { prog_type: number(Kind::Prog, name) };
    assert_eq!(
        (needs(&attach("cgroup_skb"), "6.12"), needs(&attach("lsm"), "6.12")),
        ("net_admin".into(), String::new())
    );
}

#[test]
fn a_grant_is_judged_element_by_element() {
    let needed = requirement(&prog("xdp", "xdp", &[]), FIRST_RELEASE);
    let elements = needed.bits.keys().copied().map(Element::Bit);
    let all: Vec<Element> = elements.chain(needed.capabilities.keys().copied().map(Element::Capability)).collect();
    let grant = Grant::of(all.iter().copied());
    assert!(grant.lacks(&needed, release("6.12")).is_none() && grant.makes_token());
    assert_eq!(grant.elements().collect::<BTreeSet<_>>(), all.iter().copied().collect());
    for left_out in &all {
        let less = Grant::of(all.iter().copied().filter(|element| element != left_out));
        let short = less.lacks(&needed, release("6.12"));
        assert_eq!(short.missing.keys().collect::<Vec<_>>(), [left_out]);
    }
    assert_eq!(grant.lacks(&needed, release("6.1")).since, Some(FIRST_RELEASE));
}

#[test]
fn no_token_grants_a_type_that_the_kernel_does_not_know() {
    let any = Grant { delegation: Delegation::from_masks([u64::MAX; 4]), capabilities: [Capability::Bpf].into() };
    let unknown = |request: &Request, of: &str| -> Vec<String> {
        let lacks = any.lacks(&requirement(request, release(of)), release(of));
        assert_eq!(lacks.is_none(), lacks.unknown.is_empty());
        lacks.unknown.iter().map(|bit| names::shown(bit.kind, bit.number)).collect()
    };
    let untyped = Request::MapCreate { map_type: 63, traits: BTreeSet::new() };
    let unnamed = Request::ProgLoad { prog_type: 63, expected_attach_type: 0, uses: BTreeSet::new() };
    let session = prog("socket_filter", "trace_fsession", &[]);
    assert_eq!(unknown(&map("insn_array"), "6.12"), ["insn_array"]);
    assert_eq!(unknown(&session, "6.12"), ["trace_fsession"]);
    assert_eq!([&untyped, &unnamed].map(|request| unknown(request, "7.3").len()), [1, 1]);
    assert!(unknown(&map("insn_array"), "7.3").is_empty() && unknown(&session, "7.3").is_empty());
    let nothing = Grant::default().lacks(&requirement(&session, release("6.12")), release("6.12"));
    assert!(!nothing.missing.keys().any(|element| element.to_string().contains("trace_fsession")));
}

#[test]
fn opening_an_event_takes_no_token() {
    let open = |event| needs(&Request::PerfEventOpen { event }, "7.3");
    assert_eq!(open(PerfEvent::Kernel), "initial perfmon");
    assert_eq!(open(PerfEvent::UserProbe), "initial sys_admin");
}

#[test]
fn sys_admin_implies_all_but_creating_a_token_and_sys_boot() {
    let grant =
        Grant::of([Element::Capability(Capability::SysAdmin), Element::Bit(Bit { kind: Kind::Cmd, number: 18 })]);
    assert!(grant.lacks(&requirement(&Request::BtfLoad, FIRST_RELEASE), FIRST_RELEASE).is_none());
    assert!(!grant.makes_token());
    assert!(grant.is_capable(Capability::Perfmon) && !grant.is_capable(Capability::SysBoot));
}

#[test]
fn every_name_of_the_table_has_a_rule() {
    for entry in names::all().list(Kind::Map).iter().filter(|entry| entry.number != 0) {
        assert!(class_of_map(&entry.name).is_some(), "{}", entry.name);
    }
}
