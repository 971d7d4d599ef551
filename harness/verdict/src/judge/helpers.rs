//! Describes what helper surveys found, with the kernel's names: how many helpers, and which ones an actor lacks that
//! another one has.

use std::collections::BTreeMap;

use harness_protocol::{
    outcome::{Answer, ScenarioOutcome},
    plan::{self, Call, HelperIds, HelperSurvey},
};
use harness_scenario::{expanded::Expanded, layout::AttemptRole};
use harness_uapi::vocabulary::{HelperNames, Vocabulary};

use crate::{
    granted::GrantedHelpers,
    judgement::{Case, Fault},
    verdict::Verdict,
};

/// Puts the descriptions into the verdicts of all surveys, in place of the numbers in the record; for a sweep, also as a
/// table.
///
/// # Errors
/// [`Fault::Record`] if a survey has the answer of another operation, or another operation that of a survey.
pub(super) fn describe(
    cases: &mut [Case],
    expanded: &Expanded,
    outcome: &ScenarioOutcome,
    vocabulary: &Vocabulary,
) -> Result<Option<GrantedHelpers>, Fault> {
    let mut granted = BTreeMap::new();
    for (index, (case, planned)) in cases.iter_mut().zip(&expanded.plan.cases).enumerate() {
        let mut surveys = Surveys::default();
        let facts = outcome.attempts.iter().filter(|fact| fact.case as usize == index);
        for (fact, (row, attempt)) in facts.zip(case.rows.iter_mut().zip(&planned.attempts)) {
            let found = match (&attempt.call, &fact.answer) {
                (Call::HelperSurvey(survey), Answer::Helpers(found)) => {
                    if let Verdict::Allowed { detail } = &mut row.verdict {
                        *detail = Some(surveys.words(survey, found, &vocabulary.helpers));
                    }
                    if let AttemptRole::Cell { row, column } = row.part {
                        granted.insert((row, column), found.clone());
                    }
                    found.clone()
                }
                // The guest treats a denied survey as one that found nothing.
                (Call::HelperSurvey(_), Answer::Err { .. } | Answer::NotMade { .. }) => HelperIds::default(),
                (Call::HelperSurvey(_), Answer::Ok { .. } | Answer::Object(_) | Answer::Exec(_))
                | (_, Answer::Helpers(_)) => {
                    return Err(Fault::Record(format!("the answer to `{}` belongs to another operation", row.text)));
                }
                _ => continue,
            };
            surveys.keep(attempt, found);
        }
    }
    let granted = (expanded.grid.is_some() && !granted.is_empty()).then(|| {
        let names = vocabulary.helpers.iter().map(|(id, name)| (id, name.to_owned())).collect();
        GrantedHelpers { names, found: granted }
    });
    Ok(granted)
}

/// What the surveys of a case found, by the names they were saved under.
#[derive(Default)]
struct Surveys<'a>(BTreeMap<&'a str, HelperIds>);

impl<'a> Surveys<'a> {
    fn keep(&mut self, attempt: &'a plan::Attempt, found: HelperIds) {
        if let Some(name) = &attempt.save {
            self.0.insert(name, found);
        }
    }

    fn named(&self, name: Option<&String>) -> Option<&HelperIds> {
        name.and_then(|name| self.0.get(name.as_str()))
    }

    fn words(&self, survey: &HelperSurvey, found: &HelperIds, names: &HelperNames) -> String {
        if survey.within.is_none() && survey.beyond.is_empty() {
            return format!("{} helpers, by number {found}", found.len());
        }
        let within = self.named(survey.within.as_ref());
        let asked: Vec<u32> = survey.ids.iter().filter(|id| within.is_none_or(|ids| ids.contains(*id))).collect();
        let lacking = asked.iter().filter(|id| !found.contains(**id)).copied();
        format!("{} of {} helpers{}", found.len(), asked.len(), listed(", not ", lacking, names))
    }
}

fn listed(lead: &str, ids: impl Iterator<Item = u32>, names: &HelperNames) -> String {
    let name = |id: u32| names.name(id).map_or_else(|| id.to_string(), str::to_owned);
    match ids.map(name).collect::<Vec<_>>() {
        none if none.is_empty() => String::new(),
        some => format!("{lead}{}", some.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_protocol::plan::{Actor, ProgTarget, Token};

    fn survey(within: Option<&str>, beyond: &[&str]) -> HelperSurvey {
        HelperSurvey {
            prog_type: 1,
            expected_attach_type: 0,
            prog_flags: 0,
            target: ProgTarget::None,
            returns: 0,
            ids: HelperIds::up_to(9),
            within: within.map(str::to_owned),
            beyond: beyond.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn what_one_lacks_of_anothers_is_told_by_name() {
        let names: HelperNames = serde_json::from_str(r#"{"1": "map_lookup_elem", "2": "map_update_elem"}"#).unwrap();
        let list = |text: &str| text.parse::<HelperIds>().unwrap();
        let call = Call::HelperSurvey(survey(None, &[]));
        let attempt =
            plan::Attempt { save: Some("root".to_owned()), ..plan::Attempt::new(Actor::Host, Token::None, call) };
        let mut surveys = Surveys::default();
        surveys.keep(&attempt, list("1-3"));
        let words = |within, beyond: &[&str], found| surveys.words(&survey(within, beyond), &list(found), &names);
        assert_eq!(words(None, &[], "1-3"), "3 helpers, by number 1-3");
        assert_eq!(words(Some("root"), &[], "1-3"), "3 of 3 helpers");
        assert_eq!(words(Some("root"), &["less"], "2"), "1 of 3 helpers, not map_lookup_elem, 3");
        assert_eq!(words(None, &["less"], "1-8"), "8 of 9 helpers, not 9");
    }
}
