//! The rows of a sweep: every name that the kernel knows, with its call.

use harness_protocol::plan::Actor;
use harness_scenario::{layout::UncoveredName, sweep::SweepOf};
use harness_uapi::{release::Release, resolver::NameResolver};

use crate::{
    feature::{self, Feature},
    recipe::{self, NameUse, Names, Recipe},
};

/// Returns every name with a recipe, in the kernel's order, and the names without one.
pub(super) fn of(
    of: SweepOf,
    actor: &Actor,
    resolver: &NameResolver<'_>,
) -> (Vec<(String, Recipe)>, Vec<UncoveredName>) {
    let (mut rows, mut orphans) = (Vec::new(), Vec::new());
    let Some(name_use) = name_use(of) else { return (features(resolver), orphans) };
    for named in resolver.table(name_use.kind()).iter() {
        if resolver.lacks_option(name_use.kind(), &named.name).is_some() {
            continue;
        }
        match recipe(of, &named.name, actor, resolver) {
            Some(recipe) => rows.push((named.name.clone(), recipe)),
            None if recipe::unavailable(name_use, &named.name).is_some() => {}
            None => orphans.push(orphan(name_use, &named.name, resolver)),
        }
    }
    (rows, orphans)
}

/// Returns the features that the kernel's verifier has.
fn features(resolver: &NameResolver<'_>) -> Vec<(String, Recipe)> {
    let known = feature::ALL.iter().filter(|feature| newer_than(feature, resolver).is_none());
    known.map(|feature| (feature.name.to_owned(), recipe::feature(feature, &Names(*resolver)))).collect()
}

/// Returns the release that introduced a feature, if the kernel is older.
fn newer_than(feature: &Feature, resolver: &NameResolver<'_>) -> Option<Release> {
    let release = resolver.target?.release;
    feature.since.filter(|since| release < *since)
}

/// Returns the names that cannot be attempted, with the reasons.
pub(super) fn absent(of: SweepOf, resolver: &NameResolver<'_>) -> Vec<UncoveredName> {
    let Some(name_use) = name_use(of) else {
        let newer = |feature: &Feature| {
            let advice = format!("the verifier has it since {}", newer_than(feature, resolver)?);
            Some(UncoveredName { advice, name: feature.name.to_owned() })
        };
        return feature::ALL.iter().filter_map(newer).collect();
    };
    let reason = |name: &str| {
        let unavailable = || recipe::unavailable(name_use, name).map(str::to_owned);
        let advice = resolver.lacks_option(name_use.kind(), name).or_else(unavailable)?;
        Some(UncoveredName { advice, name: name.to_owned() })
    };
    resolver.table(name_use.kind()).iter().filter_map(|named| reason(&named.name)).collect()
}

fn recipe(of: SweepOf, name: &str, actor: &Actor, resolver: &NameResolver<'_>) -> Option<Recipe> {
    let names = Names(*resolver);
    match of {
        SweepOf::MapTypes => recipe::map(name, &names),
        SweepOf::ProgTypes => recipe::prog(name, &names),
        SweepOf::ExpectedAttachTypes => recipe::prog_for(name, &names),
        SweepOf::AttachTypes => recipe::link(name, &names),
        SweepOf::LegacyAttach => recipe::prog_attach(name, &names),
        SweepOf::Cmds => recipe::cmd(name, actor, &names),
        SweepOf::Helpers => recipe::helper_survey(name, &names),
        SweepOf::Features => None,
    }
}

/// Returns what the names of the vocabulary are used for; `None` if the rows are not names of the vocabulary.
const fn name_use(of: SweepOf) -> Option<NameUse> {
    Some(match of {
        SweepOf::MapTypes => NameUse::MapCreate,
        SweepOf::ProgTypes => NameUse::ProgLoad,
        SweepOf::ExpectedAttachTypes => NameUse::LoadFor,
        SweepOf::AttachTypes => NameUse::Link,
        SweepOf::LegacyAttach => NameUse::ProgAttach,
        SweepOf::Cmds => NameUse::Cmd,
        SweepOf::Helpers => NameUse::HelperSurvey,
        SweepOf::Features => return None,
    })
}

fn orphan(name_use: NameUse, name: &str, resolver: &NameResolver<'_>) -> UncoveredName {
    let file = match name_use {
        NameUse::MapCreate => "maps.rs",
        NameUse::ProgLoad | NameUse::HelperSurvey => "progs.rs",
        NameUse::LoadFor | NameUse::Link | NameUse::ProgAttach => "attach.rs",
        NameUse::Cmd => "cmds.rs",
    };
    let kernel = resolver.target.map_or("a kernel".to_owned(), |target| target.name.to_string());
    let advice = format!(
        "{kernel} knows this {}, but there is no recipe for it: add one to harness/planner/src/recipe/{file}, or the \
         reason why it has none to unavailable.rs there",
        name_use.kind()
    );
    UncoveredName { name: name.to_owned(), advice }
}
