//! Surveys of helpers that go on from one another, so that none is asked about twice for the same reason.
//!
//! What root is not granted is nobody's to lack, so no other arm asks about it. What an arm was granted, an arm with more
//! is granted too: the kernel's checks ask for capabilities, and none asks that one be absent.

use harness_protocol::plan::Call;
use harness_scenario::sweep::Arm;

use crate::expand::sweep::arm;

/// The survey of an arm, going on from those of earlier arms, and the name it is saved under; any other call as it is.
pub(super) fn chained(mut call: Call, row: usize, column: usize, arms: &[Arm]) -> (Call, Option<String>) {
    let Call::HelperSurvey(survey) = &mut call else { return (call, None) };
    let arm = arms[column];
    let name = |column: usize| format!("r{row}-a{column}-helpers");
    let of_case = |other: Arm| arm::setting(other) == arm::setting(arm);
    let earlier = || (0..column).filter(|at| of_case(arms[*at]));
    survey.within = earlier().find(|at| arms[*at] == Arm::Root).map(name);
    survey.beyond = earlier().filter(|at| has_less(arms[*at], arm)).map(name).collect();
    (call, Some(name(column)))
}

/// Whether all that an arm has is had by another one too: the same token or none, and some of the capabilities.
fn has_less(arm: Arm, other: Arm) -> bool {
    // Without a token nothing is loaded, but for what the setting lets anybody load.
    let token = |arm: Arm| arm::hands_over(arm).filter(|has| *has || arm == Arm::Unprivileged0);
    let (Some(has), Some(would_have)) = (token(arm), token(other)) else { return false };
    let caps_are_fewer = match (arm::caps(arm), arm::caps(other)) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(some), Some(all)) => some.iter().all(|cap| all.contains(cap)),
    };
    (!has || would_have) && caps_are_fewer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arm_has_less_than_one_with_more_capabilities_or_a_token() {
        for (arm, other) in [
            (Arm::NoPerfmon, Arm::NoSysAdmin),
            (Arm::NoNetAdmin, Arm::Granted),
            (Arm::NoSysAdmin, Arm::Granted),
            (Arm::Unprivileged0, Arm::NoBpf0),
        ] {
            assert!(has_less(arm, other) && !has_less(other, arm), "{} {}", arm.name(), other.name());
        }
        for (arm, other) in [
            (Arm::NoPerfmon, Arm::NoNetAdmin),
            (Arm::NoPerfmon, Arm::OnlySysAdmin),
            (Arm::Granted, Arm::NoToken),
            (Arm::NoToken, Arm::Granted),
            (Arm::Root, Arm::Granted),
            (Arm::NoCmd, Arm::Granted),
        ] {
            assert!(!has_less(arm, other), "{} {}", arm.name(), other.name());
        }
    }
}
