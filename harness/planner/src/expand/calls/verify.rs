//! Expands attempts to load a program with a feature of the verifier.

use harness_diagnostics::suggest::{did_you_mean, one_of};
use harness_protocol::plan::{self, Call};
use harness_scenario::attempt::Verify;
use harness_uapi::vocabulary::Kind;

use crate::{
    expand::{
        context::{AttemptContext, ExpandContext, ExpandedCall},
        label::AttemptLabel,
        objects::Object,
    },
    feature::{self, Feature, FeatureMap},
    recipe,
};

impl ExpandContext<'_, '_> {
    pub(super) fn verify(&mut self, op: &Verify, current: &AttemptContext) -> Option<ExpandedCall> {
        let feature = self.feature(&op.feature, current)?;
        self.check_map(op, feature, current)?;
        let found = self.name(Kind::Prog, feature.prog_type, &current.key_path.key("feature"))?;
        let attach = match recipe::prog_arguments(&found.name).and_then(|usual| usual.attach) {
            Some(name) => self.name(Kind::Attach, name, &current.key_path.key("feature"))?.number,
            None => 0,
        };
        let call = Call::Verify(plan::Verify {
            prog_type: found.number,
            expected_attach_type: attach,
            instructions: feature.instructions(),
            map: op.map.clone().filter(|_| feature.map.is_some()),
            functions: feature.functions.iter().map(|name| (*name).to_owned()).collect(),
        });
        let missing = found.missing.clone();
        let result = Some(Object::Prog { link_attach: None });
        Some(ExpandedCall { label: AttemptLabel::new("verify").word(feature.name), call, missing, result })
    }

    fn feature(&mut self, name: &str, current: &AttemptContext) -> Option<&'static Feature> {
        let found = Feature::named(name);
        if found.is_none() {
            let names = || feature::ALL.iter().map(|feature| feature.name);
            let advice = did_you_mean(name, names()).unwrap_or_else(|| one_of(names()));
            let message = format!("`{}` is not a feature of the verifier", name.escape_debug());
            self.problems.advise(&current.key_path.key("feature"), message, advice);
        }
        found
    }

    /// Checks the map of a feature. A map that the feature does not use is fine, so that a matrix can cover all
    /// features.
    fn check_map(&mut self, op: &Verify, feature: &Feature, current: &AttemptContext) -> Option<()> {
        let key_path = current.key_path.key("map");
        let shape = match &op.map {
            None if feature.map.is_none() => return Some(()),
            None => {
                let message = format!("`{}` needs a map", feature.name);
                self.problems.advise(&key_path, message, "write `map = \"NAME\"`, the name of a saved map");
                return None;
            }
            Some(name) => self.map(name, &key_path)?,
        };
        let fits = match feature.map {
            Some(FeatureMap::Arena) => shape.type_name == FeatureMap::Arena.type_name(),
            _ => {
                (shape.type_name.as_str(), shape.value_size) == (FeatureMap::Array.type_name(), feature::MAP_VALUE_SIZE)
            }
        };
        if !fits {
            let wanted = format!(
                "the map must be an array with values of {} bytes, or an arena for `arena`",
                feature::MAP_VALUE_SIZE
            );
            self.problems.problem(&key_path, wanted);
            return None;
        }
        Some(())
    }
}
