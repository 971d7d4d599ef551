//! Containers that are systemd units: from scenario text to plan.

mod common;

use harness_planner::expand::Expansion;
use harness_protocol::plan::{Actor, Assignment, Call, Manager, Token};
use harness_scenario::{expanded::Expanded, file::parse};

use common::kernel;

const HEAD: &str = "summary = \"a\"\nimages = \"systemd-*\"\nattempt = [{ op = \"map_create\", type = \"hash\" }]\n";

fn expanded(text: &str) -> Expanded {
    match kernel("7.3").in_image("systemd-262").expand(text) {
        Ok(Expansion::Run(expanded)) => *expanded,
        Ok(Expansion::Skipped { reason }) => panic!("skipped: {reason}"),
        Err(report) => panic!("{report}"),
    }
}

#[test]
fn a_unit_is_planned_as_written() {
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
    assert!(plan.global_effect().is_some(), "a shared machine must not start such units");
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
fn another_image_is_skipped_with_its_name() {
    let text = format!("{HEAD}[container]\nkind = \"systemd\"\nunit = {{ X = 1 }}\n");
    let Ok(Expansion::Skipped { reason }) = kernel("7.3").expand(&text) else { panic!("it is run") };
    assert_eq!(reason, "the image is minimal, but the scenario is for systemd-*");
}

#[test]
fn a_unit_file_comes_before_the_keys_of_the_scenario_and_has_no_placeholders() {
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
    insta::assert_snapshot!(report, @"t.toml:8:13: it is gone");
    let elsewhere = text.replace("x@.service", "../x.service");
    let elsewhere = parse("t.toml", "a/b".parse().unwrap(), &elsewhere).unwrap();
    let report = elsewhere.with_unit_file(|_| panic!("it is read")).unwrap_err().to_string();
    insta::assert_snapshot!(report, @"t.toml:8:13: not the name of a unit file beside the scenario, such as `agent.service`");
    let wrong = text.replace("drop_ins", "drop_in");
    let wrong = parse("t.toml", "a/b".parse().unwrap(), &wrong).unwrap();
    let report = wrong.with_unit_file(|_| Err("no such file".to_owned())).unwrap_err().to_string();
    insta::assert_snapshot!(report, @"
    t.toml:8:13: no such file
    t.toml:9:1: unknown key `drop_in` (did you mean `drop_ins`?)
    ");
}

#[test]
fn the_plan_has_the_manager_of_a_unit_and_options_of_nspawn() {
    let text = format!(
        "{HEAD}[container]\nkind = \"systemd\"\nmanager = \"user\"\nnspawn = [\"--private-users=65536:65536\"]\n"
    );
    let unit = expanded(&text).plan.cases[0].containers[0].unit.clone().unwrap();
    assert_eq!((unit.manager, unit.nspawn), (Manager::User, Some(vec!["--private-users=65536:65536".to_owned()])));
}

#[test]
fn a_unit_can_load_an_object() {
    let text = "summary = 'a'\nimages = '*'\nattempt = [{ op = 'object', file = 'xdp' }]\ncontainer.kind = 'systemd'\n";
    let plan = expanded(text).plan;
    assert!(matches!(plan.cases[0].attempts[0].call, Call::Object(_)), "{plan:?}");
}
