use html5ever::{parse_document, tendril::TendrilSink};
use markup5ever_rcdom::{Handle, NodeData, RcDom};

use super::*;
use crate::report::{json_lines, sample};

/// Parses a page, and fails if a browser would have to guess.
fn parse(page: &str) -> RcDom {
    let parsed = parse_document(RcDom::default(), Default::default()).one(page);
    assert!(parsed.errors.borrow().is_empty(), "{:?}", parsed.errors.borrow());
    parsed
}

fn text(node: &Handle, all: &mut String) {
    match &node.data {
        NodeData::Text { contents } => all.push_str(&contents.borrow()),
        NodeData::Element { name, .. } if matches!(&*name.local, "style" | "script") => {}
        _ => node.children.borrow().iter().for_each(|child| text(child, all)),
    }
}

fn words(page: &str) -> String {
    let mut all = String::new();
    text(&parse(page).document, &mut all);
    all.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_page_says_all_that_the_lines_of_json_say() {
    let mut results = sample::results();
    results.results.push(sample::not_run("7.3", "vm/none"));
    results.results.extend(sample::splats().results);
    let page = words(&html(&results));
    let mut checked = 0;
    for line in json_lines(&results).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        for key in ["scenario", "text", "errno", "detail", "cause", "summary", "message", "reason", "how", "release"] {
            if let Some(value) = line[key].as_str() {
                let value = one_line(value).split_whitespace().collect::<Vec<_>>().join(" ");
                let leaf = value.rsplit('/').next().filter(|_| key == "scenario").unwrap_or(&value);
                assert!(page.contains(leaf), "{key}: {leaf}\n{page}");
                checked += 1;
            }
        }
    }
    assert!(checked >= 60, "{checked}");
}

#[test]
fn what_others_wrote_is_text() {
    for page in site(&sample::results()) {
        parse(&page.text);
        assert!(!page.text.contains("<img"), "{}", page.text);
        assert_eq!(page.text.matches("<script").count(), 1);
        assert!(!page.text.contains(|c: char| c.is_control() && c != '\n'));
    }
}

#[test]
fn kernels_with_the_same_verdicts_share_a_letter_and_a_column() {
    let row = || sample::row("one", None, sample::allowed());
    let other = || sample::row("one", None, sample::denied());
    let mut results = sample::results();
    results.results = vec![
        sample::as_recorded("6.12", "a/b", vec![row()]),
        sample::as_recorded("7.3", "a/b", vec![other()]),
        sample::as_recorded("6.12", "a/c", vec![row()]),
        sample::as_recorded("7.3", "a/c", vec![row()]),
    ];
    let all = scenarios(&results);
    let letters = |at: usize| -> Vec<Option<char>> {
        results.environments.iter().map(|label| all[at].on(&label.environment).unwrap().1).collect()
    };
    assert_eq!((letters(0), all[0].differs()), (vec![Some('A'), Some('B')], true));
    assert_eq!((letters(1), all[1].differs()), (vec![None, None], false));
    let page = words(&html(&results));
    assert!(page.contains("A: 6.12") && page.contains("B: 7.3") && page.contains("6.12, 7.3"), "{page}");
}

#[test]
fn sixteen_kernels_that_all_differ_fit_a_page() {
    let results = super::super::foreign::sixteen_kernels();
    let page = html(&results);
    assert!(page.len() < 3_000_000, "{} bytes", page.len());
    assert_eq!(page.matches("<details").count(), 331);
}

#[test]
fn operations_have_their_bits_capabilities_and_reasons() {
    let results = super::super::foreign::sweeps();
    let pages = site(&results);
    let paths: Vec<&str> = pages.iter().map(|page| page.path.as_str()).collect();
    let hash = "permissions/map-types/hash.html";
    assert_eq!(paths, ["index.html", "permissions/index.html", hash, "permissions/map-types/---new.html"]);
    let hash = words(&pages[2].text);
    assert!(hash.contains("On the newest: with a token: maps hash."), "{hash}");
    assert!(hash.contains("with a token maps hash CAP_BPF → ✓ with a token maps hash"), "{hash}");
    assert!(hash.contains("BPF_HASH needs less") && !hash.contains("Something is new"), "{hash}");
    let new = words(&pages[3].text);
    assert!(new.contains("Since 7.3; not in 6.12") && new.contains("Something is new"), "{new}");
    pages.iter().for_each(|page| drop(parse(&page.text)));
    assert!(words(&html(&results)).contains("2 of 2 differ between these kernels"));
}
