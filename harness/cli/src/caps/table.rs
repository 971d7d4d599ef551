//! Writes `docs/caps.md`: the minimal grants of objects that Debian ships, proved on two kernels.

use std::{collections::BTreeSet, fmt::Write as _, process::ExitCode};

use anyhow::{Context, Result};
use harness_builder::{
    corpus::{self, PackageCache},
    digest::Sha256,
};
use harness_findings::input::KernelFacts;
use harness_objects::{Loader, Named};
use harness_program::NAME;
use harness_protocol::name::KernelName;
use harness_runner::{
    proof::needs::{BuiltKernel, Case, Proved, needs_on, prove},
    resources::Resources,
};
use harness_uapi::{
    names,
    permission::{Element, Grant},
    vocabulary::Kind,
};

use crate::{
    atomic_write,
    proving::{Proving, blame},
};

/// The maximum number of objects to prove for each file pattern.
const EACH: usize = 6;

/// An object of a package.
struct Entry {
    package: String,
    named: Named,
}

/// Fetches the packages, computes and proves what their objects need, and writes the page.
pub(super) fn write(proving: &Proving, resources: &Resources, kernels: &[KernelFacts]) -> Result<ExitCode> {
    let environments = proving.environments(resources, kernels)?;
    let types = environments.iter().map(BuiltKernel::types).collect::<Result<Vec<_>, _>>()?;
    let (entries, counted) = entries(resources)?;
    let needs = |entry: &Entry| needs_on(&environments, &types, &[entry.named.plain()]);
    let cases: Vec<Case<'_>> = entries
        .iter()
        .map(|entry| Case { name: entry.named.name.clone(), objects: vec![&entry.named], needs: needs(entry) })
        .collect();
    let proved = prove(&environments, &cases).map_err(blame)?;
    let names: Vec<&KernelName> = kernels.iter().map(|kernel| &kernel.name).collect();
    let page = page(&entries, &counted, &names, &proved);
    let path = resources.project().root().join("docs/caps.md");
    atomic_write::write(&path, &page)?;
    println!("wrote {}", path.display());
    Ok(ExitCode::SUCCESS)
}

/// The number of objects in the packages, and of different ones.
struct Counted {
    packages: usize,
    objects: usize,
    different: usize,
}

fn entries(resources: &Resources) -> Result<(Vec<Entry>, Counted)> {
    let packages = corpus::list(&resources.project().corpus())?;
    let mut cache = PackageCache::new(resources.cache(), resources.progress());
    let (mut entries, mut seen, mut objects) = (Vec::new(), BTreeSet::new(), 0);
    for package in &packages {
        for (_, files) in cache.files(package)? {
            let mut taken = 0;
            for file in files {
                let what = || format!("{} of {}", file.path, package.name);
                for named in Named::of_bytes(&file.path, file.bytes.clone(), Some(Loader::LIBBPF)).with_context(what)? {
                    objects += 1;
                    let is_new = seen.insert(Sha256::of_parts([named.bytes.as_slice()]).to_string());
                    if is_new && taken < EACH {
                        taken += 1;
                        entries.push(Entry { package: format!("{} {}", package.name, package.version), named });
                    }
                }
            }
        }
    }
    let counted = Counted { packages: packages.len(), objects, different: seen.len() };
    Ok((entries, counted))
}

fn page(entries: &[Entry], counted: &Counted, kernels: &[&KernelName], proved: &[Vec<Proved>]) -> String {
    let on_all = |number: usize, is: fn(&Proved) -> bool| proved.iter().all(|of| is(&of[number]));
    let minimal = |number: &usize| on_all(*number, |one| matches!(one, Proved::Minimal { .. }));
    let agreed = |number: &usize| on_all(*number, Proved::agrees);
    let on_one = |number: &usize| proved.iter().any(|of| matches!(of[*number], Proved::Minimal { .. }));
    let is_sized = |number: &usize| !entries[*number].named.object.sizes.is_empty();
    let all = 0..entries.len();
    let mut text = format!(
        "# What real objects need\n\nThe least delegation and capabilities under which libbpf 1.7 loads objects of Debian \
         packages: {} packages with {} objects, {} of them distinct; at most {EACH} are tried for each pattern of files. \
         `{NAME} caps` computed each grant from the object alone and tried it on {}. `proved` in a kernel's column means \
         that the object loads with the listed grant and does not load if any one element is removed. `for nobody` means \
         that not even root loads the object as it is: its program would change it first, or the kernel lacks its attach \
         target. Where a map has no size, because its program would set one, the least that a kernel takes is assumed. Written by `{NAME} caps --table`.\n\n{} objects were tried. All kernels proved a least grant for {} of \
         them; {} of these grants are exactly the computed one, or that with CAP_PERFMON added where only the verifier can \
         tell. Sizes were assumed for {} objects, of which {} are proved on at least one kernel.\n\n",
        counted.packages,
        counted.objects,
        counted.different,
        kernels.iter().map(|kernel| kernel.as_str()).collect::<Vec<_>>().join(" and "),
        entries.len(),
        all.clone().filter(minimal).count(),
        all.clone().filter(agreed).count(),
        all.clone().filter(is_sized).count(),
        all.filter(is_sized).filter(on_one).count(),
    );
    let heads: Vec<&str> = kernels.iter().map(|kernel| kernel.as_str()).collect();
    let _ = writeln!(
        text,
        "| object | programs | sizes assumed | commands | maps | programs' types | attach types | inside | {} |",
        heads.join(" | ")
    );
    let _ = writeln!(text, "| --- | ---: | --- | --- | --- | --- | --- | --- |{}", " --- |".repeat(kernels.len()));
    let mut package = "";
    for (number, entry) in entries.iter().enumerate() {
        if entry.package != package {
            package = &entry.package;
            let _ = writeln!(text, "| **{package}** | | | | | | | |{}", " |".repeat(kernels.len()));
        }
        row(&mut text, entry, proved.iter().map(|of| &of[number]).collect());
    }
    text
}

fn row(text: &mut String, entry: &Entry, proved: Vec<&Proved>) {
    let grant = proved.iter().rev().find_map(|one| one.grant());
    let cells: Vec<String> = match grant {
        Some(grant) => Kind::ALL.into_iter().map(|kind| names_of(grant, kind)).chain([inside(grant)]).collect(),
        None => vec![String::new(); 5],
    };
    let programs = entry.named.object.programs.len();
    let results: Vec<String> = proved.iter().map(|one| result(one, grant)).collect();
    let name = entry.named.name.replace('|', "\\|");
    let _ = writeln!(
        text,
        "| `{name}` | {programs} | {} | {} | {} |",
        sizes(entry),
        cells.join(" | "),
        results.join(" | ")
    );
}

/// Lists the maps whose sizes are assumed.
fn sizes(entry: &Entry) -> String {
    let sizes = entry.named.object.sizes.iter().map(|size| format!("{}={}", size.map, size.max_entries));
    sizes.collect::<Vec<_>>().join(", ")
}

fn names_of(grant: &Grant, kind: Kind) -> String {
    let bits = grant.elements().filter_map(|element| match element {
        Element::Bit(bit) if bit.kind == kind => Some(names::shown(kind, bit.number)),
        _ => None,
    });
    bits.collect::<Vec<_>>().join(", ")
}

fn inside(grant: &Grant) -> String {
    grant.capabilities.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Formats the result of a kernel, and where its grant differs from the one in the row.
fn result(proved: &Proved, shown: Option<&Grant>) -> String {
    match proved {
        Proved::Minimal { minimal, beyond, expected } => {
            let result = match (beyond.is_empty() && minimal.superfluous.is_empty(), expected) {
                (true, _) => "proved".to_owned(),
                (false, true) => "proved; CAP_PERFMON by the verifier".to_owned(),
                (false, false) => format!(
                    "proved, computed otherwise: {}",
                    difference(beyond, &minimal.superfluous.iter().copied().collect())
                ),
            };
            match shown.filter(|shown| **shown != minimal.grant) {
                None => result,
                Some(shown) => format!("{result}; here {}", changes(shown, &minimal.grant)),
            }
        }
        Proved::Insufficient(needs) => {
            let why: Vec<String> = needs.iter().map(|need| need.defect.to_string()).collect();
            why.join("; ").replace('|', "\\|")
        }
        // An id is another one each time.
        Proved::Unknown(why) => {
            let lasting = why.split(" with id ").next().unwrap_or_default();
            format!("not known: {}", lasting.replace('|', "\\|"))
        }
    }
}

fn difference(more: &BTreeSet<Element>, less: &BTreeSet<Element>) -> String {
    let more = more.iter().map(|element| format!("also {element}"));
    let less = less.iter().map(|element| format!("not {element}"));
    more.chain(less).collect::<Vec<_>>().join(", ")
}

fn changes(from: &Grant, to: &Grant) -> String {
    let (from, to): (BTreeSet<Element>, BTreeSet<Element>) = (from.elements().collect(), to.elements().collect());
    difference(&to.difference(&from).copied().collect(), &from.difference(&to).copied().collect())
}
