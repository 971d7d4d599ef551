//! The smallest valid call for every name a kernel may know: each map type, program type, attach type and command.
//!
//! Found by making each with every permission on 6.12 and 7.3. A name without a recipe is told by [`without_recipe`]: then
//! a kernel is newer than these tables, and one of them must be extended. What no recipe can give is in
//! [`unavailable`], each with its reason.

mod attach;
mod cmds;
mod draft;
mod features;
mod flags;
mod helpers;
mod maps;
mod progs;
mod struct_ops;
mod unavailable;

use crate::feature::Feature;
pub(crate) use attach::{AttachGroup as AttachPlace, is_linked_as, link_place};
pub(crate) use flags::bits;
pub use flags::{ATTACH_FLAGS, FILE_FLAGS, MAP_FLAGS, PROG_FLAGS, TOKEN_FD};
use harness_protocol::plan::{Actor, Call};
use harness_uapi::{
    resolver::{KernelProfile, NameResolver},
    vocabulary::{KnownNames, Vocabulary},
};
pub(crate) use helpers::target as survey_target;
pub(crate) use maps::{MapArguments, arguments as map_arguments, needs_types};
pub use maps::{holds_maps, is_per_cpu};
pub(crate) use progs::{ProgArguments, arguments as prog_arguments, replaces, returns, target as prog_target};
pub use unavailable::{NameUse, unavailable};

/// A minimal valid call with all it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Made before it, in this order.
    pub setup: Vec<Step>,
    /// The call itself. [`Call::takes_token`] says whether a token can be handed over.
    pub call: Call,
    /// Whether the call uses up what `setup` made, which must then be made anew for every attempt.
    pub uses_up: bool,
    /// Why the kernel cannot know it: a name that only other kernels have.
    pub missing: Option<String>,
}

/// A call that makes something another one needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is done.
    pub call: Call,
    /// The name under which its result is saved, and found by later steps.
    pub save: Option<String>,
    /// Whether it must be done by whoever makes the call, because it changes something in the actor's own namespaces,
    /// bpffs or cgroup. No such step needs a permission.
    pub local: bool,
}

/// The names of one kernel, by which recipes are written.
#[derive(Clone, Copy, Debug)]
pub struct Names<'n>(pub(crate) NameResolver<'n>);

impl<'n> Names<'n> {
    /// Those of a kernel, and those that at least one known kernel has.
    pub fn of(known: &'n KnownNames, target: KernelProfile<'n>) -> Self {
        Self(NameResolver { known, target: Some(target) })
    }
}

/// How a map of this type is made.
pub fn map(name: &str, names: &Names<'_>) -> Option<Recipe> {
    maps::recipe(name, &names.0)
}

/// How a program of this type is loaded.
pub fn prog(name: &str, names: &Names<'_>) -> Option<Recipe> {
    progs::recipe(name, &names.0)
}

/// How a program is loaded for this attach type, by the program type that has it.
pub fn prog_for(attach: &str, names: &Names<'_>) -> Option<Recipe> {
    attach::load(attach, &names.0)
}

/// How a program of this attach type is attached by `BPF_LINK_CREATE`.
pub fn link(attach: &str, names: &Names<'_>) -> Option<Recipe> {
    attach::link(attach, &names.0)
}

/// How a program of this attach type is attached by `BPF_PROG_ATTACH`; it is taken off again at once.
pub fn prog_attach(attach: &str, names: &Names<'_>) -> Option<Recipe> {
    attach::legacy(attach, &names.0)
}

/// How the program of a feature of the verifier is loaded.
pub fn feature(feature: &Feature, names: &Names<'_>) -> Recipe {
    features::recipe(feature, &names.0)
}

/// How the helpers of this type of program are found out.
pub fn helper_survey(prog_type: &str, names: &Names<'_>) -> Option<Recipe> {
    helpers::recipe(prog_type, &names.0)
}

/// How this command is carried out by this actor.
pub fn cmd(name: &str, actor: &Actor, names: &Names<'_>) -> Option<Recipe> {
    cmds::recipe(name, actor, &names.0)
}

/// The names of a kernel for which there is neither a recipe nor a reason why there is none, with what they are names
/// of: a newer kernel has them, and these tables must be extended.
pub fn without_recipe(vocabulary: &Vocabulary) -> Vec<(NameUse, String)> {
    NameUse::ALL.iter().flat_map(|way| lacking(*way, vocabulary)).collect()
}

fn lacking(way: NameUse, vocabulary: &Vocabulary) -> Vec<(NameUse, String)> {
    let known = |name: &&str| is_known(way, name) || unavailable(way, name).is_some();
    let names = vocabulary.table(way.kind()).iter().map(|named| named.name.as_str());
    names.filter(|name| !known(name)).map(|name| (way, name.to_owned())).collect()
}

fn is_known(way: NameUse, name: &str) -> bool {
    match way {
        NameUse::MapCreate => map_arguments(name).is_some(),
        NameUse::ProgLoad => prog_arguments(name).is_some(),
        NameUse::HelperSurvey => prog_arguments(name).is_some() && !replaces(name),
        NameUse::LoadFor => attach::prog_type(name).is_some(),
        NameUse::Link => attach::link_place(name).is_some(),
        NameUse::ProgAttach => attach::legacy_place(name).is_some(),
        NameUse::Cmd => cmds::is_known(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_uapi::configuration::Configuration;

    const COMMITTED: [(&str, &str); 2] = [
        ("6.12", include_str!("../../../kernels/vocabulary/6.12.json")),
        ("7.3", include_str!("../../../kernels/vocabulary/7.3.json")),
    ];

    fn vocabulary(text: &str) -> Vocabulary {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn every_name_of_the_committed_kernels_has_a_recipe_or_a_reason() {
        for (kernel, text) in COMMITTED {
            assert_eq!(without_recipe(&vocabulary(text)), [], "{kernel}");
        }
    }

    #[test]
    fn a_name_that_is_new_is_told() {
        let newer = COMMITTED[1].1.replace("\"insn_array\"", "\"brand_new\"").replace("\"tcx_egress\"", "\"later\"");
        let told = without_recipe(&vocabulary(&newer));
        let expected = [NameUse::LoadFor, NameUse::Link, NameUse::ProgAttach].map(|way| (way, "later".to_owned()));
        assert_eq!(told[0], (NameUse::MapCreate, "brand_new".to_owned()));
        assert_eq!(told[1..], expected);
    }

    #[test]
    fn every_recipe_is_written_in_the_numbers_of_its_kernel_and_saves_what_it_uses() {
        let known = KnownNames::from_json(COMMITTED).unwrap();
        for (kernel, text) in COMMITTED {
            let (name, vocabulary) = (kernel.parse().unwrap(), vocabulary(text));
            let image = "minimal".parse().unwrap();
            let (release, configuration) = (kernel.parse().unwrap(), Configuration::complete());
            let (vocabulary, configuration) = (&vocabulary, &configuration);
            let names =
                Names::of(&known, KernelProfile { name: &name, image: &image, release, vocabulary, configuration });
            for way in NameUse::ALL {
                for named in vocabulary.table(way.kind()).iter() {
                    let recipe = recipe_of(way, &named.name, &names);
                    assert_eq!(recipe.is_none(), unavailable(way, &named.name).is_some(), "{way:?} {}", named.name);
                    recipe.iter().for_each(|recipe| check(recipe, &named.name));
                }
            }
        }
    }

    fn recipe_of(way: NameUse, name: &str, names: &Names<'_>) -> Option<Recipe> {
        match way {
            NameUse::MapCreate => map(name, names),
            NameUse::ProgLoad => prog(name, names),
            NameUse::LoadFor => prog_for(name, names),
            NameUse::Link => link(name, names),
            NameUse::ProgAttach => prog_attach(name, names),
            NameUse::Cmd => cmd(name, &Actor::Host, names),
            NameUse::HelperSurvey => helper_survey(name, names),
        }
    }

    fn check(recipe: &Recipe, name: &str) {
        assert_eq!(recipe.missing, None, "{name}");
        let mut saved: Vec<&str> = Vec::new();
        for step in &recipe.setup {
            assert!(step.call.objects().iter().all(|object| saved.contains(object)), "{name}: {:?}", step.call);
            saved.extend(step.save.as_deref());
        }
        assert!(recipe.call.objects().iter().all(|object| saved.contains(object)), "{name}: {:?}", recipe.call);
    }
}
