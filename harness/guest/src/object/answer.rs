//! The recorded answer of a load, assembled call by call.

use harness_protocol::outcome::{Feature, MOST_STEPS, ObjectAnswer, ObjectStep, Purpose};

/// Adds a call; a repetition of the previous call with the same answer is counted, wherever it was made and whatever the
/// verifier says then.
pub(crate) fn add_step(answer: &mut ObjectAnswer, step: ObjectStep) {
    let meaning = |step: &ObjectStep| ObjectStep { times: 1, verifier: None, site: None, ..step.clone() };
    if let Some(last) = answer.steps.last_mut()
        && meaning(last) == meaning(&step)
    {
        last.times += 1;
        last.verifier = step.verifier.or(last.verifier.take());
    } else if answer.steps.len() < MOST_STEPS || drop_probe(answer, &step) {
        answer.steps.push(step);
    } else {
        answer.omitted += 1;
    }
}

/// Drops the first successful probe, to make room for the object's own calls.
fn drop_probe(answer: &mut ObjectAnswer, for_this: &ObjectStep) -> bool {
    let idle = |step: &ObjectStep| matches!(step.purpose, Purpose::Probe(_) | Purpose::Work) && step.errno.is_none();
    let own = matches!(for_this.purpose, Purpose::Object | Purpose::Attachment);
    let Some(at) = answer.steps.iter().position(idle).filter(|_| own) else { return false };
    answer.steps.remove(at);
    answer.omitted += 1;
    true
}

/// Notes what libbpf assumes about the kernel; libbpf asks the same repeatedly.
pub(super) fn add_feature(answer: &mut ObjectAnswer, feature: Feature) {
    if !answer.features.contains(&feature) {
        answer.features.push(feature);
    }
}

#[cfg(test)]
mod tests {
    use harness_protocol::outcome::LONGEST_NAME;

    use super::*;

    fn step(about: &str) -> ObjectStep {
        let (cmd, about) = ("map_create".to_owned(), about.to_owned());
        ObjectStep { cmd, about, purpose: Purpose::Object, token: false, errno: None, times: 1, ..Default::default() }
    }

    #[test]
    fn repetitions_are_counted_and_the_list_is_bounded() {
        let mut answer = ObjectAnswer::default();
        for about in ["a", "a", "a", "b", "a"] {
            add_step(&mut answer, step(about));
        }
        assert_eq!(answer.steps.iter().map(|step| step.times).collect::<Vec<_>>(), [3, 1, 1]);
        for number in 0..MOST_STEPS {
            add_step(&mut answer, step(&number.to_string()));
        }
        assert_eq!((answer.steps.len(), answer.omitted), (MOST_STEPS, 3));
        let probe = ObjectStep { purpose: Purpose::Probe("names".to_owned()), ..step("socket_filter") };
        answer.steps[7] = probe;
        add_step(&mut answer, step("last"));
        assert_eq!((answer.steps.len(), answer.omitted), (MOST_STEPS, 4));
        assert_eq!(answer.steps[MOST_STEPS - 1].about, "last");
    }

    #[test]
    fn three_full_answers_fit_a_line() {
        let mut answer = ObjectAnswer::default();
        for number in 0..MOST_STEPS {
            let about = format!(
                "percpu_cgroup_storage_deprecated {number:0LONGEST_NAME$}, without its name, without its types"
            );
            let purpose = Purpose::Probe("expected attach types in some".to_owned());
            let errno = Some(harness_protocol::errno::Errno::EPERM);
            add_step(&mut answer, ObjectStep { purpose, errno, times: 99, ..step(&about) });
        }
        let line = serde_json::to_string(&answer).unwrap().len();
        assert!(line < harness_protocol::outcome::LONGEST_LINE / 3 - 4096, "{line}");
    }
}
