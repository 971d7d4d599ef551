//! Writes every form to files, for readers that are not ours: `.ci/readers` reads them.

use std::{fs, path::Path};

use harness_scenario::layout::{AttemptRole, Column, SweepLayout};
use harness_snapshot::reasons::Explanation;
use harness_verdict::{judgement::Row, reason::Reason};

use super::{Baseline, By, EnvironmentLabel, Results, html, json_lines, junit, kcidb, ktap, markdown, sample, site};

/// Sixteen kernels and 331 scenarios, of which every tenth differs between all kernels.
pub(super) fn sixteen_kernels() -> Results {
    let mut results = sample::results();
    let label = results.environments[0].clone();
    let environment = |kernel: usize| sample::environment(&format!("k{kernel}"));
    let labels = (0..16).map(|kernel| EnvironmentLabel { environment: environment(kernel), ..label.clone() });
    results.environments = labels.collect();
    let result = |scenario: usize, kernel: usize| {
        let rows = (0..16).map(|attempt| {
            let differs = attempt == kernel && scenario.is_multiple_of(10);
            let verdict = if differs { sample::denied() } else { sample::allowed() };
            sample::row(&format!("prog_load sched_cls expected cgroup_inet_ingress number {attempt}"), None, verdict)
        });
        sample::as_recorded(&format!("k{kernel}"), &format!("folder/scenario-{scenario}"), rows.collect())
    };
    let pairs = (0..331).flat_map(|scenario| (0..16).map(move |kernel| (scenario, kernel)));
    results.results = pairs.map(|(scenario, kernel)| result(scenario, kernel)).collect();
    results
}

/// A sweep on two kernels: the newer one has another name, and needs no capability for the old one.
pub(super) fn sweeps() -> Results {
    let arms = ["granted", "no_type", "no_token", "no_bpf", "nothing"];
    let column = |name: &&str| Column { name: (*name).to_owned(), head: (*name).to_owned(), meaning: String::new() };
    let sweep = |kernel: &str, rows: &[&str], lacks: &[(usize, &str)]| {
        let cell = |row: usize, at: usize| {
            let gift = lacks.iter().find(|(denied, _)| *denied == at).map(|(_, gift)| *gift);
            let verdict = if gift.is_some() || at == 4 { sample::denied() } else { sample::allowed() };
            let cause = gift.map(|gift| Reason::Missing { gifts: vec![gift.to_owned()], obstacles: vec![] });
            Row { cause, part: AttemptRole::Cell { row, column: at }, ..sample::row("map_create", None, verdict) }
        };
        let cells = (0..rows.len()).flat_map(|row| (0..arms.len()).map(move |at| (row, at)));
        let cells = cells.map(|(row, at)| cell(row, at)).collect();
        let mut result = sample::as_recorded(kernel, "sweeps/map-types", cells);
        sample::change(&mut result, |judgement| {
            let rows = rows.iter().map(|row| (*row).to_owned()).collect();
            let columns = arms.iter().map(column).collect();
            let grid = SweepLayout { of: "map types".to_owned(), rows, columns, ..SweepLayout::default() };
            judgement.grid = Some(Box::new(grid));
        });
        result
    };
    let mut results = sample::results();
    results.environments[1].release = Some("7.3.4".to_owned());
    let older = [(1, "maps hash"), (2, "token"), (3, "CAP_BPF")];
    results.results = vec![sweep("6.12", &["hash"], &older), sweep("7.3", &["hash", "../new"], &older[..2])];
    let key = (results.results[1].scenario.clone(), sample::environment("7.3"));
    let reason = |text: &str| Explanation::new(text, None).unwrap();
    results.explanations.insert(key, vec![reason("BPF_HASH needs less"), reason("Something is new")]);
    results
}

/// Results with every status, and with a baseline.
fn every_status() -> Results {
    let mut results = sample::results();
    results.results.push(sample::not_run("7.3", "vm/none"));
    let lines = json_lines(&results).unwrap();
    let now = Baseline::read(&lines).unwrap();
    let before = Results { results: results.results[..4].to_vec(), ..results.clone() };
    let before = Baseline::read(&json_lines(&before).unwrap()).unwrap();
    results.compared = Some(Baseline::compare(&before, &now));
    results
}

#[test]
#[ignore = "its files are for readers that are not ours"]
fn forms_for_foreign_readers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/readers/forms");
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let origin = "bpf_token_harness".parse().unwrap();
    for (name, results) in
        [("every-status", every_status()), ("sixteen-kernels", sixteen_kernels()), ("sweeps", sweeps())]
    {
        write(&format!("{name}.html"), &html(&results));
        write(&format!("{name}.xml"), &junit(&results).unwrap());
        write(&format!("{name}.ktap"), &ktap(&results));
        write(&format!("{name}.kcidb.json"), &kcidb(&results, &origin).unwrap());
        write(&format!("{name}.md"), &markdown(&results, By::Folder));
        for page in site(&results) {
            write(&format!("{name}/{}", page.path), &page.text);
        }
    }
}
