//! Configurations of every front-end, with what must be found in each and nothing else.

mod kernels;

use harness_findings::{
    code::Code,
    finding::Safety,
    fix,
    report::{self, ConfigurationReport, KernelReport},
};
use kernels::judged;

/// Codes with their lines, as `LINE CODE`, and the kernels where it is not all.
fn told(judgement: &ConfigurationReport) -> Vec<String> {
    let tell = |finding: &harness_findings::finding::Finding| {
        let line = finding.location.as_ref().map_or(0, |location| judgement.sources.position(location).0);
        let all = finding.kernels.is_empty() || finding.kernels.len() == judgement.kernels.len();
        let on: Vec<&str> = finding.kernels.iter().map(|name| name.as_str()).filter(|_| !all).collect();
        format!("{line} {} {}", finding.code, on.join(",")).trim_end().to_owned()
    };
    judgement.findings.iter().map(tell).collect()
}

fn found(label: &str, text: &str) -> Vec<String> {
    told(&judged(label, text, &["6.12", "7.3"]))
}

/// A unit with these lines beside what makes a token possible.
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
fn names_are_judged_one_by_one() {
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
fn names_that_are_like_an_unknown_one_are_told_as_its_reader_spells_them() {
    let unit = |lines: &str| judged("a.service", &format!("[Service]\nPrivateBPF=yes\n{lines}"), &["7.3"]);
    let told = report::plain(&unit("BPFDelegateMaps=BPFMapTypeRingbuff\n"));
    assert!(told.contains("did you mean `BPFMapTypeRingbuf`"), "{told}");
    let told = report::plain(&unit("BPFDelegateMaps=BPFProgLoad\n"));
    assert!(told.contains("`BPFProgLoad` is no map type but a bpf command"), "{told}");
    let told = report::plain(&judged("a.yaml", "config:\n  security.bpffs.delegate_maps: ringbuff\n", &["7.3"]));
    assert!(told.contains("did you mean `ringbuf`"), "{told}");
}

#[test]
fn one_clear_suggestion_is_an_edit_that_is_not_made_unasked() {
    let text = "[Service]\nPrivateBPF=yes\nBPFDelegateCommands=BPFTokenCreat\n";
    let judgement = judged("a.service", text, &["7.3"]);
    let fix =
        judgement.findings.iter().find(|finding| finding.code == Code::UnknownName).unwrap().fix.as_ref().unwrap();
    assert_eq!((fix.edits[0].text.as_str(), fix.safety), ("BPFTokenCreate", Safety::Judgement));
    assert!(fix::apply(&judgement.findings, &judgement.sources).is_empty());
}

#[test]
fn a_name_that_systemd_takes_for_another_is_an_error_of_its_own() {
    let lines = PLAIN.replace("BPFProgTypeSocketFilter", "BPFProgTypeNetfilter");
    assert_eq!(unit(&lines), ["7 misread-name"]);
    let told = report::plain(&judged("a.service", &format!("[Service]\n{lines}"), &["7.3"]));
    assert!(
        told.contains("error[misread-name]: BPFDelegatePrograms=: systemd 262 takes `BPFProgTypeNetfilter`"),
        "{told}"
    );
}

#[test]
fn masks_are_judged_together() {
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
    let judgement = judged("a.service", &text, &["6.1-debian", "6.12"]);
    assert_eq!(told(&judgement), ["4 kernel-without-tokens 6.1-debian"]);
    assert_eq!(judgement.kernels.iter().map(KernelReport::makes_token).collect::<Vec<_>>(), [false, true]);
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
    let before = judged("a.service", text, &["6.12"]);
    let fixed = fix::apply(&before.findings, &before.sources);
    assert_eq!(fixed[0].count, 3);
    assert_eq!(told(&judged("a.service", &fixed[0].text, &["6.12"])), [""; 0]);
}

#[test]
fn every_form_tells_every_finding() {
    let text = "[Service]\nPrivateBPF=yes\nBPFDelegateCommands=BPFProgLod\nBPFDelegateMaps=any\n";
    let judgement = judged("a b.service", text, &["6.12"]);
    let count = judgement.findings.len();
    assert!(count >= 3 && judgement.is_refused());
    let plain = report::plain(&judgement);
    assert_eq!(plain.matches("\n    why: ").count(), count, "{plain}");
    assert!(plain.contains("a b.service:3:21: error[unknown-name]: `BPFProgLod` is no bpf command"), "{plain}");
    assert_eq!(report::underlined(&judgement).len(), count);
    let annotations = report::annotations(&judgement);
    assert_eq!(annotations.lines().filter(|line| line.starts_with("::")).count(), annotations.lines().count());
    assert!(annotations.contains("::error file=a b.service,line=3,col=21,title=unknown-name::"), "{annotations}");
    let document: serde_json::Value =
        serde_json::from_str(&report::document(std::slice::from_ref(&judgement)).unwrap()).unwrap();
    let schema = serde_json::to_value(report::schema()).unwrap();
    jsonschema::validator_for(&schema).unwrap().validate(&document).unwrap();
    assert_eq!(document["configurations"][0]["findings"].as_array().unwrap().len(), count);
    let log: serde_json::Value = serde_json::from_str(&report::log(&[judgement], "1.0").unwrap()).unwrap();
    let results = log["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), count);
    for result in results {
        let rule = &log["runs"][0]["tool"]["driver"]["rules"][result["ruleIndex"].as_u64().unwrap() as usize];
        assert_eq!(rule["id"], result["ruleId"]);
        assert_eq!(result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "a%20b.service");
    }
}

#[test]
fn an_option_is_repeated_where_one_is_too_short_and_that_is_no_mistake() {
    let mount = |cmds: &str| found("m.txt", &format!("mount -t bpf none /x -o {cmds},delegate_maps=hash"));
    let repeated = |found: &[String]| found.iter().any(|one| one.ends_with("repeated-option"));
    assert!(repeated(&mount("delegate_cmds=map_create,delegate_cmds=map_create")));
    let long = vec!["map_create"; 20].join(":");
    assert!(!repeated(&mount(&format!("delegate_cmds={long},delegate_cmds={long}"))));
}
