//! Containers that are units of systemd: what is asked of the guest, and what cannot be meant.

mod common;

use harness_planner::expand::Expansion;
use harness_protocol::plan::{Actor, Assignment, Call, Manager, Token};
use harness_scenario::{expanded::Expanded, file::parse};

use common::{kernel, problems};

const HEAD: &str = "summary = \"a\"\nimages = \"systemd-*\"\nattempt = [{ op = \"map_create\", type = \"hash\" }]\n";

fn expanded(text: &str) -> Expanded {
    match kernel("7.3").in_image("systemd-262").expand(text) {
        Ok(Expansion::Run(expanded)) => *expanded,
        Ok(Expansion::Skipped { reason }) => panic!("skipped: {reason}"),
        Err(report) => panic!("{report}"),
    }
}

#[test]
fn a_unit_is_planned_as_it_is_written() {
    let text = format!(
        "{HEAD}[container]\nkind = \"systemd\"\ninstance = \"x\"\ndrop_ins = [{{ B = false }}]\n\
         [container.unit]\nA = [\"1\", \"\", \"2\"]\nPrivateBPF = true\nN = 7\n"
    );
    let plan = expanded(&text).plan;
    let case = &plan.cases[0];
    let unit = case.containers[0].unit.as_ref().unwrap();
    let lines: Vec<String> = unit.service.iter().map(|line| format!("{}={}", line.key, line.value)).collect();
    assert_eq!(lines, ["A=1", "A=", "A=2", "N=7", "PrivateBPF=yes"]);
    assert_eq!((unit.drop_ins[0][0].value.as_str(), unit.instance.as_deref()), ("no", Some("x")));
    assert_eq!(
        (&case.attempts[0].token, &case.attempts[0].actor),
        (&Token::Own, &Actor::Container(case.containers[0].name.clone()))
    );
    assert!(plan.global_effect().is_some(), "a machine that others live on starts no units of ours");
}

#[test]
fn the_values_of_a_matrix_reach_the_unit() {
    let text =
        format!("{HEAD}[matrix]\nv = [\"a\", \"b\"]\n[container]\nkind = \"systemd\"\nunit = {{ X = \"{{v}}\" }}\n");
    let values: Vec<String> = expanded(&text)
        .plan
        .cases
        .iter()
        .map(|case| case.containers[0].unit.as_ref().unwrap().service[0].value.clone())
        .collect();
    assert_eq!(values, ["a", "b"]);
}

#[test]
fn an_image_that_is_not_meant_is_skipped_with_its_name() {
    let text = format!("{HEAD}[container]\nkind = \"systemd\"\nunit = {{ X = 1 }}\n");
    let Ok(Expansion::Skipped { reason }) = kernel("7.3").expand(&text) else { panic!("it is run") };
    assert_eq!(reason, "the image is minimal, and the scenario is for systemd-*");
}

#[test]
fn what_a_unit_cannot_be_is_told() {
    let told = |rest: &str| problems(&format!("{HEAD}{rest}")).join("\n");
    let ours = told("[container]\nkind = \"systemd\"\nunit = { ExecStart = \"/bin/true\" }\n");
    assert!(ours.contains("`ExecStart=` is how the guest program gets into the unit"), "{ours}");
    let injected = told("[container]\nkind = \"systemd\"\nunit = { A = \"1\\n[Unit]\", B = \"1\\\\\" }\n");
    assert_eq!(injected.matches("a value is one line").count(), 2, "{injected}");
    let key = told("[container]\nkind = \"systemd\"\nunit = { \"A=b\" = 1 }\n");
    assert!(key.contains("cannot stand before `=`"), "{key}");
    let instance = told("[container]\nkind = \"systemd\"\ninstance = \"../x\"\nunit = { A = 1 }\n");
    assert!(instance.contains("cannot stand in a unit's name"), "{instance}");
    let ours =
        told("delegate = { cmds = [\"map_create\"] }\n[container]\nkind = \"systemd\"\ncaps = []\nunit = { A = 1 }\n");
    assert!(ours.contains("no use for `caps`") && ours.contains("no use for `delegate`"), "{ours}");
    let plain = told("[container]\nunit = { A = 1 }\n");
    assert!(plain.contains("`unit` says something of a unit"), "{plain}");
    let no_image = problems(
        "summary = \"a\"\nattempt = [{ op = \"btf_load\" }]\n[container]\nkind = \"systemd\"\nunit = { A = 1 }\n",
    );
    assert!(no_image.join("\n").contains("no image is named that has one"), "{no_image:?}");
}

#[test]
fn a_unit_file_comes_before_what_the_scenario_writes_and_holds_no_placeholders() {
    let text = format!(
        "{HEAD}[matrix]\nv = [\"a\"]\n[container]\nkind = \"systemd\"\nunit_file = \"x@.service\"\n\
         drop_ins = [{{ Z = 1 }}]\nunit = {{ X = \"{{v}}\" }}\n"
    );
    let file = || parse("t.toml", "a/b".parse().unwrap(), &text).unwrap();
    let assign = |value: &str| Assignment { key: "A".to_owned(), value: value.to_owned() };
    let file_of = |name: &str| {
        assert_eq!(name, "x@.service");
        Ok(vec![vec![assign("{v}")], vec![assign("2")]])
    };
    let read = file().with_unit_file(file_of).unwrap();
    let Ok(Expansion::Run(expanded)) = kernel("7.3").in_image("systemd-262").expand_parsed(&read) else {
        panic!("skipped")
    };
    let unit = expanded.plan.cases[0].containers[0].unit.clone().unwrap();
    let all = std::iter::once(unit.service).chain(unit.drop_ins);
    let values: Vec<String> = all.flatten().map(|Assignment { key, value }| format!("{key}={value}")).collect();
    assert_eq!(values, ["A={v}", "A=2", "X=a", "Z=1"]);

    let report = file().with_unit_file(|_| Err("it is gone".to_owned())).unwrap_err().to_string();
    assert!(report.contains("t.toml:8:13: it is gone"), "{report}");
    let elsewhere = text.replace("x@.service", "../x.service");
    let elsewhere = parse("t.toml", "a/b".parse().unwrap(), &elsewhere).unwrap();
    let report = elsewhere.with_unit_file(|_| panic!("it is read")).unwrap_err().to_string();
    assert!(report.contains("no name of a unit file beside the scenario"), "{report}");
}

#[test]
fn what_runs_a_unit_stands_in_the_plan() {
    let text = format!(
        "{HEAD}[container]\nkind = \"systemd\"\nmanager = \"user\"\nnspawn = [\"--private-users=65536:65536\"]\n"
    );
    let unit = expanded(&text).plan.cases[0].containers[0].unit.clone().unwrap();
    assert_eq!((unit.manager, unit.nspawn), (Manager::User, Some(vec!["--private-users=65536:65536".to_owned()])));
    for option in ["-b", "--bind=/a b", "--x=$HOME", "--x=%n", "--x=\\\""] {
        let text = format!("{HEAD}[container]\nkind = \"systemd\"\nnspawn = [\"{option}\"]\n");
        let told = problems(&text).join("\n");
        assert!(told.contains("no option of systemd-nspawn that can be passed on"), "{option}: {told}");
    }
    let plain = problems(&format!("{HEAD}[container]\nmanager = \"user\"\n")).join("\n");
    assert!(plain.contains("`manager` says something of a unit"), "{plain}");
}

#[test]
fn an_object_is_loaded_in_a_unit_from_the_usual_place_alone() {
    let text = |attempt: &str| {
        format!(
            "summary = \"a\"\nimages = \"*\"\nattempt = [{{ op = \"object\", file = \"xdp\"{attempt} }}]\n[container]\nkind = \"systemd\"\n"
        )
    };
    let plan = expanded(&text("")).plan;
    assert!(matches!(plan.cases[0].attempts[0].call, Call::Object(_)), "{plan:?}");
    for key_path in ["elsewhere", "detached"] {
        let told = problems(&text(&format!(", bpffs = \"{key_path}\""))).join("\n");
        assert!(told.contains("a unit's bpffs stays at /sys/fs/bpf") && told.contains("leave `bpffs` out"), "{told}");
    }
}
