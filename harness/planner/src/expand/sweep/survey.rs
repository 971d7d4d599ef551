//! Chains the surveys of helpers, so that none asks about a helper whose answer follows from an earlier one.
//!
//! A helper that root does not get cannot be missing a permission, so no other arm asks about it. A helper that an arm
//! gets, an arm with more permissions gets too: the kernel's checks require capabilities, and none requires that one is
//! absent.

use harness_protocol::plan::Call;
use harness_scenario::sweep::Arm;

use crate::expand::sweep::arm;

/// Chains the survey of an arm to those of earlier arms, and returns the name to save it under. Any other call is
/// unchanged.
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

/// Whether another arm has everything that this one has: the same token if this one has it, and its capabilities.
fn has_less(arm: Arm, other: Arm) -> bool {
    // Without a token nothing loads, except what the setting lets everyone load.
    let token = |arm: Arm| arm::passes_token(arm).filter(|has| *has || arm == Arm::Unprivileged0);
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
