//! The result of trying a unit in a VM, in every format.

#[allow(dead_code, reason = "each test uses a part of it")]
mod kernels;

use harness_findings::{
    does_not_run,
    report::{self, ConfigurationReport, Proved, ProvedObject, ProvedUnit, TriedUnit},
};
use harness_frontend::VmUnit;
use serde_json::Value;

const UNIT: &str = "[Service]\nExecStart=/bin/x\nUser=postgres\nAmbientCapabilities=CAP_BPF\nPrivateUsers=yes\n\
                    DelegateNamespaces=mnt\nPrivateBPF=yes\nBPFDelegateCommands=BPFProgLoad\n\
                    BPFDelegatePrograms=BPFProgTypeSocketFilter\nBPFDelegateAttachments=BPFCgroupInetIngress\n";

fn unit(ran: bool, result: &str, status: &str) -> ProvedUnit {
    let warnings = vec!["a.service:3:1: no such user".to_owned()];
    ProvedUnit { ran, result: result.to_owned(), status: status.to_owned(), warnings }
}

fn tried(disagreements: &[&str]) -> ConfigurationReport {
    let mut report = kernels::checked("a.service", UNIT, &["7.3"]);
    let changes = VmUnit::of(report.configuration.as_ref().unwrap()).unwrap().changes;
    report.tried_unit = Some(TriedUnit { image: "systemd-262".to_owned(), changes });
    let object = ProvedObject {
        name: "x.bpf.o".to_owned(),
        loads: false,
        verdict: "not made: the process that loads it was killed by signal 31".to_owned(),
        calls: Vec::new(),
        unit: Some(unit(true, "signal", "signal 31")),
    };
    report.kernels[0].proved = Some(Proved {
        summary: "token allowed; the kernel shows delegate_cmds=prog_load".to_owned(),
        mount: Some("none on /sys/fs/bpf type bpf (rw,delegate_cmds=prog_load)".to_owned()),
        masks: Some("cmds=prog_load".to_owned()),
        unit: Some(unit(true, "success", "0")),
        objects: vec![object],
        disagreements: disagreements.iter().map(|text| (*text).to_owned()).collect(),
        ..Proved::default()
    });
    report
}

#[test]
fn people_read_the_result_and_how_the_unit_was_started() {
    insta::assert_snapshot!(report::summary(&tried(&[])), @r#"
    a.service on 7.3  a token; delegates cmds=prog_load progs=socket_filter attachs=cgroup_inet_ingress; CAP_BPF
        in the VM: token allowed; the kernel shows delegate_cmds=prog_load
            mount: none on /sys/fs/bpf type bpf (rw,delegate_cmds=prog_load)
            the token has cmds=prog_load
            the unit ran: success, status 0
            systemd: a.service:3:1: no such user
        x.bpf.o: not made: the process that loads it was killed by signal 31
            the unit with it ran: signal, status signal 31
            systemd: a.service:3:1: no such user
    a.service was started as written in image systemd-262, except:
        no ExecStart= (line 2): the guest program runs instead of the unit's own, which the image lacks
        User=user instead of User=postgres (line 3): the image lacks this user; the replacement is just as unprivileged
    a.service: nothing found
    "#);
}

#[test]
fn programs_get_the_same_in_fields() {
    let document: Value = serde_json::from_str(&report::document(&[tried(&[])]).unwrap()).unwrap();
    let one = &document["configurations"][0];
    assert_eq!(one["rehearsal"]["image"], "systemd-262");
    assert_eq!(one["rehearsal"]["changes"][1]["instead"], "User=user");
    assert_eq!(one["rehearsal"]["changes"][0]["place"]["line"], 2);
    let proof = &one["kernels"]["7.3"]["proof"];
    assert_eq!((&proof["masks"], &proof["unit"]["result"]), (&"cmds=prog_load".into(), &"success".into()));
    assert_eq!(proof["objects"][0]["unit"]["status"], "signal 31");
    assert!(proof["stand"].is_string());
}

#[test]
fn code_hosts_get_a_note_for_each_kernel_and_an_error_where_it_disagrees() {
    let results = |report: ConfigurationReport| {
        let log: Value = serde_json::from_str(&report::log(&[report], "1").unwrap()).unwrap();
        let rules = log["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap().clone();
        let results = log["runs"][0]["results"].as_array().unwrap().clone();
        let of_proofs = |result: &&Value| result["ruleId"] == "proof";
        let found: Vec<Value> = results.iter().filter(of_proofs).cloned().collect();
        for result in &found {
            assert_eq!(rules[result["ruleIndex"].as_u64().unwrap() as usize]["id"], "proof");
        }
        found
    };
    let agreed = results(tried(&[]));
    assert_eq!((agreed.len(), &agreed[0]["kind"], &agreed[0]["level"]), (1, &"informational".into(), &"none".into()));
    let disagreed = results(tried(&["predicted no token"]));
    assert_eq!((disagreed.len(), &disagreed[1]["level"]), (2, &"error".into()));
    let message = |result: &Value| result["message"]["text"].as_str().unwrap().to_owned();
    insta::assert_snapshot!(disagreed.iter().map(message).collect::<Vec<_>>().join("\n"), @r#"
    On 7.3: token allowed; the kernel shows delegate_cmds=prog_load; mount: none on /sys/fs/bpf type bpf (rw,delegate_cmds=prog_load); the token has cmds=prog_load; the unit ran: success, status 0; systemd: a.service:3:1: no such user; x.bpf.o: not made: the process that loads it was killed by signal 31; the unit with x.bpf.o ran: signal, status signal 31.
    On 7.3: predicted no token.
    "#);
    insta::assert_snapshot!(report::annotations(&tried(&["predicted no token"])), @r#"
    ::notice file=a.service,line=1,col=1,title=proof::on 7.3: token allowed; the kernel shows delegate_cmds=prog_load%0Amount: none on /sys/fs/bpf type bpf (rw,delegate_cmds=prog_load)%0Athe token has cmds=prog_load%0Athe unit ran: success, status 0%0Asystemd: a.service:3:1: no such user%0Ax.bpf.o: not made: the process that loads it was killed by signal 31%0Athe unit with x.bpf.o ran: signal, status signal 31
    ::error file=a.service,line=1,col=1,title=proof::on 7.3: predicted no token
    "#);
}

#[test]
fn a_unit_that_does_not_run_is_refused_but_does_not_contradict_the_prediction() {
    let mut report = tried(&[]);
    assert!(!report.is_refused());
    let kernel = report.kernels[0].name.clone();
    report.findings.push(does_not_run(&unit(false, "exit-code", "217"), &kernel));
    assert!(report.is_refused() && !report.is_contradicted());
    let text = report::plain(&report);
    insta::assert_snapshot!(text.lines().take(3).collect::<Vec<_>>().join("\n"), @r#"
    a.service: error[unit-does-not-run]: systemd does not run the unit: exit-code, status 217/USER
        why: systemd warns: a.service:3:1: no such user
        fix: cannot switch to the user: check `User=`, `PrivateUsers=` and `DelegateNamespaces=`
    "#);
}
