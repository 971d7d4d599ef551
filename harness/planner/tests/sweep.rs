//! From a sweep to the plan for a kernel.

mod common;

use std::collections::BTreeMap;

use harness_planner::expand::Expansion;
use harness_protocol::plan::{Attempt, Call, Token};
use harness_scenario::{expanded::Expanded, expect::Expect, layout::AttemptRole};
use harness_uapi::delegation::Delegation;

use common::{expanded, kernel};

fn sweep(of: &str, rest: &str, on: &str) -> Expanded {
    expanded(&format!("summary = 'x'\n[sweep]\nof = '{of}'\n{rest}"), on)
}

/// The attempt of every cell, by the names of its row and its arm.
fn cells(run: &Expanded) -> BTreeMap<(String, String), &Attempt> {
    let grid = run.grid.as_ref().unwrap();
    let described = run.cases.iter().flat_map(|case| &case.attempts);
    let planned = run.plan.cases.iter().flat_map(|case| &case.attempts);
    let cell = |(described, planned): (&harness_scenario::expanded::ExpandedAttempt, _)| match described.part {
        AttemptRole::Cell { row, column } => {
            Some(((grid.rows[row].clone(), grid.columns[column].name.clone()), planned))
        }
        AttemptRole::Line | AttemptRole::Preparation => None,
    };
    described.zip(planned).filter_map(cell).collect()
}

fn masks(attempt: &Attempt, run: &str) -> [u64; 4] {
    let Token::Of(options) = &attempt.token else { panic!("{attempt:?}") };
    Delegation::requested(options, kernel(run).vocabulary()).unwrap().masks()
}

#[test]
fn every_map_type_is_attempted_once_in_every_arm() {
    for on in ["6.12", "7.3"] {
        let run = sweep("map_types", "", on);
        let grid = run.grid.as_ref().unwrap();
        let types = kernel(on).vocabulary().maps.len();
        assert_eq!(grid.rows.len() + grid.absent.len(), types);
        assert_eq!(cells(&run).len(), grid.rows.len() * grid.columns.len());
        assert_eq!(grid.orphans, []);
        assert_eq!(run.plan.cases.len(), 3, "one without a setting, one for each value of it");
        assert!(run.plan.cases.iter().all(|case| case.containers.len() == 1));
    }
}

#[test]
fn a_token_has_the_bits_of_its_arm() {
    let run = sweep("prog_types", "", "7.3");
    let cells = cells(&run);
    let of = |arm: &str| masks(cells[&("xdp".to_owned(), arm.to_owned())], "7.3");
    let Call::ProgLoad { expected_attach_type, .. } = &cells[&("xdp".to_owned(), "granted".to_owned())].call else {
        panic!()
    };
    let attach = 1 << expected_attach_type;
    assert_eq!(of("granted"), [1 << 5, 0, 1 << 6, attach]);
    assert_eq!(of("no_cmd"), [!(1 << 5), u64::MAX, u64::MAX, u64::MAX]);
    assert_eq!(of("no_type"), [u64::MAX, u64::MAX, !(1 << 6), u64::MAX]);
    assert_eq!(of("no_attach"), [u64::MAX, u64::MAX, u64::MAX, !attach]);
    assert_eq!(cells[&("xdp".to_owned(), "no_token".to_owned())].token, Token::None);
    assert_eq!(cells[&("xdp".to_owned(), "nothing".to_owned())].caps, Some(vec![]));
}

#[test]
fn settings_apply_only_to_the_cases_of_their_arms() {
    let run = sweep("map_types", "arms = ['granted', 'unprivileged_0']\n", "7.3");
    let settings: Vec<Vec<&str>> =
        run.plan.cases.iter().map(|case| case.sysctls.values().map(String::as_str).collect()).collect();
    assert_eq!(settings, [vec![], vec!["0"]]);
    assert_eq!(run.cases[1].label, "kernel.unprivileged_bpf_disabled=0");
}

#[test]
fn an_arm_has_its_expectation_if_the_kernel_knows_the_call() {
    let expect = "[sweep.expect]\nallowed = ['granted']\ndenied = ['no_cmd']\n";
    let run = sweep("cmds", expect, "6.12");
    let grid = run.grid.as_ref().unwrap();
    let row = |name: &str| grid.rows.iter().position(|row| row == name).unwrap();
    let of = |name: &str, column: usize| {
        let wanted = AttemptRole::Cell { row: row(name), column };
        run.cases[0].attempts.iter().find(|attempt| attempt.part == wanted).cloned()
    };
    assert_eq!(of("map_create", 0).unwrap().expect, Some(Expect::Allowed));
    assert_eq!(of("map_create", 1).unwrap().expect, Some(Expect::Denied));
    let newer = of("btf_get_fd_by_id", 0).unwrap();
    assert_eq!((newer.expect, newer.missing.is_some()), (None, true), "6.12 has no field for its token");
    assert!(of("map_freeze", 1).is_none(), "there is no token to leave the command out of");
}

/// What a call uses up is created again for every arm, and no row uses the objects of another.
#[test]
fn every_object_is_saved_once_before_it_is_used() {
    for of in ["map_types", "prog_types", "expected_attach_types", "attach_types", "legacy_attach", "cmds", "helpers"] {
        for case in &sweep(of, "", "7.3").plan.cases {
            let mut saved: Vec<&str> = Vec::new();
            for attempt in &case.attempts {
                let objects = attempt.call.objects();
                assert!(objects.iter().all(|name| saved.contains(name)), "{of}: {objects:?} of {:?}", attempt.call);
                if let Some(name) = &attempt.save {
                    assert!(!saved.contains(&name.as_str()), "{of}: {name} is saved twice");
                    saved.push(name);
                }
            }
        }
    }
    let run = sweep("cmds", "arms = ['granted', 'no_bpf']\n", "7.3");
    let freezes = run.plan.cases[0].attempts.iter().filter_map(|attempt| match &attempt.call {
        Call::MapFreeze { map } => Some(map.as_str()),
        _ => None,
    });
    let freezes: Vec<&str> = freezes.collect();
    assert!(freezes.len() == 2 && freezes[0] != freezes[1], "{freezes:?}");
}

/// A call with the names of its objects reduced to their own part.
fn bare(call: &Call) -> String {
    let mut text = format!("{call:?}");
    for name in call.objects() {
        let (_, own) = name.split_once("-a").and_then(|(_, rest)| rest.split_once('-')).unwrap();
        text = text.replace(&format!("{name:?}"), own);
    }
    text
}

/// Of all attempts that make the same call with every permission, only one has controls of its own. An attempt with a
/// token never uses the controls of one without.
#[test]
fn the_arms_of_a_row_share_their_controls() {
    for of in ["map_types", "prog_types", "expected_attach_types", "attach_types", "legacy_attach", "cmds"] {
        for case in &sweep(of, "", "7.3").plan.cases {
            for attempt in &case.attempts {
                let Some(index) = attempt.controls_of else { continue };
                let other = &case.attempts[index as usize];
                assert!(other.controls_of.is_none(), "{of}: {attempt:?}");
                assert_eq!(bare(&attempt.call), bare(&other.call), "{of}");
                assert!(attempt.token == Token::None || other.token != Token::None, "{of}: {attempt:?}");
            }
        }
    }
    let run = sweep("map_types", "", "7.3");
    let own = run.plan.cases[0].attempts.iter().filter(|attempt| attempt.controls_of.is_none());
    let rows = run.grid.as_ref().unwrap().rows.len();
    let preparations = run.cases[0].attempts.iter().filter(|attempt| attempt.part == AttemptRole::Preparation).count();
    assert_eq!(own.count(), rows + preparations);
}

#[test]
fn a_call_that_uses_up_its_objects_has_controls_of_its_own() {
    let run = sweep("cmds", "arms = ['granted', 'no_bpf']\n", "7.3");
    let freezes = run.plan.cases[0].attempts.iter().filter(|attempt| matches!(attempt.call, Call::MapFreeze { .. }));
    assert!(freezes.map(|attempt| attempt.controls_of).eq([None, None]));
}

/// The survey of root covers every helper, and later ones cover those that root got. An arm does not ask again about
/// helpers that an arm with fewer permissions got.
#[test]
fn surveys_continue_earlier_ones() {
    let run = sweep("helpers", "arms = ['root', 'no_perfmon', 'no_net_admin', 'granted', 'no_bpf_0']\n", "6.12");
    let cells = cells(&run);
    let of = |arm: &str| {
        let attempt = cells[&("xdp".to_owned(), arm.to_owned())];
        let Call::HelperSurvey(survey) = &attempt.call else { panic!("{attempt:?}") };
        (survey.clone(), attempt.save.clone().unwrap())
    };
    let (root, saved) = of("root");
    assert_eq!((root.within, root.beyond, root.ids.len()), (None, vec![], 211));
    let [(perfmon, least), (net_admin, less)] = ["no_perfmon", "no_net_admin"].map(of);
    assert_eq!((perfmon.within, perfmon.beyond), (Some(saved.clone()), vec![]));
    assert_eq!((net_admin.within, net_admin.beyond), (Some(saved.clone()), vec![]));
    let (granted, _) = of("granted");
    assert_eq!((granted.within, granted.beyond), (Some(saved), vec![least, less]));
    let (elsewhere, _) = of("no_bpf_0");
    assert_eq!((elsewhere.within, elsewhere.beyond), (None, vec![]), "another case has objects of its own");
    assert_eq!(cells[&("xdp".to_owned(), "root".to_owned())].actor, harness_protocol::plan::Actor::Host);
}

#[test]
fn a_new_program_type_is_reported_by_the_sweep_of_helpers_and_ext_has_none_of_its_own() {
    let future = kernel("7.3").with_prog_type("brand_new", 33);
    let Ok(Expansion::Run(run)) = future.expand("summary = 'x'\n[sweep]\nof = 'helpers'\n") else { panic!() };
    let grid = run.grid.as_ref().unwrap();
    let [orphan] = grid.orphans.as_slice() else { panic!("{:?}", grid.orphans) };
    assert_eq!(orphan.name, "brand_new");
    let absent: Vec<&str> = grid.absent.iter().map(|absent| absent.name.as_str()).collect();
    assert_eq!((absent, grid.rows.len()), (vec!["unspec", "ext"], 31));
}

#[test]
fn a_program_to_attach_is_loaded_with_the_token_of_its_arm() {
    let run = sweep("attach_types", "arms = ['granted', 'no_cmd', 'no_token']\n", "7.3");
    let loads: Vec<&Attempt> = run.plan.cases[0]
        .attempts
        .iter()
        .filter(|attempt| attempt.save.as_deref().is_some_and(|save| save.starts_with("r0-") && save.ends_with("prog")))
        .collect();
    assert_eq!(loads[0].token, Token::Own);
    assert_eq!(masks(loads[1], "7.3"), [!(1 << 28), u64::MAX, u64::MAX, u64::MAX]);
    assert_eq!((&loads[2].token, &loads[2].actor), (&Token::None, &harness_protocol::plan::Actor::Host));
}

#[test]
fn a_name_without_a_recipe_is_reported_and_the_others_are_still_swept() {
    let future = kernel("7.3").with_map_type("cuckoo", 36);
    let Ok(Expansion::Run(run)) = future.expand("summary = 'x'\n[sweep]\nof = 'map_types'\n") else { panic!() };
    let grid = run.grid.as_ref().unwrap();
    let [orphan] = grid.orphans.as_slice() else { panic!("{:?}", grid.orphans) };
    assert_eq!(orphan.name, "cuckoo");
    insta::assert_snapshot!(orphan.advice, @"7.3 knows this map type, but there is no recipe for it: add one to harness/planner/src/recipe/maps.rs, or the reason why it has none to unavailable.rs there");
    assert!(grid.rows.len() > 30);
}

#[test]
fn a_name_whose_option_is_off_is_absent_with_its_reason() {
    let kernel = kernel("7.3").configured("CONFIG_CGROUP_BPF=y\n");
    let Ok(Expansion::Run(run)) = kernel.expand("summary = 'x'\n[sweep]\nof = 'prog_types'\n") else { panic!() };
    let grid = run.grid.unwrap();
    let reason = |name: &str| grid.absent.iter().find(|o| o.name == name).map(|o| o.advice.as_str());
    assert_eq!(reason("lirc_mode2"), Some("this kernel is built without CONFIG_BPF_LIRC_MODE2"));
    assert!(!grid.rows.iter().any(|row| row == "lirc_mode2") && grid.rows.iter().any(|row| row == "cgroup_skb"));
    assert_eq!(reason("cgroup_skb"), None);
}
