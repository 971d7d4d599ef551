//! The least grants of objects that clang compiles from `tests/sources`.

use harness_objects::{
    Feature, Loader, Necessity, Needs, Note, Object, Obstacle, RequestOwner, TokenUse, asked, needs,
};
use harness_uapi::{
    names,
    permission::{Capability, Element, Request},
    release::Release,
    vocabulary::Kind,
};

mod compiled;
use compiled::{object, object_for};

/// The object with only these programs.
fn only(object: &Object, names: &[&str]) -> Object {
    let mut object = object.clone();
    object.programs.retain(|program| names.contains(&program.name.as_str()));
    object
}

/// What the object needs of a kernel of this release.
fn needed(object: &Object, release: &str) -> Needs {
    let release: Release = release.parse().unwrap();
    needs(&[("object".to_owned(), object.clone())], release.into())
}

/// The names of the least grant's elements, without those that every object needs: `prog_load`, the type and attach type
/// of the probe of loading, and `CAP_BPF`.
fn elements(needs: &Needs) -> String {
    let names = needs.elements.keys().map(|element| element.to_string());
    let names = names.map(|name| name.rsplit(' ').next().unwrap().to_lowercase());
    let always = ["prog_load", "socket_filter", "cgroup_inet_ingress", "cap_bpf"];
    names.filter(|name| !always.contains(&name.as_str())).collect::<Vec<_>>().join(" ")
}

#[test]
fn an_optional_attach_type_is_left_out_unless_its_probe_passes_anyway() {
    let network = object("network");
    let alone = needed(&only(&network, &["on_xdp"]), "6.12");
    assert_eq!(elements(&alone), "xdp cap_net_admin");
    let lost = alone.losses.iter().find(|loss| loss.feature == Feature::ExpectedAttachTypes).unwrap();
    let kept_by: Vec<_> = lost.kept_by.iter().map(ToString::to_string).collect();
    assert_eq!(kept_by, ["program type cgroup_sock", "attach type cgroup_inet_sock_create"]);
    // This attach type is always passed.
    assert_eq!(elements(&needed(&only(&network, &["on_xdp_frags"]), "6.12")), "xdp xdp cap_net_admin");
    // libbpf's probe of attach types loads a cgroup_sock program.
    let mut both = only(&network, &["on_xdp"]);
    both.programs.extend(only(&object("cgroup"), &["on_cgroup_sock"]).programs);
    assert_eq!(elements(&needed(&both, "6.12")), "xdp cgroup_sock cgroup_inet_sock_create xdp cap_net_admin");
}

#[test]
fn the_probe_of_loading_uses_what_is_needed_anyway() {
    let tracing = object("tracing");
    let needs = needed(&only(&tracing, &["on_tp"]), "6.12");
    assert!(!needs.elements.keys().any(|element| element.to_string().ends_with("socket_filter")));
    assert_eq!(elements(&needs), "tracepoint cap_perfmon");
    let never: Vec<_> = needs.undelegable.iter().map(|found| found.by.to_string()).collect();
    assert_eq!(never, ["attaching on_tp"]);
    let probe = needed(&only(&tracing, &["on_raw_tp"]), "6.12");
    assert_eq!((elements(&probe), probe.undelegable.len()), ("raw_tracepoint cap_perfmon".into(), 0));
    assert!(probe.elements.keys().any(|element| element.to_string().ends_with("socket_filter")));
}

#[test]
fn a_probe_in_user_space_needs_root_to_open_its_event() {
    let obstacles = |program: &str| -> Vec<String> {
        let needs = needed(&only(&object("tracing"), &[program]), "6.12");
        needs.undelegable.iter().map(|found| found.obstacle.to_string()).collect()
    };
    let root = "in the initial user namespace, for the command itself";
    assert_eq!(obstacles("on_kprobe"), [format!("CAP_PERFMON {root} (perf_event_open in kernel/events/core.c)")]);
    assert_eq!(
        obstacles("on_uprobe"),
        [format!("CAP_SYS_ADMIN {root} (perf_uprobe_event_init in kernel/events/core.c)")]
    );
    assert!(obstacles("on_uprobe_multi").is_empty());
}

#[test]
fn a_usdt_program_is_loaded_as_a_probe() {
    let needs = needed(&only(&object("tracing"), &["on_usdt"]), "6.12");
    assert_eq!(elements(&needs), "kprobe cap_perfmon");
    assert!(needs.losses.iter().any(|loss| loss.feature == Feature::UserProbeLinks));
}

#[test]
fn btf_is_needed_only_where_the_kernel_requires_it() {
    let calls = object("calls");
    let of = |name: &str| {
        let mut object = only(&calls, &[name]);
        object.maps.clear();
        object.programs[0].maps.clear();
        elements(&needed(&object, "7.3"))
    };
    assert_eq!(of("plain"), "sched_cls cap_net_admin");
    assert_eq!(of("deep"), "btf_load sched_cls cap_net_admin");
    assert_eq!(of("repeating"), "btf_load sched_cls cap_net_admin");
    assert_eq!(of("looking"), "sched_cls cap_net_admin");
    assert_eq!(of("locking"), "btf_load sched_cls cap_net_admin");
    assert_eq!(of("saying"), "sched_cls cap_net_admin cap_perfmon");
    // Without libbpf's probe, the program would call a helper that packet programs do not have.
    assert_eq!(of("peeking"), "tracepoint xdp cap_net_admin cap_perfmon");
    assert_eq!(of("paging"), "syscall cap_perfmon");
}

#[test]
fn a_replacement_needs_the_btf_of_another_program() {
    let mut replacing = only(&object("calls"), &["instead"]);
    replacing.maps.clear();
    let old = needed(&replacing, "6.12");
    assert_eq!(elements(&old), "btf_load ext cap_net_admin cap_perfmon");
    let needs_root =
        |found: &harness_objects::Undelegable| matches!(found.obstacle, Obstacle::Capability(Capability::SysAdmin, _));
    assert!(old.undelegable.iter().any(needs_root));
    let new = needed(&replacing, "6.15");
    // CAP_SYS_ADMIN implies the others, except when the token is created.
    assert_eq!(elements(&new), "btf_load btf_get_fd_by_id ext cap_sys_admin");
    assert_eq!((new.undelegable.len(), new.least_release.unwrap().to_string()), (0, "6.15".into()));
}

#[test]
fn global_data_needs_a_socket_filter_whatever_else_is_granted() {
    let data = object("data");
    let needs = needed(&data, "6.12");
    assert_eq!(elements(&needs), "map_create array tracing trace_fentry cap_perfmon");
    let filter = Element::Bit(harness_uapi::permission::Bit {
        kind: Kind::Prog,
        number: names::number(Kind::Prog, "socket_filter").unwrap(),
    });
    let owners: Vec<_> = needs.elements[&filter].iter().map(|reason| reason.by.to_string()).collect();
    assert_eq!(owners, ["probe of loading", "probe of global data"]);
    // libbpf silently leaves out data that no program refers to; that does not count as loaded.
    let mut unused = data.clone();
    unused.programs.clear();
    assert_eq!(elements(&needed(&unused, "6.12")), "map_create array");
}

#[test]
fn members_of_operations_are_attach_types() {
    let operations = object("operations");
    let mut used = operations.clone();
    used.programs.retain(|program| program.name != "unused");
    let needs = needed(&used, "6.12");
    assert_eq!(elements(&needs), "map_create btf_load struct_ops struct_ops cgroup_inet_sock_create cap_perfmon");
    let counted = |note: &Note| matches!(note, Note::OwnCount { .. });
    assert!(needs.notes.iter().any(|(_, note)| counted(note)));
}

#[test]
fn every_element_is_needed_and_has_a_reason() {
    for source in ["cgroup", "network", "tracing", "maps", "data", "operations", "calls", "legacy"] {
        for release in ["6.9", "6.12", "7.3"] {
            let needs = needed(&object(source), release);
            for (element, reasons) in &needs.elements {
                assert!(!reasons.is_empty(), "{source} on {release}: nothing needs {element}");
            }
        }
    }
}

#[test]
fn a_type_that_the_kernel_does_not_know_is_reported() {
    let needs = needed(&only(&object("tracing"), &["on_fsession"]), "6.12");
    let [found] = &needs.undelegable[..] else { panic!("{:?}", needs.undelegable) };
    assert_eq!(found.obstacle.to_string(), "a later kernel: attach type trace_fsession was added in 7.0");
    assert_eq!(needs.least_release.unwrap().to_string(), "7.0");
}

#[test]
fn cgroup_skb_programs_need_more_to_attach_than_to_load() {
    let needs = needed(&only(&object("cgroup"), &["on_cgroup_skb_egress"]), "6.12");
    assert_eq!(elements(&needs), "cgroup_skb");
    let attaching: Vec<_> = needs.attaching.keys().map(ToString::to_string).collect();
    assert_eq!(attaching, ["CAP_NET_ADMIN"]);
}

#[test]
fn requests_are_listed_in_order() {
    let release: Release = "6.12".parse().unwrap();
    let network = only(&object("network"), &["on_xdp"]);
    let all = asked(&network, release.into());
    assert_eq!((&all[0].request, &all[0].by), (&Request::TokenCreate, &RequestOwner::Token));
    let loading: Vec<_> = all.iter().filter(|asked| asked.by == RequestOwner::ProbeOfLoading).collect();
    assert_eq!(loading.len(), 2);
    assert!(loading.iter().all(|asked| asked.must == Necessity::OneOf(0)));
    let named = all.iter().find(|asked| asked.by == RequestOwner::Probe(Feature::Names)).unwrap();
    assert_eq!(named.handed, TokenUse::NoToken);
    let program = all.iter().filter(|asked| matches!(asked.by, RequestOwner::Program(_)));
    let attach_types: Vec<_> = program
        .map(|asked| match asked.request {
            Request::ProgLoad { expected_attach_type, .. } => names::shown(Kind::Attach, expected_attach_type),
            _ => panic!("{asked:?}"),
        })
        .collect();
    assert_eq!(attach_types, ["xdp", "cgroup_inet_ingress"]);
}

/// The names of all elements, and what no grant provides.
fn all_of(source: &str, programs: &[&str], loader: &str) -> (String, Vec<String>) {
    let object = only(&object_for(source, loader.parse::<Loader>().unwrap()), programs);
    let needs = needed(&object, "7.3");
    let names = needs.elements.keys().map(|element| element.to_string().rsplit(' ').next().unwrap().to_lowercase());
    let never = needs.undelegable.iter().map(|found| format!("{}: {}", found.by, found.obstacle));
    (names.collect::<Vec<_>>().join(" "), never.collect())
}

#[test]
fn cilium_ebpf_makes_no_trial_load_and_passes_every_attach_type() {
    let mine = |source, program, loader| all_of(source, &[program], loader).0;
    assert_eq!(mine("network", "on_xdp", "cilium-ebpf"), "prog_load xdp xdp cap_net_admin cap_bpf");
    assert_eq!(
        mine("network", "on_xdp", "libbpf"),
        "prog_load socket_filter xdp cgroup_inet_ingress cap_net_admin cap_bpf"
    );
    // The same as what it needs where one could grant it to aya, which passes no token.
    let (elements, never) = all_of("network", &["on_xdp"], "aya");
    assert_eq!(elements, "prog_load xdp xdp cap_net_admin cap_bpf");
    assert_eq!(never, ["token: another loader: aya 0.16 passes no token"]);
    let old = all_of("network", &["on_xdp"], "libbpf-1.3").1;
    assert_eq!(old, ["token: a later loader: libbpf 1.3 passes no token, libbpf does since 1.4"]);
    assert!(all_of("network", &["on_xdp"], "libbpf-1.4").1.is_empty());
}

#[test]
fn cilium_ebpf_gets_the_types_of_a_replaced_program_without_the_token() {
    let of = |loader: &str| {
        let mut object = only(&object_for("calls", loader.parse::<Loader>().unwrap()), &["instead"]);
        object.maps.clear();
        let needs = needed(&object, "6.15");
        (elements(&needs).contains("btf_get_fd_by_id"), needs.undelegable.len())
    };
    assert_eq!((of("libbpf"), of("cilium-ebpf")), ((true, 0), (false, 1)));
}

#[test]
fn only_libbpf_refuses_legacy_maps() {
    let opens = |loader: &str| !needed(&object_for("legacy", loader.parse::<Loader>().unwrap()), "7.3").never_load();
    assert_eq!((opens("libbpf"), opens("cilium-ebpf")), (false, true));
}
