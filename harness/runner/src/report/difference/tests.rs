use harness_protocol::errno::Errno;
use harness_scenario::layout::{AttemptRole, Column, SweepLayout};
use harness_snapshot::{reasons::Reasons, render};
use harness_verdict::{
    judgement::{Case, Crash, Judgement, Row},
    verdict::{Refusal, Verdict},
};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::*;
use crate::report::sample;

fn vocabulary(kernel: &str) -> Vocabulary {
    let path = format!("{}/../../kernels/vocabulary/{kernel}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn allowed(detail: Option<&str>) -> Verdict {
    Verdict::Allowed { detail: detail.map(str::to_owned) }
}

fn denied() -> Verdict {
    Verdict::Denied(Refusal { errno: Errno::EPERM, step: None })
}

fn row(text: &str, verdict: Verdict) -> Row {
    let (op, container, steps) = ("map_create".into(), "container".into(), Vec::new());
    Row {
        text: text.into(),
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

fn judgement(scenario: &str, rows: Vec<Row>) -> Judgement {
    let case = Case {
        label: String::new(),
        mounted: Vec::new(),
        disagreements: Vec::new(),
        units: Vec::new(),
        tokens: Vec::new(),
        rows,
    };
    Judgement {
        scenario: scenario.parse().unwrap(),
        cases: vec![case],
        grid: None,
        helpers: None,
        crash: None,
        splats: vec![],
    }
}

/// A sweep with this number of rows, all with this verdict.
fn sweep(scenario: &str, rows: usize, verdict: &Verdict) -> Judgement {
    let names: Vec<String> = (0..rows).map(|at| format!("type_{at}")).collect();
    let column = |name: &str| Column { name: name.into(), head: name.into(), meaning: String::new() };
    let cells = (0..rows * 2).map(|at| Row {
        part: AttemptRole::Cell { row: at / 2, column: at % 2 },
        ..row(&format!("map_create {}", names[at / 2]), verdict.clone())
    });
    let judgement = judgement(scenario, cells.collect());
    let grid =
        SweepLayout { rows: names, columns: ["granted", "no_token"].map(column).to_vec(), ..SweepLayout::default() };
    Judgement { grid: Some(Box::new(grid)), ..judgement }
}

fn result(kernel: &str, scenario: &str, status: Status) -> ScenarioResult {
    ScenarioResult {
        environment: sample::environment(kernel),
        scenario: scenario.parse().unwrap(),
        summary: "Says so".into(),
        took: None,
        status,
    }
}

fn judged(kernel: &str, judgement: Judgement) -> ScenarioResult {
    let recorded = Some(render::render(&judgement));
    result(kernel, judgement.scenario.clone().as_str(), Status::judged(judgement, recorded))
}

const REASONS: &str = "[[difference]]\nreason = 'Because | so'\nkernels = ['7.3']\nscenarios = ['a/one', 'a/none']\n\
                       commit = '0123456789abcdef0123456789abcdef01234567'\n";

fn own() -> OwnSnapshots {
    let kernel = || std::iter::once(Owner::kernel(&"7.3".parse().unwrap())).collect();
    [("a/one", kernel()), ("a/none", kernel())].into_iter().map(|(name, own)| (name.parse().unwrap(), own)).collect()
}

fn difference(results: &[ScenarioResult]) -> Difference {
    let (old, new) = (vocabulary("6.12"), vocabulary("7.3"));
    let side = |kernel: &str, vocabulary| Side {
        kernel: kernel.parse().unwrap(),
        alike: Vec::new(),
        release: format!("{kernel}.1"),
        vocabulary,
    };
    let reasons = Reasons::parse("differences.toml", REASONS.as_bytes()).unwrap();
    Difference::of([&side("6.12", &old), &side("7.3", &new)], results, &reasons, &own())
}

/// Results of every kind: texts with Markdown's special characters, long lists, and scenarios without verdicts.
fn all_kinds() -> Vec<ScenarioResult> {
    let wild = "map_create `a|b` <b> *x* [l](u) __MAX a_b \u{1b}[2J # & \\";
    let skipped = || Status::Skipped { reason: "it is for >=7.0 | only".into() };
    let fault = Status::Fault { message: "left a mount".into() };
    let crash = Crash { how: "the VM died".into(), console: vec!["panic".into()] };
    let crashed = Judgement { crash: Some(crash), ..judgement("a/crash", vec![row("x", Verdict::Crashed)]) };
    vec![
        judged("6.12", sweep("a/big", 9, &denied())),
        judged("7.3", sweep("a/big", 12, &allowed(None))),
        judged("6.12", judgement("a/crash", vec![row("x", allowed(None))])),
        judged("7.3", crashed),
        result("6.12", "a/fault", fault),
        judged("7.3", judgement("a/fault", vec![row("x", denied())])),
        result("6.12", "a/neither", skipped()),
        result("7.3", "a/neither", skipped()),
        judged("6.12", judgement("a/none", vec![row("x", denied())])),
        judged("7.3", judgement("a/none", vec![row("x", denied())])),
        judged("6.12", judgement("a/one", vec![row(wild, denied()), row("told", allowed(Some("a|b")))])),
        judged("7.3", judgement("a/one", vec![row(wild, allowed(None)), row("told", allowed(Some("c|d")))])),
        result("6.12", "a/skipped", skipped()),
        judged("7.3", judgement("a/skipped", vec![row("x", denied())])),
    ]
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn newly_allowed_attempts_come_first_with_their_reason() {
    let text = plain(&text(&difference(&all_kinds()), Extent::Abridged));
    insta::assert_snapshot!("text", text);
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn everything_is_shown_if_requested() {
    let difference = difference(&all_kinds());
    let whole = plain(&text(&difference, Extent::Whole));
    insta::assert_snapshot!("whole_text", whole);
}

#[test]
fn a_scenario_that_cannot_be_compared_makes_it_incomplete() {
    assert!(difference(&all_kinds()).is_incomplete());
    let same = [
        judged("6.12", judgement("a/b", vec![row("x", denied())])),
        judged("7.3", judgement("a/b", vec![row("x", denied())])),
    ];
    let same = difference(&same);
    assert!(!same.is_incomplete() && !same.has(Effect::Loosened));
    // The names of the two kernels still differ.
    assert!(same.is_any());
    insta::assert_snapshot!(same.sentence(), @"1 scenario compared: no difference");
}

#[test]
fn kernels_with_the_same_snapshot_have_no_reason() {
    let sides =
        [("6.12", None), ("7.3", None), ("7.3-debian", Some("7.3"))].map(|(kernel, alike): (&str, Option<&str>)| {
            Lineage {
                environment: sample::environment(kernel),
                alike: alike.iter().map(|name| name.parse().unwrap()).collect(),
            }
        });
    let reasons = Reasons::parse("differences.toml", REASONS.as_bytes()).unwrap();
    let [old, new, debian] = &sides;
    let count =
        |pair: [&Lineage; 2]| explanations(&pair.map(Clone::clone), &"a/one".parse().unwrap(), &reasons, &own()).len();
    assert_eq!([count([old, new]), count([debian, old]), count([new, debian])], [1, 1, 0]);
}

#[test]
fn images_are_named_if_there_are_several() {
    let on = |environment: &str, scenario: &str| judged(environment, judgement(scenario, vec![row("x", denied())]));
    let one = [on("6.12", "a/one"), on("7.3", "a/one")];
    insta::assert_snapshot!(difference(&one).sentence(), @"1 scenario compared: no difference");
    let unit = ["6.12@systemd-262", "7.3@systemd-262"].map(|environment| on(environment, "b/unit"));
    let two = difference(&[&one[..], &unit[..]].concat());
    insta::assert_snapshot!(two.sentence(), @"2 scenarios compared: no difference; in images minimal, systemd-262");
    let document: serde_json::Value = serde_json::from_str(&json(&two).unwrap()).unwrap();
    assert_eq!(document["scenarios"][1]["image"], "systemd-262");
}

/// Returns the cells of each row of each table, as a reader of the rendered page sees them.
fn tables(markdown: &str) -> Vec<Vec<Vec<String>>> {
    let mut tables: Vec<Vec<Vec<String>>> = Vec::new();
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        let rows = tables.last_mut();
        match (event, rows) {
            (Event::Start(Tag::Table(_)), _) => tables.push(Vec::new()),
            (Event::Start(Tag::TableHead | Tag::TableRow), Some(rows)) => rows.push(Vec::new()),
            (Event::Start(Tag::TableCell), Some(rows)) => rows.last_mut().unwrap().push(String::new()),
            (Event::Text(text), Some(rows)) => {
                if let Some(cell) = rows.last_mut().and_then(|row| row.last_mut()) {
                    cell.push_str(&text);
                }
            }
            (Event::Start(tag), _) => {
                assert!(!matches!(tag, Tag::Link { .. } | Tag::Emphasis | Tag::Strong), "{tag:?} in\n{markdown}");
            }
            (Event::InlineHtml(html), _) => assert_eq!(&*html, "<br>"),
            (Event::End(TagEnd::Table), _) | (_, _) => {}
        }
    }
    tables
}

#[test]
fn all_rows_of_a_table_have_the_same_number_of_cells() {
    for extent in [Extent::Abridged, Extent::Whole] {
        let text = markdown(&difference(&all_kinds()), extent);
        let tables = tables(&text);
        assert!(tables.len() >= 6, "{}\n{text}", tables.len());
        for table in &tables {
            assert!(table.len() > 1 && table.iter().all(|row| row.len() == table[0].len()), "{table:#?}\n{text}");
        }
        let cells: Vec<&String> = tables.iter().flatten().flatten().collect();
        let wild = "map_create `a|b` <b> *x* [l](u) __MAX a_b  [2J # & \\";
        assert!(cells.iter().any(|cell| cell.contains(wild)), "{cells:#?}");
        assert!(cells.iter().any(|cell| cell.contains("Because | so (commit 0123456789ab")), "{cells:#?}");
        assert!(cells.iter().any(|cell| *cell == "allowed: a|b"), "{cells:#?}");
    }
}

#[test]
fn abridged_lists_are_repeated_in_full_in_a_collapsed_section() {
    let text = markdown(&difference(&all_kinds()), Extent::Abridged);
    insta::assert_snapshot!("markdown", text);
    let (first, rest) = text.split_once("<details>").unwrap();
    assert!(first.contains("and 5 more") && !first.contains("type_8"), "{first}");
    let (whole, _) = rest.split_once("</details>").unwrap();
    assert!(whole.contains("type_8"), "{whole}");
    // What is not abridged is not repeated.
    assert_eq!(text.matches("<details>").count(), 1, "{text}");
    assert!(!markdown(&difference(&all_kinds()), Extent::Whole).contains("<details>"));
}

#[test]
fn the_document_matches_its_schema() {
    let document: serde_json::Value = serde_json::from_str(&json(&difference(&all_kinds())).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let errors: Vec<String> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(document["format"], 2);
    let changes = document["scenarios"].as_array().unwrap().iter().flat_map(|s| s["changes"].as_array().unwrap());
    let loosened = changes.clone().filter(|change| change["effect"] == "loosened").count();
    assert_eq!((loosened, changes.count()), (19, 27));
    let mut wrong = document.clone();
    wrong["scenarios"][0]["changes"][0]["effect"] = "improved".into();
    assert!(!validator.is_valid(&wrong));
    wrong = document;
    wrong.as_object_mut().unwrap().remove("any");
    assert!(!validator.is_valid(&wrong));
}

#[test]
fn the_committed_schema_is_that_of_the_types() {
    let path = format!("{}/../../docs/diff.schema.json", env!("CARGO_MANIFEST_DIR"));
    let committed: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(committed, schema(), "write it with `cargo xtask schema`");
}
