//! What a fuzz target calls: what a guest wrote, read and checked as in a session.

use harness_protocol::{outcome::ScenarioOutcome, plan::Plan};

use super::{
    record::Decoder,
    record_checker::{RecordChecker, Step},
};

/// Reads a record in pieces of `size` bytes, and returns the outcomes of the plan's scenarios up to where it has to end.
///
/// # Panics
/// If an outcome does not belong to the next scenario of the plan.
pub fn read_record(plan: &Plan, record: &[u8], size: usize) -> Vec<ScenarioOutcome> {
    let (mut decoder, mut checker) = (Decoder::default(), RecordChecker::new(plan));
    'record: for piece in record.chunks(size) {
        let (events, damage) = decoder.push(piece);
        for event in events {
            match checker.apply(event) {
                Ok(Step::Hello | Step::Started { .. } | Step::Within | Step::Ended(_)) => {}
                Ok(Step::Complete | Step::Refused(_) | Step::GaveUp(_)) => break 'record,
                Err(violation) => {
                    assert!(!violation.to_string().is_empty());
                    break 'record;
                }
            }
        }
        if damage.is_err() {
            break;
        }
    }
    let _ = checker.fault("the record ends here".to_owned());
    let outcomes = checker.into_outcomes();
    assert!(outcomes.iter().zip(&plan.scenarios).all(|(outcome, scenario)| outcome.scenario == scenario.name));
    assert!(outcomes.len() <= plan.scenarios.len());
    outcomes
}
