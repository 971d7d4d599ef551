//! What a VM made of a unit is told in every form.

mod kernels;

use harness_findings::{
    does_not_run,
    report::{self, ConfigurationReport, Proved, ProvedObject, ProvedUnit, TriedUnit},
};
use harness_frontend::rehearse;
use serde_json::Value;

const UNIT: &str = "[Service]\nExecStart=/bin/x\nUser=postgres\nAmbientCapabilities=CAP_BPF\nPrivateUsers=yes\n\
                    DelegateNamespaces=mnt\nPrivateBPF=yes\nBPFDelegateCommands=BPFProgLoad\n\
                    BPFDelegatePrograms=BPFProgTypeSocketFilter\nBPFDelegateAttachments=BPFCgroupInetIngress\n";

fn unit(ran: bool, result: &str, status: &str) -> ProvedUnit {
    let warnings = vec!["a.service:3:1: no such user".to_owned()];
    ProvedUnit { ran, result: result.to_owned(), status: status.to_owned(), warnings }
}

fn judged(disagreements: &[&str]) -> ConfigurationReport {
    let mut judgement = kernels::judged("a.service", UNIT, &["7.3"]);
    let changes = rehearse(&judgement.configuration).unwrap().changes;
    judgement.rehearsed = Some(TriedUnit { image: "systemd-262".to_owned(), changes });
    let object = ProvedObject {
        name: "x.bpf.o".to_owned(),
        loads: false,
        verdict: "not made: the process that loads it was killed by signal 31".to_owned(),
        calls: Vec::new(),
        unit: Some(unit(true, "signal", "signal 31")),
    };
    judgement.kernels[0].proved = Some(Proved {
        stand: "token allowed; the kernel shows delegate_cmds=prog_load".to_owned(),
        mount: Some("none on /sys/fs/bpf type bpf (rw,delegate_cmds=prog_load)".to_owned()),
        masks: Some("cmds=prog_load".to_owned()),
        unit: Some(unit(true, "success", "0")),
        objects: vec![object],
        disagreements: disagreements.iter().map(|text| (*text).to_owned()).collect(),
        ..Proved::default()
    });
    judgement
}

#[test]
fn people_are_told_what_systemd_made_and_what_it_was_given() {
    let told = report::summary(&judged(&[]));
    for line in [
        "    in the VM: token allowed; the kernel shows delegate_cmds=prog_load\n",
        "        mount: none on /sys/fs/bpf type bpf (rw,delegate_cmds=prog_load)\n",
        "        the token holds cmds=prog_load\n",
        "        the unit ran: success, status 0\n        systemd: a.service:3:1: no such user\n",
        "        the unit with it ran: signal, status signal 31\n",
        "a.service in the VM is the unit as written, started in systemd-262, but:\n",
        "    no ExecStart= (line 2): the guest program is executed in place of the unit's own, which the image lacks\n",
        "    User=user for User=postgres (line 3): the image has no such user; this one is as unprivileged\n",
    ] {
        assert!(told.contains(line), "{line}{told}");
    }
}

#[test]
fn programs_get_the_same_in_fields() {
    let document: Value = serde_json::from_str(&report::document(&[judged(&[])]).unwrap()).unwrap();
    let one = &document["configurations"][0];
    assert_eq!(one["rehearsal"]["image"], "systemd-262");
    assert_eq!(one["rehearsal"]["changes"][1]["instead"], "User=user");
    assert_eq!(one["rehearsal"]["changes"][0]["place"]["line"], 2);
    let proof = &one["kernels"]["7.3"]["proof"];
    assert_eq!((&proof["masks"], &proof["unit"]["result"]), (&"cmds=prog_load".into(), &"success".into()));
    assert_eq!(proof["objects"][0]["unit"]["status"], "signal 31");
}

#[test]
fn code_hosts_get_a_note_a_kernel_and_an_error_where_it_disagrees() {
    let results = |judgement: ConfigurationReport| {
        let log: Value = serde_json::from_str(&report::log(&[judgement], "1").unwrap()).unwrap();
        let rules = log["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap().clone();
        let results = log["runs"][0]["results"].as_array().unwrap().clone();
        let of_proofs = |result: &&Value| result["ruleId"] == "proof";
        let found: Vec<Value> = results.iter().filter(of_proofs).cloned().collect();
        for result in &found {
            assert_eq!(rules[result["ruleIndex"].as_u64().unwrap() as usize]["id"], "proof");
        }
        found
    };
    let agreed = results(judged(&[]));
    assert_eq!((agreed.len(), &agreed[0]["kind"], &agreed[0]["level"]), (1, &"informational".into(), &"none".into()));
    assert!(agreed[0]["message"]["text"].as_str().unwrap().contains("the token holds cmds=prog_load"));
    let disagreed = results(judged(&["judged no token"]));
    assert_eq!((disagreed.len(), &disagreed[1]["level"]), (2, &"error".into()));

    let annotations = report::annotations(&judged(&["judged no token"]));
    let lines: Vec<&str> = annotations.lines().filter(|line| line.contains("title=proof::")).collect();
    assert!(lines[0].starts_with("::notice file=a.service,line=1,") && lines[0].contains("on 7.3: token allowed"));
    assert!(lines[1].starts_with("::error file=a.service,") && lines[1].ends_with("on 7.3: judged no token"));
}

#[test]
fn a_unit_that_does_not_run_is_refused_and_contradicts_nobody() {
    let mut judgement = judged(&[]);
    assert!(!judgement.is_refused());
    let kernel = judgement.kernels[0].name.clone();
    judgement.findings.push(does_not_run(&unit(false, "exit-code", "217"), &kernel));
    assert!(judgement.is_refused() && !judgement.is_contradicted());
    let told = report::plain(&judgement);
    let line = "a.service: error[unit-does-not-run]: systemd does not run the unit: exit-code, status 217/USER\n";
    assert!(told.contains(line) && told.contains("systemd warns: a.service:3:1: no such user"), "{told}");
}
