//! Expands surveys of helpers.

use harness_protocol::plan::{self, Call, HelperIds};
use harness_scenario::attempt::HelperSurvey;
use harness_uapi::{resolver::ResolvedName, vocabulary::Kind};

use super::first_missing;
use crate::{
    expand::{
        context::{AttemptContext, ExpandContext, ExpandedCall},
        label::AttemptLabel,
        objects::Object,
        values,
    },
    recipe::{self, ProgArguments},
};

impl ExpandContext<'_, '_> {
    pub(super) fn helper_survey(&mut self, op: &HelperSurvey, current: &AttemptContext) -> Option<ExpandedCall> {
        let found = self.name(Kind::Prog, &op.prog_type, &current.key_path.key("type"))?;
        self.refuse_replacement(&found.name, current)?;
        let usual = recipe::prog_arguments(&found.name).unwrap_or(ProgArguments::PLAIN);
        let attach = match op.attach.as_deref().or(usual.attach) {
            Some(name) => Some(self.name(Kind::Attach, name, &current.key_path.key("attach"))?),
            None => None,
        };
        let attach_name = attach.as_ref().map(|attach| attach.name.as_str());
        let label = AttemptLabel::new("helper_survey")
            .word(&found.name)
            .given("attach", op.attach.as_ref().and(attach.as_ref()).map(|attach| &attach.name))
            .given("flags", values::shown_flags(op.flags.as_deref()))
            .given("within", op.within.as_ref())
            .given("beyond", op.beyond.as_ref());
        let survey = plan::HelperSurvey {
            prog_type: found.number,
            expected_attach_type: attach.as_ref().map_or(0, |attach| attach.number),
            prog_flags: self.flags(op.flags.as_deref(), usual.flags, &recipe::PROG_FLAGS, current),
            target: recipe::survey_target(&found.name, attach_name),
            returns: recipe::returns(attach_name),
            ids: HelperIds::up_to(self.resolver.last_helper()),
            within: self.earlier(op.within.as_deref(), "within", current)?,
            beyond: self.earlier(op.beyond.as_deref(), "beyond", current)?.into_iter().collect(),
        };
        let names: Vec<&ResolvedName> = std::iter::once(&found).chain(&attach).collect();
        let missing = first_missing(&names);
        Some(ExpandedCall { label, call: Call::HelperSurvey(survey), missing, result: Some(Object::Helpers) })
    }

    /// Rejects a type of program that has the helpers of another program.
    fn refuse_replacement(&mut self, type_name: &str, current: &AttemptContext) -> Option<()> {
        if recipe::replaces(type_name) {
            let message =
                format!("a program of type `{type_name}` has the helpers of the program whose function it replaces");
            self.problems.advise(&current.key_path.key("type"), message, "survey the type of that program");
            return None;
        }
        Some(())
    }

    #[expect(clippy::option_option, reason = "the outer one is a reported error, the inner one an absent key")]
    fn earlier(&mut self, name: Option<&str>, key: &str, current: &AttemptContext) -> Option<Option<String>> {
        let Some(name) = name else { return Some(None) };
        let is_survey = |object: &Object| matches!(object, Object::Helpers).then_some(());
        self.objects.find(name, "a survey", is_survey, &current.key_path.key(key), self.problems)?;
        Some(Some(name.to_owned()))
    }
}
