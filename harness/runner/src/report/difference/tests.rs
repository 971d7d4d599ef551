use harness_protocol::errno::Errno;
use harness_scenario::layout::{AttemptRole, Column, SweepLayout};
use harness_snapshot::reasons::Reasons;
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
    Row { text: text.into(), op, container, expect: None, verdict, cause: None, part: AttemptRole::Line, steps }
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
    Judgement { scenario: scenario.parse().unwrap(), cases: vec![case], grid: None, helpers: None, crash: None }
}

/// A sweep over so many rows, all with this verdict.
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
    result(kernel, judgement.scenario.clone().as_str(), Status::Judged { judgement, recorded })
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

/// Something of every kind: texts that Markdown would take for marks, long lists, and scenarios without verdicts.
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
fn what_became_allowed_is_on_top_with_its_reason() {
    let text = plain(&text(&difference(&all_kinds()), Extent::Abridged));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "6.12 (6.12.1) → 7.3 (7.3.1)  4 scenarios compared: 3 differ in 27 places; 1 scenario for neither kernel"
    );
    assert_eq!(lines[2], "loosened: denied, now allowed  19");
    assert_eq!(lines[3], "  denied EPERM → allowed  18 times");
    let big = "    a/big  type_0, type_1, type_2, type_3 and 5 more; arms granted, no_token";
    assert_eq!(lines[4], big);
    assert!(text.contains("    why: [1] Because | so (commit 0123456789ab)\n"), "{text}");
    assert_eq!(text.matches("Because | so").count(), 1, "{text}");
    assert!(text.contains("    why: [1]\n") && text.contains("    why: not recorded\n"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    assert!(text.contains("  6.12: skipped: it is for >=7.0 | only; 7.3: judged  once\n    a/skipped\n"), "{text}");
    assert!(text.contains("  6.12: not judged: left a mount; 7.3: judged  once\n    a/fault\n"), "{text}");
    assert!(text.contains("  6.12: judged; 7.3: crashed: the VM died  once\n    a/crash\n"), "{text}");
    assert!(text.contains("  map types added: insn_array (34), rhash (35)\n"), "{text}");
    assert!(text.contains("  delegate_maps: 34 names → 36, 0x3ffffffff → 0xfffffffff +insn_array +rhash\n"), "{text}");
    assert!(!text.contains("a/none") && !text.contains("a/neither"), "{text}");
}

#[test]
fn everything_is_shown_if_it_is_asked_for() {
    let difference = difference(&all_kinds());
    let whole = plain(&text(&difference, Extent::Whole));
    assert!(whole.contains("type_7, type_8; arms granted, no_token\n"), "{whole}");
    assert!(!whole.contains(" more"), "{whole}");
}

#[test]
fn what_cannot_be_compared_is_no_comparison() {
    assert!(difference(&all_kinds()).is_incomplete());
    let same = [
        judged("6.12", judgement("a/b", vec![row("x", denied())])),
        judged("7.3", judgement("a/b", vec![row("x", denied())])),
    ];
    let same = difference(&same);
    assert!(!same.is_incomplete() && !same.has(Effect::Loosened));
    // The names of the two kernels still differ.
    assert!(same.is_any());
    assert!(plain(&text(&same, Extent::Abridged)).contains("1 scenario compared: no difference"));
}

#[test]
fn one_snapshot_for_both_is_no_reason() {
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
fn the_images_are_told_where_there_are_several() {
    let on = |environment: &str, scenario: &str| judged(environment, judgement(scenario, vec![row("x", denied())]));
    let one = [on("6.12", "a/one"), on("7.3", "a/one")];
    assert!(!difference(&one).sentence().contains("image"));
    let unit = ["6.12@systemd-262", "7.3@systemd-262"].map(|environment| on(environment, "b/unit"));
    let two = difference(&[&one[..], &unit[..]].concat());
    assert!(two.sentence().ends_with("; in images minimal, systemd-262"), "{}", two.sentence());
    let document: serde_json::Value = serde_json::from_str(&json(&two).unwrap()).unwrap();
    assert_eq!(document["scenarios"][1]["image"], "systemd-262");
}

/// The cells of each row of each table, as a reader of the rendered page sees them.
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
fn tables_have_as_many_cells_in_each_row_whatever_is_in_them() {
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
fn what_tables_abridge_is_collapsed_below_them() {
    let text = markdown(&difference(&all_kinds()), Extent::Abridged);
    let (first, rest) = text.split_once("<details>").unwrap();
    assert!(first.contains("and 5 more") && !first.contains("type_8"), "{first}");
    let (whole, _) = rest.split_once("</details>").unwrap();
    assert!(
        whole.starts_with("\n<summary>Those with long lists, in full</summary>\n\n|") && whole.contains("type_8"),
        "{whole}"
    );
    // Where nothing is abridged nothing is told twice.
    assert_eq!(text.matches("<details>").count(), 1, "{text}");
    assert!(!markdown(&difference(&all_kinds()), Extent::Whole).contains("<details>"));
}

#[test]
fn the_document_is_what_its_schema_says() {
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
