//! What is known about kernels without building them: release, names, and who builds them.

use anyhow::{Context as _, Result, anyhow};
use harness_builder::{
    kernel::{
        Catalogue, Manifest,
        manifest::{PrebuiltSource, Source},
        running,
    },
    project::Project,
    vocabularies::Vocabularies,
};
use harness_findings::input::{KernelFacts, Origin};
use harness_protocol::name::KernelName;
use harness_uapi::{permission, release::Release};

use crate::{Context, exit::Wrong};

/// The default kernels outside of a project.
const DEFAULTS: [&str; 2] = ["6.12", "7.3"];

/// The first release with bpffs; what is earlier is no release to judge a delegation for.
const WITH_BPFFS: Release = Release { major: 4, minor: 4 };

/// Returns the vocabularies of the checkout, or those that are part of the program.
///
/// # Errors
/// If a vocabulary of the checkout cannot be read.
pub(crate) fn vocabularies(context: &Context) -> Result<Vocabularies> {
    match context.checkout() {
        Some(project) => Vocabularies::read(project).map_err(Wrong::input),
        None => Ok(Vocabularies::built_in()),
    }
}

/// Returns what is known about these kernels, or about those of the project file, else the default ones, if none is named. A name is that of a manifest, a
/// release, or `host` for the running kernel.
///
/// # Errors
/// If there is no such kernel, or its release is unknown.
pub(crate) fn facts(names: &[String], context: &Context, vocabularies: &Vocabularies) -> Result<Vec<KernelFacts>> {
    let names = if names.is_empty() { &context.defaults()?.kernels } else { names };
    match context.checkout() {
        Some(project) => of_project(names, project, vocabularies),
        None => of_program(names, context, vocabularies),
    }
}

/// Whether a value of `--kernel` names kernels, so that it cannot be a file in its place.
pub(crate) fn is_named(name: &str, context: &Context) -> bool {
    let of_project = |project: &Project| {
        let catalogue = Catalogue::of_folder(&project.kernels()).ok()?;
        catalogue.named([name]).ok().map(drop)
    };
    is_running(name)
        || name == "all"
        || name.parse::<Release>().is_ok()
        || context.checkout().is_some_and(|project| of_project(project).is_some())
}

fn is_running(name: &str) -> bool {
    name == running::NAME
}

fn of_project(names: &[String], project: &Project, vocabularies: &Vocabularies) -> Result<Vec<KernelFacts>> {
    let catalogue = Catalogue::of_folder(&project.kernels()).map_err(Wrong::input)?;
    if names.is_empty() {
        let defaults = catalogue.defaults().map_err(Wrong::input)?;
        return defaults.into_iter().map(|manifest| of_manifest(manifest, vocabularies)).collect();
    }
    let mut found: Vec<KernelFacts> = Vec::new();
    for name in names {
        let has_manifest = catalogue.names().contains(&name.as_str());
        let facts = match of_release(name, vocabularies)?.filter(|_| !has_manifest) {
            Some(facts) => vec![facts],
            None => {
                let manifests = catalogue.named([name.as_str()]).map_err(Wrong::input)?;
                manifests.into_iter().map(|one| of_manifest(one, vocabularies)).collect::<Result<_>>()?
            }
        };
        add(&mut found, facts);
    }
    Ok(found)
}

/// Returns what the program itself knows: kernels with a vocabulary, and releases. An installed program looks for other names
/// among the manifests that it brings.
fn of_program(names: &[String], context: &Context, vocabularies: &Vocabularies) -> Result<Vec<KernelFacts>> {
    let defaults = DEFAULTS.map(str::to_owned);
    let mut found: Vec<KernelFacts> = Vec::new();
    for name in if names.is_empty() { &defaults[..] } else { names } {
        let all: Vec<&str> = if name == "all" { vocabularies.names().collect() } else { vec![name] };
        for name in all {
            let facts = match (vocabularies.named(name), of_release(name, vocabularies)?) {
                (Some((release, vocabulary)), _) => {
                    let origin = if name.ends_with("-debian") { Origin::Debian } else { Origin::Built };
                    vec![KernelFacts { name: name.parse()?, release, vocabulary: vocabulary.clone(), origin }]
                }
                (None, Some(facts)) => vec![facts],
                (None, None) if context.bundle().is_some() => {
                    of_project(&[name.to_owned()], context.project()?, vocabularies)?
                }
                (None, None) => {
                    let known: Vec<&str> = vocabularies.names().collect();
                    return Err(Wrong::input(anyhow!(
                        "no kernel is named `{name}`; outside of a checkout there are {}, every release such as 6.9, and `{}`",
                        known.join(", "),
                        running::NAME
                    )));
                }
            };
            add(&mut found, facts);
        }
    }
    Ok(found)
}

fn add(found: &mut Vec<KernelFacts>, more: Vec<KernelFacts>) {
    let is_new = |facts: &KernelFacts| !found.iter().any(|known| known.name == facts.name);
    let new: Vec<KernelFacts> = more.into_iter().filter(is_new).collect();
    found.extend(new);
}

/// Returns what the table of first releases says about `MAJOR.MINOR`, or about the release of the running kernel. Prints of
/// which names it is not known whether the release has them.
fn of_release(name: &str, vocabularies: &Vocabularies) -> Result<Option<KernelFacts>> {
    let is_plain = name.split('.').count() == 2 && name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let text = match (is_running(name), is_plain) {
        (true, _) => rustix::system::uname().release().to_string_lossy().into_owned(),
        (false, true) => name.to_owned(),
        (false, false) => return Ok(None),
    };
    let release: Release = text.parse().map_err(Wrong::input)?;
    if release < WITH_BPFFS {
        return Ok(None);
    }
    let (vocabulary, unknown) = vocabularies.of_release(release).context("there are no vocabularies")?;
    if !unknown.is_empty() && release >= permission::FIRST_RELEASE {
        let unknown: Vec<String> = unknown.iter().map(|(kind, name)| format!("{kind} {name}")).collect();
        eprintln!("Linux {release}: not known whether it has {}; taken as missing", unknown.join(", "));
    }
    let name: KernelName = name.parse()?;
    Ok(Some(KernelFacts { name, release, vocabulary, origin: Origin::Built }))
}

fn of_manifest(manifest: Manifest, vocabularies: &Vocabularies) -> Result<KernelFacts> {
    let name = &manifest.name;
    let unknown = || anyhow!("unknown release of kernel {name}; rename it to MAJOR.MINOR-…, such as 6.12-{name}");
    let release = release(&manifest).ok_or_else(unknown).map_err(Wrong::input)?;
    let vocabulary = vocabularies.of(&manifest, release).ok_or_else(unknown).map_err(Wrong::input)?.clone();
    Ok(KernelFacts { origin: origin(&manifest), name: manifest.name, release, vocabulary })
}

/// Returns the release that a kernel's name begins with, or the version of its package.
fn release(manifest: &Manifest) -> Option<Release> {
    let of_source = || match &manifest.source {
        Source::Debian(debian) => debian.version.parse().ok(),
        _ => None,
    };
    manifest.name.as_str().parse().ok().or_else(of_source)
}

fn origin(manifest: &Manifest) -> Origin {
    match manifest.source {
        Source::Prebuilt(PrebuiltSource::Debian(_)) => Origin::Debian,
        _ => Origin::Built,
    }
}
