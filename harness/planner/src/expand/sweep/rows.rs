//! The rows of a sweep: every name the kernel knows, with the call that is attempted for it.

use harness_protocol::plan::Actor;
use harness_scenario::{grid::Orphan, sweep::SweepOf};
use harness_uapi::{release::Release, resolver::Lexicon};

use crate::{
    feature::{self, Feature},
    recipe::{self, Names, Recipe, Way},
};

/// Every name that can be attempted with its recipe, in the kernel's order; and those that nobody knows how to attempt.
pub(super) fn of(of: SweepOf, actor: &Actor, lexicon: &Lexicon<'_>) -> (Vec<(String, Recipe)>, Vec<Orphan>) {
    let (mut rows, mut orphans) = (Vec::new(), Vec::new());
    let Some(way) = way(of) else { return (features(lexicon), orphans) };
    for named in lexicon.table(way.kind()).iter() {
        if lexicon.lacks_option(way.kind(), &named.name).is_some() {
            continue;
        }
        match recipe(of, &named.name, actor, lexicon) {
            Some(recipe) => rows.push((named.name.clone(), recipe)),
            None if recipe::unavailable(way, &named.name).is_some() => {}
            None => orphans.push(orphan(way, &named.name, lexicon)),
        }
    }
    (rows, orphans)
}

/// The features of the verifier that the kernel's has.
fn features(lexicon: &Lexicon<'_>) -> Vec<(String, Recipe)> {
    let known = feature::ALL.iter().filter(|feature| newer_than(feature, lexicon).is_none());
    known.map(|feature| (feature.name.to_owned(), recipe::feature(feature, &Names(*lexicon)))).collect()
}

/// The release since which verifiers have a feature, if the kernel is older.
fn newer_than(feature: &Feature, lexicon: &Lexicon<'_>) -> Option<Release> {
    let release = lexicon.target?.release;
    feature.since.filter(|since| release < *since)
}

/// The names that stand for nothing that could be attempted, with the reasons.
pub(super) fn absent(of: SweepOf, lexicon: &Lexicon<'_>) -> Vec<Orphan> {
    let Some(way) = way(of) else {
        let newer = |feature: &Feature| {
            let advice = format!("the verifier has it since {}", newer_than(feature, lexicon)?);
            Some(Orphan { advice, name: feature.name.to_owned() })
        };
        return feature::ALL.iter().filter_map(newer).collect();
    };
    let reason = |name: &str| {
        let unavailable = || recipe::unavailable(way, name).map(str::to_owned);
        let advice = lexicon.lacks_option(way.kind(), name).or_else(unavailable)?;
        Some(Orphan { advice, name: name.to_owned() })
    };
    lexicon.table(way.kind()).iter().filter_map(|named| reason(&named.name)).collect()
}

fn recipe(of: SweepOf, name: &str, actor: &Actor, lexicon: &Lexicon<'_>) -> Option<Recipe> {
    let names = Names(*lexicon);
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

/// What the names of the vocabulary are wanted for; `None` if the rows are no names of the vocabulary.
const fn way(of: SweepOf) -> Option<Way> {
    Some(match of {
        SweepOf::MapTypes => Way::MapCreate,
        SweepOf::ProgTypes => Way::ProgLoad,
        SweepOf::ExpectedAttachTypes => Way::LoadFor,
        SweepOf::AttachTypes => Way::Link,
        SweepOf::LegacyAttach => Way::ProgAttach,
        SweepOf::Cmds => Way::Cmd,
        SweepOf::Helpers => Way::HelperSurvey,
        SweepOf::Features => return None,
    })
}

fn orphan(way: Way, name: &str, lexicon: &Lexicon<'_>) -> Orphan {
    let file = match way {
        Way::MapCreate => "maps.rs",
        Way::ProgLoad | Way::HelperSurvey => "progs.rs",
        Way::LoadFor | Way::Link | Way::ProgAttach => "attach.rs",
        Way::Cmd => "cmds.rs",
    };
    let kernel = lexicon.target.map_or("a kernel".to_owned(), |target| target.name.to_string());
    let advice = format!(
        "{kernel} knows this {}, and there is no recipe for it: add one to harness/planner/src/recipe/{file}, or the \
         reason why there is none to unavailable.rs beside it",
        way.kind()
    );
    Orphan { name: name.to_owned(), advice }
}
