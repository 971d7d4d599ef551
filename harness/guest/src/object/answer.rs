//! What is told of a load, gathered call by call.

use harness_model::outcome::{Feature, MOST_STEPS, ObjectAnswer, ObjectStep};

/// Adds a call; the same call with the same answer directly after another is counted.
pub(super) fn add_step(answer: &mut ObjectAnswer, step: ObjectStep) {
    if let Some(last) = answer.steps.last_mut()
        && (ObjectStep { times: 1, ..last.clone() }) == step
    {
        last.times += 1;
    } else if answer.steps.len() < MOST_STEPS {
        answer.steps.push(step);
    } else {
        answer.untold += 1;
    }
}

/// Notes what libbpf believes of the kernel; it asks the same again and again.
pub(super) fn add_feature(answer: &mut ObjectAnswer, feature: Feature) {
    if !answer.features.contains(&feature) {
        answer.features.push(feature);
    }
}

#[cfg(test)]
mod tests {
    use harness_model::outcome::Purpose;

    use super::*;

    fn step(about: &str) -> ObjectStep {
        let (cmd, about) = ("map_create".to_owned(), about.to_owned());
        ObjectStep { cmd, about, purpose: Purpose::Object, token: false, errno: None, times: 1 }
    }

    #[test]
    fn repetitions_are_counted_and_the_list_ends_somewhere() {
        let mut answer = ObjectAnswer::default();
        for about in ["a", "a", "a", "b", "a"] {
            add_step(&mut answer, step(about));
        }
        assert_eq!(answer.steps.iter().map(|step| step.times).collect::<Vec<_>>(), [3, 1, 1]);
        for number in 0..MOST_STEPS {
            add_step(&mut answer, step(&number.to_string()));
        }
        assert_eq!((answer.steps.len(), answer.untold), (MOST_STEPS, 3));
        let line = serde_json::to_string(&answer).unwrap().len();
        assert!(line < harness_model::outcome::LONGEST_LINE / 4, "{line}");
    }
}
