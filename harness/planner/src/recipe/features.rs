//! Recipes for the features of the verifier, with the maps that they use.

use harness_protocol::plan::{Call, Verify};
use harness_uapi::{resolver::NameResolver, vocabulary::Kind};

use crate::{
    feature::{Feature, FeatureMap, MAP_VALUE_SIZE},
    recipe::{
        Recipe,
        draft::Draft,
        maps::{self, MapArguments},
        progs,
    },
};

/// Returns the recipe to load the program of a feature.
pub(super) fn recipe(feature: &Feature, resolver: &NameResolver<'_>) -> Recipe {
    let mut draft = Draft::new(resolver);
    let map = feature.map.map(|map| self::map(&mut draft, map));
    let attach = progs::arguments(feature.prog_type).and_then(|usual| usual.attach);
    let call = Call::Verify(Verify {
        prog_type: draft.number(Kind::Prog, feature.prog_type),
        expected_attach_type: attach.map_or(0, |attach| draft.number(Kind::Attach, attach)),
        instructions: feature.instructions(),
        map,
        functions: feature.functions.iter().map(|name| (*name).to_owned()).collect(),
    });
    draft.done(call)
}

/// The address of an arena in user space (`map_extra`): a program cannot use an arena without one. Nothing maps it.
const ARENA_ADDRESS: u64 = 0x1000_0000;

fn map(draft: &mut Draft<'_, '_>, map: FeatureMap) -> String {
    match map {
        FeatureMap::Array => {
            let arguments = MapArguments { value_size: MAP_VALUE_SIZE, ..MapArguments::PLAIN };
            maps::sized(draft, "map", map.type_name(), arguments)
        }
        FeatureMap::Arena => {
            let usual = maps::arguments(map.type_name()).unwrap_or(MapArguments::PLAIN);
            let mut call = maps::create(draft, map.type_name(), usual);
            if let Call::MapCreate { map_extra, .. } = &mut call {
                *map_extra = ARENA_ADDRESS;
            }
            draft.save("map", call)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{feature, recipe::Names};
    use harness_uapi::{configuration::Configuration, resolver::KernelProfile, vocabulary::KnownNames};

    #[test]
    fn every_feature_creates_the_map_that_it_uses_first() {
        const TEXT: &str = include_str!("../../../../kernels/vocabulary/7.3.json");
        let (known, vocabulary) =
            (KnownNames::from_json([("7.3", TEXT)]).unwrap(), serde_json::from_str(TEXT).unwrap());
        let (name, release) = ("7.3".parse().unwrap(), "7.3".parse().unwrap());
        let configuration = &Configuration::complete();
        let target = KernelProfile {
            name: &name,
            image: &"minimal".parse().unwrap(),
            release,
            vocabulary: &vocabulary,
            configuration,
        };
        let names = Names::of(&known, target);
        for feature in &feature::ALL {
            let recipe = recipe(feature, &names.0);
            assert_eq!(recipe.missing, None, "{}", feature.name);
            assert_eq!(recipe.call.objects().len(), usize::from(feature.map.is_some()), "{}", feature.name);
            assert_eq!(recipe.setup.len(), recipe.call.objects().len(), "{}", feature.name);
            assert_eq!(recipe.call.kernel_types().len(), feature.functions.len(), "{}", feature.name);
        }
    }
}
