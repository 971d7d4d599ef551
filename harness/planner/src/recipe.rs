//! Recipes: the smallest valid call for every map type, program type, attach type and command.
//!
//! All were found by making the calls with every permission on 6.12 and 7.3. [`without_recipe`] returns the names
//! without a recipe: they belong to a kernel that is newer than these tables, which must then be extended.
//! [`unavailable()`] returns the reason why a name has no recipe.

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
pub(crate) use attach::{AttachGroup, is_linked_as, link_group};
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

/// A minimal valid call with everything that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Calls that are made before it, in this order.
    pub setup: Vec<Step>,
    /// The call. [`Call::takes_token`] returns whether it can pass a token.
    pub call: Call,
    /// Whether the call uses up what `setup` created, which every attempt must then create again.
    pub uses_up: bool,
    /// Why the kernel does not know it, if so: a name that only other kernels have.
    pub missing: Option<String>,
}

/// A call that prepares something for another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The call.
    pub call: Call,
    /// The name under which later steps find its result.
    pub save: Option<String>,
    /// Whether the actor of the call must make it, because it changes the actor's own namespaces, bpffs or cgroup. No
    /// such step needs a permission.
    pub local: bool,
}

/// The names of one kernel, which recipes use.
#[derive(Clone, Copy, Debug)]
pub struct Names<'n>(pub(crate) NameResolver<'n>);

impl<'n> Names<'n> {
    /// Returns the names of a kernel, and those that at least one known kernel has.
    pub fn of(known: &'n KnownNames, target: KernelProfile<'n>) -> Self {
        Self(NameResolver { known, target: Some(target) })
    }
}

/// Returns how to create a map of this type.
pub fn map(name: &str, names: &Names<'_>) -> Option<Recipe> {
    maps::recipe(name, &names.0)
}

/// Returns how to load a program of this type.
pub fn prog(name: &str, names: &Names<'_>) -> Option<Recipe> {
    progs::recipe(name, &names.0)
}

/// Returns how to load a program for this attach type.
pub fn prog_for(attach: &str, names: &Names<'_>) -> Option<Recipe> {
    attach::load(attach, &names.0)
}

/// Returns how to attach a program of this attach type with `BPF_LINK_CREATE`.
pub fn link(attach: &str, names: &Names<'_>) -> Option<Recipe> {
    attach::link(attach, &names.0)
}

/// Returns how to attach a program of this attach type with `BPF_PROG_ATTACH`; it is detached at once.
pub fn prog_attach(attach: &str, names: &Names<'_>) -> Option<Recipe> {
    attach::legacy(attach, &names.0)
}

/// Returns how to load the program of a feature of the verifier.
pub fn feature(feature: &Feature, names: &Names<'_>) -> Recipe {
    features::recipe(feature, &names.0)
}

/// Returns how to survey the helpers of this program type.
pub fn helper_survey(prog_type: &str, names: &Names<'_>) -> Option<Recipe> {
    helpers::recipe(prog_type, &names.0)
}

/// Returns how this actor uses a command.
pub fn cmd(name: &str, actor: &Actor, names: &Names<'_>) -> Option<Recipe> {
    cmds::recipe(name, actor, &names.0)
}

/// Returns the names of a kernel that have neither a recipe nor a reason for having none, each with its use. They
/// belong to a newer kernel, and these tables must be extended.
pub fn without_recipe(vocabulary: &Vocabulary) -> Vec<(NameUse, String)> {
    NameUse::ALL.iter().flat_map(|name_use| lacking(*name_use, vocabulary)).collect()
}

fn lacking(name_use: NameUse, vocabulary: &Vocabulary) -> Vec<(NameUse, String)> {
    let known = |name: &&str| is_known(name_use, name) || unavailable(name_use, name).is_some();
    let names = vocabulary.table(name_use.kind()).iter().map(|named| named.name.as_str());
    names.filter(|name| !known(name)).map(|name| (name_use, name.to_owned())).collect()
}

fn is_known(name_use: NameUse, name: &str) -> bool {
    match name_use {
        NameUse::MapCreate => map_arguments(name).is_some(),
        NameUse::ProgLoad => prog_arguments(name).is_some(),
        NameUse::HelperSurvey => prog_arguments(name).is_some() && !replaces(name),
        NameUse::LoadFor => attach::prog_type(name).is_some(),
        NameUse::Link => attach::link_group(name).is_some(),
        NameUse::ProgAttach => attach::legacy_group(name).is_some(),
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
    fn a_new_name_is_returned() {
        let newer = COMMITTED[1].1.replace("\"insn_array\"", "\"brand_new\"").replace("\"tcx_egress\"", "\"later\"");
        let found = without_recipe(&vocabulary(&newer));
        let expected =
            [NameUse::LoadFor, NameUse::Link, NameUse::ProgAttach].map(|name_use| (name_use, "later".to_owned()));
        assert_eq!(found[0], (NameUse::MapCreate, "brand_new".to_owned()));
        assert_eq!(found[1..], expected);
    }

    #[test]
    fn every_recipe_uses_numbers_of_its_kernel_and_objects_that_it_saved() {
        let known = KnownNames::from_json(COMMITTED).unwrap();
        for (kernel, text) in COMMITTED {
            let (name, vocabulary) = (kernel.parse().unwrap(), vocabulary(text));
            let image = "minimal".parse().unwrap();
            let (release, configuration) = (kernel.parse().unwrap(), Configuration::complete());
            let (vocabulary, configuration) = (&vocabulary, &configuration);
            let names =
                Names::of(&known, KernelProfile { name: &name, image: &image, release, vocabulary, configuration });
            for name_use in NameUse::ALL {
                for named in vocabulary.table(name_use.kind()).iter() {
                    let recipe = recipe_of(name_use, &named.name, &names);
                    assert_eq!(
                        recipe.is_none(),
                        unavailable(name_use, &named.name).is_some(),
                        "{name_use:?} {}",
                        named.name
                    );
                    recipe.iter().for_each(|recipe| check(recipe, &named.name));
                }
            }
        }
    }

    fn recipe_of(name_use: NameUse, name: &str, names: &Names<'_>) -> Option<Recipe> {
        match name_use {
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
