//! Configurations of every front-end, with exactly the findings that each must have. Messages are in `messages.rs`.

#[allow(dead_code, reason = "each test uses a part of it")]
mod kernels;

use harness_findings::{
    code::Code,
    finding::Safety,
    fix,
    report::{self, ConfigurationReport, KernelReport},
};
use kernels::checked;

/// Returns findings as `LINE CODE`, followed by the kernels unless they are all.
fn lines(report: &ConfigurationReport) -> Vec<String> {
    let line_of = |finding: &harness_findings::finding::Finding| {
        let line = finding.location.as_ref().map_or(0, |location| report.sources.position(location).0);
        let all = finding.kernels.is_empty() || finding.kernels.len() == report.kernels.len();
        let on: Vec<&str> = finding.kernels.iter().map(|name| name.as_str()).filter(|_| !all).collect();
        format!("{line} {} {}", finding.code, on.join(",")).trim_end().to_owned()
    };
    report.findings.iter().map(line_of).collect()
}

fn found(label: &str, text: &str) -> Vec<String> {
    lines(&checked(label, text, &["6.12", "7.3"]))
}

/// Checks a unit with these lines and what a token needs.
fn unit(lines: &str) -> Vec<String> {
    found("a.service", &format!("[Service]\nPrivateUsers=yes\nDelegateNamespaces=mnt\nPrivateBPF=yes\n{lines}"))
}

const PLAIN: &str = "BPFDelegateCommands=BPFMapCreate,BPFProgLoad\nBPFDelegateMaps=BPFMapTypeArray\n\
                     BPFDelegatePrograms=BPFProgTypeSocketFilter\nBPFDelegateAttachments=BPFCgroupInetIngress\n";

#[test]
fn a_sound_unit_has_no_finding() {
    assert_eq!(unit(PLAIN), [""; 0]);
}

#[test]
fn names_are_checked_one_by_one() {
    assert_eq!(unit(&PLAIN.replace("BPFProgLoad", "BPFProgLod")), ["5 unknown-name", "7 programs-without-prog-load"]);
    assert_eq!(unit(&PLAIN.replace("BPFMapCreate", "map_create")), ["5 wrong-spelling", "6 maps-without-map-create"]);
    assert_eq!(
        unit(&PLAIN.replace("BPFMapTypeArray", "BPFMapTypeArray,BPFMapTypeInsnArray")),
        ["6 name-not-on-kernel 6.12"]
    );
    assert_eq!(unit(&PLAIN.replace("BPFProgLoad", "BPFProgLoad,BPFTokenCreate")), ["5 command-without-effect"]);
    assert_eq!(unit(&PLAIN.replace("BPFProgLoad", "BPFProgLoad,BPFBtfGetFdById")), ["5 command-without-effect 6.12"]);
}

#[test]
fn one_clear_suggestion_is_an_edit_that_is_not_made_unasked() {
    let text = "[Service]\nPrivateBPF=yes\nBPFDelegateCommands=BPFTokenCreat\n";
    let report = checked("a.service", text, &["7.3"]);
    let fix = report.findings.iter().find(|finding| finding.code == Code::UnknownName).unwrap().fix.as_ref().unwrap();
    assert_eq!((fix.edits[0].text.as_str(), fix.safety), ("BPFTokenCreate", Safety::Review));
    assert!(fix::apply(&report.findings, &report.sources).is_empty());
}

#[test]
fn a_name_that_systemd_takes_for_another_is_an_error_of_its_own() {
    assert_eq!(unit(&PLAIN.replace("BPFProgTypeSocketFilter", "BPFProgTypeNetfilter")), ["7 misread-name"]);
}

#[test]
fn masks_are_checked_together() {
    assert_eq!(unit("BPFDelegateCommands=BPFMapCreate\n"), ["5 command-without-types"]);
    assert_eq!(unit("BPFDelegateMaps=BPFMapTypeHash\n"), ["5 maps-without-map-create"]);
    assert_eq!(unit(&PLAIN.replace("BPFCgroupInetIngress", "BPFXdp")), ["8 attach-type-zero-missing"]);
    let without = PLAIN.lines().take(3).collect::<Vec<_>>().join("\n");
    assert_eq!(unit(&without), ["7 programs-without-attach-types"]);
    assert_eq!(unit(""), ["4 nothing-delegated"]);
    assert_eq!(unit(&PLAIN.replace("BPFMapTypeArray", "any")), ["6 delegates-any"]);
    assert_eq!(unit(&PLAIN.replace("SocketFilter", "SocketFilter,BPFProgTypeLsm")), ["7 reaches-the-host"]);
}

#[test]
fn the_container_has_to_be_able_to_make_a_token() {
    let unit = |lines: &str| found("a.service", &format!("[Service]\nPrivateBPF=yes\n{PLAIN}{lines}"));
    assert_eq!(unit(""), ["2 no-user-namespace"]);
    assert_eq!(unit("PrivateUsers=yes\n"), ["2 bpffs-of-the-host"]);
    let own = "PrivateUsers=yes\nDelegateNamespaces=mnt\n";
    assert_eq!(unit(own), [""; 0]);
    assert_eq!(unit(&format!("{own}CapabilityBoundingSet=CAP_NET_ADMIN\n")), ["9 no-cap-bpf"]);
    assert_eq!(unit(&format!("{own}User=nobody\n")), ["9 no-cap-bpf"]);
    assert_eq!(unit(&format!("{own}User=nobody\nAmbientCapabilities=CAP_BPF\n")), [""; 0]);
    // The bounding set is at fault if the capability is ambient already.
    let bounded = format!("{own}CapabilityBoundingSet=CAP_NET_ADMIN\nUser=nobody\nAmbientCapabilities=CAP_BPF\n");
    assert_eq!(unit(&bounded), ["9 no-cap-bpf"]);
    // The mqueue of a private IPC namespace is mounted with the mount namespace.
    for own_ipc in ["PrivateIPC=yes", "IPCNamespacePath=/run/ipc"] {
        assert_eq!(unit(&format!("{own}{own_ipc}\n")), ["9 namespace-not-delegated"]);
    }
    assert_eq!(unit(&format!("{own}PrivateIPC=yes\nPrivateIPC=no\n")), [""; 0]);
    assert_eq!(unit(&format!("{own}PrivateIPC=yes\nDelegateNamespaces=ipc\n")), [""; 0]);
    // Nothing that is delegated is attached by perf_event_open(2).
    assert_eq!(unit(&format!("{own}SystemCallFilter=~perf_event_open\n")), [""; 0]);
    let probes = PLAIN.replace("SocketFilter", "SocketFilter,BPFProgTypeKprobe");
    let lines = format!("[Service]\nPrivateBPF=yes\n{probes}{own}SystemCallFilter=~perf_event_open\n");
    assert!(found("a.service", &lines).contains(&"9 seccomp-refuses-bpf".to_owned()));
    assert_eq!(unit(&format!("{own}SystemCallFilter=~bpf\n")), ["9 seccomp-refuses-bpf"]);
    assert_eq!(found("a.service", &format!("[Service]\n{PLAIN}")), ["2 no-bpffs"]);
}

#[test]
fn the_kernel_reads_what_others_hand_it() {
    let incus = |cmds: &str| {
        let text = format!(
            "config:\n  security.bpffs.path: /sys/fs/bpf\n  security.bpffs.delegate_cmds: \"{cmds}\"\n  \
             security.bpffs.delegate_maps: hash\nname: web\n"
        );
        found("web.yaml", &text)
    };
    assert_eq!(incus("map_create"), [""; 0]);
    assert_eq!(incus("MAP_CREATE"), [""; 0]);
    assert_eq!(incus("map_creat"), ["3 unknown-name"]);
    assert_eq!(incus("BPF_MAP_CREATE"), ["3 wrong-spelling"]);
    assert_eq!(
        incus("map_create,0x20"),
        ["3 command-without-types", "3 number-erases-names", "4 maps-without-map-create"]
    );
    assert_eq!(incus("map_create,common_attrs"), ["3 name-not-on-kernel 6.12", "3 flag-as-name 7.3"]);
}

#[test]
fn kernels_without_tokens_ignore_it_all() {
    let text = format!("[Service]\nPrivateUsers=yes\nDelegateNamespaces=mnt\nPrivateBPF=yes\n{PLAIN}");
    let report = checked("a.service", &text, &["6.1-debian", "6.12"]);
    assert_eq!(lines(&report), ["4 kernel-without-tokens 6.1-debian"]);
    assert_eq!(report.kernels.iter().map(KernelReport::makes_token).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn comments_allow_what_they_name_on_their_line_alone() {
    let any = PLAIN.replace("BPFMapTypeArray", "any");
    let allowed =
        any.replace("BPFDelegateMaps", "# bpf-token: allow delegates-any the tests need all\nBPFDelegateMaps");
    assert_eq!(unit(&allowed), [""; 0]);
    let elsewhere = format!("# bpf-token: allow delegates-any why not\n{any}");
    assert_eq!(unit(&elsewhere), ["7 delegates-any", "5 useless-allowance"]);
    let nameless = any.replace("BPFDelegateMaps", "# bpf-token: allow no-such-code because\nBPFDelegateMaps");
    assert_eq!(unit(&nameless), ["7 delegates-any", "6 useless-allowance"]);
}

#[test]
fn safe_fixes_leave_nothing_to_find() {
    let text = "[Service]\nPrivateUsers=yes\nDelegateNamespaces=mnt\nPrivateBPF=yes\n\
                BPFDelegateCommands=BPF_MAP_CREATE,prog_load\nBPFDelegateMaps=array\n\
                BPFDelegatePrograms=BPFProgTypeSocketFilter\nBPFDelegateAttachments=BPFCgroupInetIngress\n";
    let before = checked("a.service", text, &["6.12"]);
    let fixed = fix::apply(&before.findings, &before.sources);
    assert_eq!(fixed[0].count, 3);
    assert_eq!(lines(&checked("a.service", &fixed[0].text, &["6.12"])), [""; 0]);
}

#[test]
fn every_format_has_every_finding() {
    let text = "[Service]\nPrivateBPF=yes\nBPFDelegateCommands=BPFProgLod\nBPFDelegateMaps=any\n";
    let report = checked("a b.service", text, &["6.12"]);
    let count = report.findings.len();
    assert!(count >= 3 && report.is_refused());
    let underlined: Vec<String> = report::underlined(&report).iter().map(graphical).collect();
    assert_eq!(underlined.len(), count);
    let document = report::document(std::slice::from_ref(&report)).unwrap();
    let value: serde_json::Value = serde_json::from_str(&document).unwrap();
    let schema = serde_json::to_value(report::schema()).unwrap();
    jsonschema::validator_for(&schema).unwrap().validate(&value).unwrap();
    let log = report::log(std::slice::from_ref(&report), "1.0").unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&log).unwrap();
    let run = &mut value["runs"][0];
    for result in run["results"].as_array().unwrap() {
        let rule = &run["tool"]["driver"]["rules"][result["ruleIndex"].as_u64().unwrap() as usize];
        assert_eq!(rule["id"], result["ruleId"]);
    }
    // docs/findings.md has the same texts.
    run["tool"]["driver"]["rules"] = "…".into();

    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/formats"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        insta::assert_snapshot!("human", report::plain(&report));
        insta::assert_snapshot!("underlined", underlined.concat());
        insta::assert_snapshot!("github", report::annotations(&report));
        insta::assert_snapshot!("json", document);
        insta::assert_snapshot!("sarif", serde_json::to_string_pretty(&value).unwrap());
    });
}

fn graphical(finding: &impl miette::Diagnostic) -> String {
    let mut text = String::new();
    let theme = miette::GraphicalTheme::unicode_nocolor();
    miette::GraphicalReportHandler::new_themed(theme).with_links(false).render_report(&mut text, finding).unwrap();
    text
}

#[test]
fn repeating_an_option_whose_value_is_too_long_for_one_is_not_a_finding() {
    let mount = |cmds: &str| found("m.txt", &format!("mount -t bpf none /x -o {cmds},delegate_maps=hash"));
    let repeated = |found: &[String]| found.iter().any(|one| one.ends_with("repeated-option"));
    assert!(repeated(&mount("delegate_cmds=map_create,delegate_cmds=map_create")));
    let long = vec!["map_create"; 20].join(":");
    assert!(!repeated(&mount(&format!("delegate_cmds={long},delegate_cmds={long}"))));
}
