//! The HTML page of findings: valid, and it says all that the text says.

#[allow(dead_code, reason = "each test uses a part of it")]
mod kernels;

use harness_findings::report::{self, ConfigurationReport, Shown};
use html5ever::{parse_document, tendril::TendrilSink};
use kernels::checked;
use markup5ever_rcdom::{Handle, NodeData, RcDom};

fn page(report: &ConfigurationReport) -> String {
    report::page(&[Shown { report, grants: Some("it grants <b>this</b>".to_owned()) }], "1")
}

fn words(page: &str) -> String {
    fn text(node: &Handle, all: &mut String) {
        match &node.data {
            NodeData::Text { contents } => all.push_str(&contents.borrow()),
            NodeData::Element { name, .. } if matches!(&*name.local, "style" | "script") => {}
            _ => node.children.borrow().iter().for_each(|child| text(child, all)),
        }
    }
    let parsed = parse_document(RcDom::default(), Default::default()).one(page);
    assert!(parsed.errors.borrow().is_empty(), "{:?}", parsed.errors.borrow());
    let mut all = String::new();
    text(&parsed.document, &mut all);
    all.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_finding_is_on_the_page_with_its_reason_and_fix() {
    let unit = "[Service]\nPrivateBPF=yes\nBPFDelegateCommands=BPFMapCreat\nDescription=<img src=x>\u{1b}[31m\n";
    let report = checked("<script>a.service", unit, &["6.12", "7.3"]);
    assert!(report.findings.len() >= 2, "{:?}", report.findings);
    let page = page(&report);
    let shown = words(&page);
    for finding in &report.findings {
        let fix = finding.fix.as_ref().map_or("", |fix| &fix.words);
        for text in [finding.message.as_str(), &finding.why, &finding.code.to_string(), fix] {
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(shown.contains(&text), "{text}\n{shown}");
        }
    }
    assert!(shown.contains("6.12") && shown.contains("7.3") && shown.contains("it grants <b>this</b>"), "{shown}");
    assert_eq!(page.matches("<script").count(), 1);
    assert!(!page.contains("<img") && !page.contains('\u{1b}'));
}
