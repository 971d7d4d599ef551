//! What surveys of helpers found, in the words of the kernel: how many, and which ones an actor lacks of what another
//! one has.

use std::collections::BTreeMap;

use super::Case;
use crate::{
    expand::Expanded,
    grid::{Granted, Grid, Part},
    outcome::{Answer, ScenarioOutcome},
    plan::{self, Call, HelperIds, HelperSurvey},
    verdict::Verdict,
    vocabulary::{HelperNames, Vocabulary},
};

/// Puts it into the verdicts of all surveys, in place of the numbers the guest told, and into the table of a sweep.
pub(super) fn tell(
    cases: &mut [Case],
    grid: Option<&mut Grid>,
    expanded: &Expanded,
    outcome: &ScenarioOutcome,
    vocabulary: &Vocabulary,
) {
    let mut granted = BTreeMap::new();
    for (index, (case, planned)) in cases.iter_mut().zip(&expanded.plan.cases).enumerate() {
        let mut surveys = Surveys::default();
        let facts = outcome.attempts.iter().filter(|fact| fact.case as usize == index);
        for (fact, (row, attempt)) in facts.zip(case.rows.iter_mut().zip(&planned.attempts)) {
            let Call::HelperSurvey(survey) = &attempt.call else { continue };
            let found = found(&fact.answer);
            if let (Some(found), Verdict::Allowed { detail }) = (&found, &mut row.verdict) {
                *detail = Some(surveys.words(survey, found, &vocabulary.helpers));
            }
            if let (Some(found), Part::Cell { row, column }) = (&found, row.part) {
                granted.insert((row, column), found.clone());
            }
            surveys.keep(attempt, found);
        }
    }
    if let Some(grid) = grid.filter(|_| !granted.is_empty()) {
        let names = vocabulary.helpers.iter().map(|(id, name)| (id, name.to_owned())).collect();
        grid.helpers = Some(Granted { names, found: granted });
    }
}

fn found(answer: &Answer) -> Option<HelperIds> {
    match answer {
        Answer::Ok { detail } => detail.as_deref().unwrap_or_default().parse().ok(),
        Answer::Err { .. } | Answer::Object(_) | Answer::NotMade { .. } => None,
    }
}

/// What surveys of a case found, by the name they were saved under.
#[derive(Default)]
struct Surveys<'a>(BTreeMap<&'a str, HelperIds>);

impl<'a> Surveys<'a> {
    fn keep(&mut self, attempt: &'a plan::Attempt, found: Option<HelperIds>) {
        if let Some(name) = &attempt.save {
            // The guest goes on from one that was denied as if it had found nothing.
            self.0.insert(name, found.unwrap_or_default());
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
    use crate::plan::{Actor, ProgTarget, Token};

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
        surveys.keep(&attempt, Some(list("1-3")));
        let words = |within, beyond: &[&str], found| surveys.words(&survey(within, beyond), &list(found), &names);
        assert_eq!(words(None, &[], "1-3"), "3 helpers, by number 1-3");
        assert_eq!(words(Some("root"), &[], "1-3"), "3 of 3 helpers");
        assert_eq!(words(Some("root"), &["less"], "2"), "1 of 3 helpers, not map_lookup_elem, 3");
        assert_eq!(words(None, &["less"], "1-8"), "8 of 9 helpers, not 9");
    }

    #[test]
    fn a_denied_survey_counts_as_one_that_found_nothing() {
        let denied = Answer::Err { errno: crate::errno::Errno::EPERM, step: None };
        assert_eq!(found(&denied), None);
        assert_eq!(found(&Answer::Ok { detail: Some("1-2".to_owned()) }).map(|ids| ids.len()), Some(2));
    }
}
