use std::fs;

use harness_builder::{
    cache::{Area, Cache},
    image,
    progress::Progress,
    project::Project,
};

use super::*;
use crate::{
    report::RunStatus,
    store::{Freshness, RunId, Store},
};

/// Selects scenarios of this project, with an empty cache in `folder`.
fn selection(folder: &Path, kernels: &[&str], filter: &str) -> Selection {
    let project = Project::find().unwrap();
    let store = Store::new(folder.join("store"), RunId::current(), Freshness::Any);
    let cache = Cache::at(folder).unwrap();
    let resources = Resources::in_cache(project.clone(), cache, store, Progress::silent()).unwrap();
    let runner = Runner::open(&project, &project.scenarios()).unwrap();
    let scenarios = runner.check(&runner.suite().select(filter).unwrap()).unwrap();
    let (default_images, all_images) = (resources.default_images().unwrap(), resources.images(["all"]).unwrap());
    Selection {
        runner,
        kernels: kernels.iter().map(|name| name.parse().unwrap()).collect(),
        images: Images::Meant(default_images.clone()),
        default_images,
        all_images,
        scenarios,
        filters: vec![filter.to_owned()],
        mode: Mode::Print,
        resources,
    }
}

/// Returns the statuses of the known results, without duplicates, and the worst of them.
fn known(selection: &Selection) -> (Vec<String>, RunStatus) {
    let results = selection.known_results().unwrap();
    assert_eq!(results.len(), selection.scenarios.len() * selection.kernels.len());
    let line = |result: &ScenarioResult| match &result.status {
        Status::Skipped { reason } => format!("{}: skipped: {reason}", result.environment),
        Status::NotRun { cause } => format!("{}: not run: {cause}", result.environment),
        other => panic!("{other:?}"),
    };
    let lines = results.iter().map(line).collect::<BTreeSet<String>>().into_iter().collect();
    (lines, results.iter().map(ScenarioResult::run_status).max().unwrap())
}

/// Records that the packages of the image for units have left the mirror.
fn record_gone(selection: &Selection) -> ImageName {
    let image = selection.resources.image_for_units().unwrap().unwrap();
    let key = image::key(&selection.resources.images.get(image.as_str()).unwrap());
    selection.resources.store().remember_gone(&image, &key, "MIRROR has no p=1".to_owned()).unwrap();
    image
}

#[test]
fn without_a_stored_result_nothing_is_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let (lines, worst) = known(&selection(folder.path(), &["7.3"], "systemd/*"));
    insta::assert_snapshot!(lines.join("\n"), @"7.3@systemd-262: not run: no stored result with image systemd-262; run the scenario, or merge a store that has one");
    assert_eq!(worst, RunStatus::Fault);
    let (lines, worst) = known(&selection(folder.path(), &["host"], "*"));
    insta::assert_snapshot!(lines.join("\n"), @"host@host: not run: no stored result with image host; run the scenario, or merge a store that has one");
    assert_eq!(worst, RunStatus::Fault);
}

#[test]
fn only_an_image_that_is_recorded_as_gone_is_skipped() {
    let folder = tempfile::tempdir().unwrap();
    record_gone(&selection(folder.path(), &["7.3"], "systemd/*"));
    let (lines, worst) = known(&selection(folder.path(), &["7.3"], "systemd/*"));
    insta::assert_snapshot!(lines.join("\n"), @"7.3@systemd-262: skipped: image systemd-262 cannot be built: MIRROR has no p=1");
    assert_eq!(worst, RunStatus::AsRecorded);
    let (lines, worst) = known(&selection(folder.path(), &["7.3", "host"], "token/*"));
    assert!(lines.iter().all(|line| line.contains("not run")), "{lines:?}");
    assert_eq!(worst, RunStatus::Fault);
}

#[test]
fn a_named_image_that_is_gone_is_not_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let mut selection = selection(folder.path(), &["7.3"], "systemd/*");
    selection.images = Images::Named(vec![record_gone(&selection)]);
    assert_eq!(known(&selection).1, RunStatus::Fault);
}

#[test]
fn a_built_image_is_no_longer_gone() {
    let folder = tempfile::tempdir().unwrap();
    let selection = selection(folder.path(), &["7.3"], "systemd/*");
    let image = record_gone(&selection);
    assert!(selection.resources.gone_image(&image).unwrap().is_some());
    let key = image::key(&selection.resources.images.get(image.as_str()).unwrap());
    fs::create_dir_all(selection.resources.cache().folder(Area::Images).unwrap().join(format!("{image}-{key}")))
        .unwrap();
    assert_eq!(selection.resources.gone_image(&image).unwrap(), None);
    selection.resources.build_image(&image).unwrap();
    assert_eq!(selection.resources.store().gone(&image, &key), None);
}
