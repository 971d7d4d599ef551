use harness_protocol::mount_option::MountOption;
use harness_scenario::layout::{AttemptRole, Column, SweepLayout, UncoveredName};
use harness_uapi::vocabulary::{Kind, Vocabulary};
use harness_verdict::{granted::GrantedHelpers, judgement::Case, object::Step, verdict::Refusal};

use super::*;
use crate::{
    difference::{
        groups::{Compared, groups},
        names::{Coverage, Family, NameChange, NameStatus},
    },
    reasons::Explanation,
};

fn allowed() -> Verdict {
    Verdict::Allowed { detail: None }
}

fn said(detail: &str) -> Verdict {
    Verdict::Allowed { detail: Some(detail.to_owned()) }
}

fn denied(errno: Errno) -> Verdict {
    Verdict::Denied(Refusal { errno, step: None })
}

fn malformed(errno: Errno) -> Verdict {
    Verdict::Malformed(Refusal { errno, step: None })
}

fn unsupported() -> Verdict {
    Verdict::Unsupported { refusal: Refusal { errno: Errno::EINVAL, step: None }, reason: "too old".to_owned() }
}

fn row(text: &str, verdict: Verdict) -> Row {
    let (op, container, steps) = ("map_create".to_owned(), "container".to_owned(), Vec::new());
    Row {
        text: text.to_owned(),
        op,
        container,
        expect: None,
        verdict,
        cause: None,
        part: AttemptRole::Line,
        steps,
        guard: Vec::new(),
    }
}

fn lacking(row: Row, gift: &str) -> Row {
    let cause = Reason::Missing { gifts: vec![gift.to_owned()], obstacles: Vec::new() };
    Row { cause: Some(cause), ..row }
}

fn case(label: &str, rows: Vec<Row>) -> Case {
    Case {
        label: label.to_owned(),
        mounted: Vec::new(),
        disagreements: Vec::new(),
        units: Vec::new(),
        tokens: Vec::new(),
        rows,
    }
}

fn judgement(cases: Vec<Case>) -> Judgement {
    Judgement { scenario: "a/b".parse().unwrap(), cases, grid: None, helpers: None, crash: None, splats: vec![] }
}

fn one(rows: Vec<Row>) -> Judgement {
    judgement(vec![case("", rows)])
}

/// A sweep over these rows with the arms `granted` and `no_token`, one verdict per cell in row order.
fn sweep(names: &[&str], rows: Vec<Row>) -> Judgement {
    let column = |name: &str| Column { name: name.to_owned(), head: name.to_owned(), meaning: String::new() };
    let grid = SweepLayout {
        rows: names.iter().map(|name| (*name).to_owned()).collect(),
        columns: ["granted", "no_token"].map(column).to_vec(),
        ..SweepLayout::default()
    };
    let cell = |(at, row): (usize, Row)| Row { part: AttemptRole::Cell { row: at / 2, column: at % 2 }, ..row };
    let rows = rows.into_iter().enumerate().map(cell).collect();
    Judgement { grid: Some(Box::new(grid)), ..one(rows) }
}

fn effects(before: Vec<Row>, after: Vec<Row>) -> Vec<Effect> {
    compare(&one(before), &one(after)).into_iter().map(|change| change.effect).collect()
}

#[test]
fn each_pair_of_verdicts_has_its_effect() {
    let eperm = || denied(Errno::EPERM);
    let pairs = [
        (eperm(), allowed(), Some(Effect::Loosened)),
        (allowed(), eperm(), Some(Effect::Tightened)),
        (unsupported(), allowed(), Some(Effect::Supported)),
        (unsupported(), eperm(), Some(Effect::Supported)),
        (allowed(), unsupported(), Some(Effect::Unsupported)),
        (malformed(Errno::EINVAL), allowed(), Some(Effect::Malformed)),
        (eperm(), malformed(Errno::EINVAL), Some(Effect::Malformed)),
        (allowed(), Verdict::Crashed, Some(Effect::Crashed)),
        (Verdict::Crashed, malformed(Errno::EPERM), Some(Effect::Crashed)),
        (eperm(), denied(Errno::EINVAL), Some(Effect::Errno)),
        (malformed(Errno::EINVAL), malformed(Errno::EPERM), Some(Effect::Errno)),
        (said("1"), said("2"), Some(Effect::Detail)),
        (said("1"), said("1"), None),
        (Verdict::Crashed, Verdict::Crashed, None),
    ];
    for (before, after, expected) in pairs {
        let found = effects(vec![row("x", before.clone())], vec![row("x", after.clone())]);
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{before} {after}");
    }
    let causes = |gift| vec![lacking(row("x", eperm()), gift)];
    assert_eq!(effects(causes("token"), causes("CAP_BPF")), [Effect::Cause]);
    assert_eq!(effects(causes("token"), causes("token")), []);
}

#[test]
fn effects_are_listed_in_their_order_and_completely() {
    assert!(Effect::ALL.is_sorted());
    assert_eq!(Effect::ALL[0], Effect::Loosened);
    assert_eq!(Effect::ALL.len(), Effect::Disagreement as usize + 1);
    insta::assert_snapshot!(Effect::ALL.map(Effect::title).join("\n"), @"
    loosened: denied, now allowed
    tightened: allowed, now denied
    newly supported
    no longer supported
    attempted on the second kernel only
    attempted on the first kernel only
    the kernel died or hung
    not attempted on one of the two
    malformed on one of the two
    refused with another errno
    denied for another reason
    answered differently
    the mount shows other masks
    the kernel's reports of a delegation disagree differently
    ");
}

#[test]
fn attempts_are_matched_by_what_they_are_and_not_by_position() {
    let before = vec![row("a", allowed()), row("b", denied(Errno::EPERM))];
    let after = vec![row("new", allowed()), row("b", allowed()), row("a", allowed())];
    let changes = compare(&one(before), &one(after));
    let found: Vec<_> = changes.iter().map(|change| (change.effect, &change.subject.what)).collect();
    let what = |text: &str| ItemKind::Attempt { text: text.into(), container: "container".into(), occurrence: 1 };
    assert_eq!(found, [(Effect::Loosened, &what("b")), (Effect::Added, &what("new"))]);
    assert_eq!((&changes[1].before, changes[1].after.as_ref().unwrap().to_string()), (&None, "allowed".to_owned()));
}

#[test]
fn attempts_with_the_same_text_are_distinguished_by_case_container_and_count() {
    let by = |container: &str, verdict| Row { container: container.to_owned(), ..row("x", verdict) };
    let side = |last: Verdict| {
        judgement(vec![
            case("t=1", vec![row("x", allowed()), row("x", last.clone()), by("other", allowed())]),
            case("t=2", vec![row("x", allowed())]),
        ])
    };
    let changes = compare(&side(denied(Errno::EPERM)), &side(allowed()));
    let what = ItemKind::Attempt { text: "x".into(), container: "container".into(), occurrence: 2 };
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].subject, ComparedItem { case: "t=1".into(), what });
    let fewer = judgement(vec![case("t=1", vec![row("x", allowed())])]);
    assert_eq!(compare(&side(allowed()), &fewer).len(), 3);
    assert!(compare(&side(allowed()), &fewer).iter().all(|change| change.effect == Effect::Removed));
}

#[test]
fn cells_are_matched_by_row_and_arm_and_preparations_are_ignored() {
    let before = sweep(&["hash", "array"], vec![row("x", allowed()); 4]);
    let mut rows = vec![row("x", allowed()); 4];
    rows.extend([row("x", denied(Errno::EPERM)), row("x", allowed())]);
    // The new type comes first, so every old one has moved.
    let mut after = sweep(&["newest", "hash", "array"], rows);
    after.cases[0].rows.push(Row { part: AttemptRole::Preparation, ..row("prog_load for x", denied(Errno::EPERM)) });
    let changes = compare(&before, &after);
    let cell = |row: &str, arm: &str| ItemKind::Cell { row: row.into(), arm: arm.into() };
    let found: Vec<_> = changes.iter().map(|change| (change.effect, change.subject.what.clone())).collect();
    let expected = [
        (Effect::Tightened, cell("array", "granted")),
        (Effect::Added, cell("newest", "granted")),
        (Effect::Added, cell("newest", "no_token")),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_call_of_libbpf_that_is_no_longer_denied_is_loosened() {
    let step = |text: &str, result, probe| Step { text: text.to_owned(), result, probe };
    let side = |result| {
        let steps = vec![step("map_create", result, false), step("probe", StepResult::Allowed, true)];
        vec![Row { steps, ..row("object", allowed()) }]
    };
    let refused = StepResult::Denied(Errno::EPERM);
    assert_eq!(effects(side(refused), side(StepResult::Allowed)), [Effect::Loosened]);
    assert_eq!(effects(side(refused), side(StepResult::Denied(Errno::EINVAL))), [Effect::Errno]);
    assert_eq!(effects(side(refused), side(StepResult::Lost)), [Effect::Detail]);
    assert_eq!(effects(side(refused), vec![row("object", allowed())]), [Effect::Detail]);
    assert_eq!(effects(side(refused), side(refused)), []);
}

#[test]
fn masks_and_reports_of_delegations_are_compared() {
    let side = |value: &str, line: &str| {
        let option = MountOption { key: "delegate_maps".to_owned(), value: value.to_owned() };
        let mounted = vec![("container".parse().unwrap(), vec![option])];
        judgement(vec![Case { mounted, disagreements: vec![line.to_owned()], ..case("", Vec::new()) }])
    };
    let changes = compare(&side("hash", "x"), &side("any", "y"));
    let found: Vec<_> =
        changes.iter().map(|c| (c.effect, c.before.as_ref().unwrap().to_string(), c.after.as_ref().unwrap())).collect();
    assert_eq!(found[0], (Effect::Masks, "maps=hash".to_owned(), &KernelAnswer::text("maps=any")));
    assert_eq!(found[1], (Effect::Disagreement, "x".to_owned(), &KernelAnswer::text("y")));
    assert_eq!(compare(&side("any", "x"), &side("any", "x")), []);
}

#[test]
fn a_new_name_that_is_not_attempted_is_reported_with_the_reason() {
    let with = |names: &[(&str, &str)]| {
        let mut judgement = sweep(&["hash"], vec![row("x", allowed()), row("x", allowed())]);
        let orphan =
            |(name, advice): &(&str, &str)| UncoveredName { name: (*name).to_owned(), advice: (*advice).to_owned() };
        judgement.grid.as_mut().unwrap().absent = names.iter().map(orphan).collect();
        judgement
    };
    let before = with(&[("old", "no such thing"), ("gone", "no such thing"), ("hash", "too new")]);
    let after = with(&[("old", "needs a card"), ("new", "no such thing")]);
    let found: Vec<_> = compare(&before, &after)
        .into_iter()
        .map(|change| (change.effect, change.subject.what, change.after.map(|answer| answer.to_string())))
        .collect();
    let absent = |row: &str| ItemKind::Absent { row: row.to_owned() };
    let expected = [
        (Effect::Detail, absent("old"), Some("not attempted: needs a card".to_owned())),
        (Effect::Removed, absent("gone"), None),
        (Effect::Added, absent("new"), Some("not attempted: no such thing".to_owned())),
    ];
    assert_eq!(found, expected);
    assert_eq!(compare(&before, &before), []);
    let all = [compared("a/b", None, compare(&before, &after))];
    assert_eq!(groups(&all)[0].after.as_deref(), Some("not attempted: no such thing"));
}

fn surveyed(names: &[(u32, &str)], found: &[((usize, usize), &str)]) -> Judgement {
    let mut judgement = sweep(&["xdp"], vec![row("x", said("n")), row("x", said("n"))]);
    let granted = GrantedHelpers {
        names: names.iter().map(|(id, name)| (*id, (*name).to_owned())).collect(),
        found: found.iter().map(|(cell, ids)| (*cell, ids.parse().unwrap())).collect(),
    };
    judgement.helpers = Some(granted);
    judgement
}

#[test]
fn helpers_are_compared_by_name_and_are_denied_if_another_arm_has_them() {
    let before = surveyed(&[(1, "read"), (2, "write"), (3, "send")], &[((0, 0), "1-2"), ((0, 1), "1")]);
    let after = surveyed(
        &[(1, "read"), (2, "write"), (3, "send"), (4, "new"), (5, "idle")],
        &[((0, 0), "1-4"), ((0, 1), "1-2")],
    );
    let found: Vec<_> = compare(&before, &after)
        .into_iter()
        .map(|change| match change.subject.what {
            ItemKind::Helper { helper, arm, .. } => (change.effect, helper, arm),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        (Effect::Supported, "send", "granted"),
        (Effect::Added, "new", "granted"),
        (Effect::Supported, "send", "no_token"),
        (Effect::Loosened, "write", "no_token"),
        (Effect::Added, "new", "no_token"),
    ];
    assert_eq!(found, expected.map(|(effect, helper, arm)| (effect, helper.to_owned(), arm.to_owned())));
}

fn vocabulary(name: &str) -> Vocabulary {
    let path = format!("{}/../../kernels/vocabulary/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn names_of_the_committed_kernels_differ_as_their_headers_do() {
    let (old, new) = (vocabulary("6.12"), vocabulary("7.3"));
    let changes = names::differences(&old, &new);
    let change = |family, name: &str, fate| NameChange { family, name: name.to_owned(), fate };
    for expected in [
        change(Family::Cmds, "prog_stream_read_by_fd", NameStatus::Added(Some(37))),
        change(Family::Maps, "insn_array", NameStatus::Added(Some(34))),
        change(Family::Flags, "BPF_COMMON_ATTRS", NameStatus::Added(Some(1 << 16))),
        change(Family::Attributes, "fd_by_id_token_fd", NameStatus::Added(None)),
        change(Family::Infos, "bpf_token_info", NameStatus::Added(None)),
    ] {
        assert!(changes.contains(&expected), "{expected:?} is not in {changes:?}");
    }
    assert!(changes.iter().all(|change| !change.name.contains("MAX_")), "{changes:?}");
    assert_eq!(names::differences(&old, &old), []);
    assert!(names::differences(&new, &old).contains(&change(
        Family::Maps,
        "insn_array",
        NameStatus::Removed(Some(34))
    )));
}

#[test]
fn a_renumbered_name_is_reported_with_both_numbers() {
    let old = vocabulary("6.12");
    let mut json = serde_json::to_value(&old).unwrap();
    json["helpers"]["300"] = json["helpers"]["1"].take();
    json["helpers"].as_object_mut().unwrap().remove("1");
    let moved: Vocabulary = serde_json::from_value(json).unwrap();
    let fate = NameStatus::Renumbered { before: 1, after: 300 };
    assert_eq!(
        names::differences(&old, &moved),
        [NameChange { family: Family::Helpers, name: "map_lookup_elem".into(), fate }]
    );
}

#[test]
fn any_covers_the_bits_that_have_a_name() {
    let (old, new) = (vocabulary("6.12"), vocabulary("7.3"));
    let of_maps = names::coverage(&old, &new).into_iter().find(|coverage| coverage.kind == Kind::Map).unwrap();
    let gained = vec!["insn_array".to_owned(), "rhash".to_owned()];
    let (before, after) = ((1 << 34) - 1, (1 << 36) - 1);
    assert_eq!(of_maps, Coverage { kind: Kind::Map, before, after, gained, lost: Vec::new() });
    assert_eq!(names::coverage(&old, &old), []);
    let mut before_tokens = serde_json::to_value(&old).unwrap();
    let cmds = before_tokens["cmds"]["names"].as_array_mut().unwrap();
    cmds.retain(|known| known["name"] != "token_create");
    let before_tokens = serde_json::from_value(before_tokens).unwrap();
    assert_eq!(names::coverage(&before_tokens, &new), [], "a kernel without tokens ignores the option");
    // No program type was added between the two.
    assert!(names::coverage(&old, &new).iter().all(|coverage| coverage.kind != Kind::Prog));
}

fn compared(scenario: &str, reason: Option<&str>, changes: Vec<Change>) -> Compared {
    let reasons = reason.map(|text| Explanation::new(text, None).unwrap()).into_iter().collect();
    Compared { scenario: scenario.parse().unwrap(), reasons, changes }
}

#[test]
fn changes_of_one_kind_and_reason_form_one_group() {
    let denied = |name: &str| lacking(row("x", denied(Errno::EPERM)), &format!("maps {name}"));
    let before = sweep(&["hash", "array"], vec![denied("hash"), denied("hash"), denied("array"), denied("array")]);
    let after = sweep(&["hash", "array"], vec![row("x", allowed()); 4]);
    let changes = compare(&before, &after);
    let all = [
        compared("b/other", None, changes[..1].to_vec()),
        compared("a/one", Some("since 7"), changes.clone()),
        compared("a/two", Some("since 7"), changes[..1].to_vec()),
    ];
    let groups = groups(&all);
    assert_eq!(groups.len(), 2, "{groups:#?}");
    assert_eq!((groups[0].count, groups[0].reasons.len()), (1, 0));
    let group = &groups[1];
    assert_eq!(group.before.as_deref(), Some("denied EPERM (lacks maps {row})"));
    assert_eq!((group.after.as_deref(), group.count), (Some("allowed"), 5));
    let members: Vec<_> =
        group.members.iter().map(|m| (m.scenario.as_str(), m.names.join(" "), m.arms.join(" "))).collect();
    assert_eq!(members[0], ("a/one", "hash array".to_owned(), "granted no_token".to_owned()));
    assert_eq!(members[1], ("a/two", "hash".to_owned(), "granted".to_owned()));
}

#[test]
fn groups_are_ordered_by_effect_and_new_denials_share_one_whatever_their_cause() {
    let rows = vec![row("x", allowed()), lacking(row("x", denied(Errno::EPERM)), "maps hash")];
    let both = vec![
        row("x", denied(Errno::EPERM)),
        row("x", allowed()),
        lacking(row("x", denied(Errno::EPERM)), "maps new"),
        lacking(row("x", denied(Errno::EPERM)), "token"),
    ];
    let all = [compared("a/b", None, compare(&sweep(&["hash"], rows), &sweep(&["hash", "new"], both)))];
    let groups = groups(&all);
    let found: Vec<_> = groups.iter().map(|group| (group.effect, group.count)).collect();
    assert_eq!(found, [(Effect::Loosened, 1), (Effect::Tightened, 1), (Effect::Added, 2)]);
    assert_eq!((groups[2].before.as_deref(), groups[2].after.as_deref()), (None, Some("denied EPERM")));
    assert_eq!(groups[2].members[0].names, ["new"]);
}
