//! What an arm means for a call: its token, capabilities and setting.

use harness_protocol::{
    mount_option::MountOption,
    plan::{Call, ProgTarget, TokenCommand},
};
use harness_scenario::sweep::Arm;
use harness_uapi::{capability, delegation::Delegation, vocabulary::Kind};

use crate::feature::Needs;

/// The setting that decides what processes without capabilities may do (`Documentation/admin-guide/sysctl/kernel.rst`).
pub(super) const SETTING: &str = "kernel.unprivileged_bpf_disabled";

const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// The bits of a token that a call needs, in the order of [`Kind::ALL`] (`bpf_token_allow_cmd` and the other
/// `bpf_token_allow_*` in `kernel/bpf/token.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bits(pub(super) [u64; 4]);

impl Bits {
    /// Every bit.
    pub(super) const ALL: Self = Self([u64::MAX; 4]);

    /// Returns the bits for a call that takes a token; `None` for any other.
    pub(super) fn of(call: &Call, cmds: &Commands) -> Option<Self> {
        let cmd = cmds.bit(call.token_command()?);
        let bit = |number: u32| 1_u64.checked_shl(number).unwrap_or(0);
        let [map, prog, attach] = call.types().map(|number| number.map_or(0, bit));
        // Only the guest knows the index of a member in its structure, and so the bit.
        let attach = if is_for_member(call) { u64::MAX } else { attach };
        Some(Self([cmd, map, prog, attach]))
    }

    /// Returns everything but the bits of one kind that the call needs; `None` if it needs none of that kind.
    fn all_but(self, kind: Kind) -> Option<Self> {
        let at = kind as usize;
        let mut all = Self::ALL;
        all.0[at] = !self.0[at];
        (self.0[at] != 0).then_some(all)
    }

    pub(super) fn options(self) -> Vec<MountOption> {
        Delegation::from_masks(self.0).numeric_options()
    }
}

fn is_for_member(call: &Call) -> bool {
    let target = match call {
        Call::ProgLoad { target, .. } => target,
        Call::HelperSurvey(survey) => &survey.target,
        _ => return false,
    };
    matches!(target, ProgTarget::Member(_))
}

/// The bits of the commands that take a token and of those that attach; 0 if the kernel lacks the command.
#[derive(Clone, Debug, Default)]
pub(super) struct Commands {
    with_token: Vec<u64>,
    link_create: u64,
    prog_attach: u64,
}

impl Commands {
    pub(super) fn of(number: impl Fn(&str) -> Option<u32>) -> Self {
        let bit = |name| number(name).and_then(|number| 1_u64.checked_shl(number)).unwrap_or(0);
        Self {
            with_token: TokenCommand::ALL.iter().map(|command| bit(command.name())).collect(),
            link_create: bit("link_create"),
            prog_attach: bit("prog_attach"),
        }
    }

    fn bit(&self, command: TokenCommand) -> u64 {
        self.with_token.get(command as usize).copied().unwrap_or(0)
    }

    /// Returns the bit of the command that attaches, if the call does.
    pub(super) fn attaching(&self, call: &Call) -> u64 {
        match call {
            Call::LinkCreate { .. } => self.link_create,
            Call::ProgAttach { .. } => self.prog_attach,
            _ => 0,
        }
    }
}

/// The token of an arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArmToken {
    /// No token.
    None,
    /// A token with these bits.
    Bits(Bits),
}

/// Returns the token that an arm passes to a call that needs these bits; `None` if the arm does not apply to the call.
pub(super) fn grant(arm: Arm, bits: Option<Bits>) -> Option<ArmToken> {
    match (arm, bits) {
        (Arm::Root | Arm::Nothing | Arm::Unprivileged0 | Arm::Unprivileged2, _) => Some(ArmToken::None),
        (Arm::NoToken, Some(_)) => Some(ArmToken::None),
        (Arm::NoCmd, Some(bits)) => bits.all_but(Kind::Cmd).map(ArmToken::Bits),
        (Arm::NoType, Some(bits)) => bits.all_but(Kind::Map).or(bits.all_but(Kind::Prog)).map(ArmToken::Bits),
        (Arm::NoAttach, Some(bits)) => bits.all_but(Kind::Attach).map(ArmToken::Bits),
        (_, Some(bits)) => Some(ArmToken::Bits(bits)),
        // A call that takes no token has none to leave something out of.
        (Arm::NoToken | Arm::NoCmd | Arm::NoType | Arm::NoAttach | Arm::NoCaps, None) => None,
        (_, None) => Some(ArmToken::None),
    }
}

/// Returns the capabilities that are in effect in an arm; all if `None`.
pub(super) fn caps(arm: Arm) -> Option<Vec<u32>> {
    let all_but = |gone: &[u32]| Some(capability::all().into_iter().filter(|cap| !gone.contains(cap)).collect());
    match arm {
        Arm::Root | Arm::Granted | Arm::NoCmd | Arm::NoType | Arm::NoAttach | Arm::NoToken => None,
        Arm::NoBpf | Arm::NoBpf0 => all_but(&[CAP_BPF, CAP_SYS_ADMIN]),
        Arm::NoPerfmon => all_but(&[CAP_PERFMON, CAP_SYS_ADMIN]),
        Arm::NoNetAdmin => all_but(&[CAP_NET_ADMIN, CAP_SYS_ADMIN]),
        Arm::NoSysAdmin => all_but(&[CAP_SYS_ADMIN]),
        Arm::OnlySysAdmin => Some(vec![CAP_SYS_ADMIN]),
        Arm::NoCaps | Arm::Nothing | Arm::Unprivileged0 | Arm::Unprivileged2 => Some(Vec::new()),
    }
}

/// Whether an arm passes a token with all bits that the call needs; `None` if the token has other bits, or if the arm
/// needs none.
pub(super) fn passes_token(arm: Arm) -> Option<bool> {
    match arm {
        Arm::Granted
        | Arm::NoBpf
        | Arm::NoPerfmon
        | Arm::NoNetAdmin
        | Arm::NoSysAdmin
        | Arm::OnlySysAdmin
        | Arm::NoCaps
        | Arm::NoBpf0 => Some(true),
        Arm::NoToken | Arm::Nothing | Arm::Unprivileged0 | Arm::Unprivileged2 => Some(false),
        Arm::Root | Arm::NoCmd | Arm::NoType | Arm::NoAttach => None,
    }
}

/// Whether the verifier accepts a feature in an arm, if all kernels agree. The programs of features are of types that
/// need CAP_BPF only if [`SETTING`] says so.
pub(super) fn accepts(arm: Arm, needs: Needs) -> Option<bool> {
    let token = passes_token(arm)?;
    let has = |cap: u32| token && caps(arm).is_none_or(|caps| caps.contains(&cap) || caps.contains(&CAP_SYS_ADMIN));
    if setting(arm) != Some("0") && !has(CAP_BPF) {
        return Some(false);
    }
    needs.are_met(has(CAP_BPF), has(CAP_PERFMON))
}

/// Returns the value of [`SETTING`] that an arm needs.
pub(super) fn setting(arm: Arm) -> Option<&'static str> {
    match arm {
        Arm::Unprivileged0 | Arm::NoBpf0 => Some("0"),
        Arm::Unprivileged2 => Some("2"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: Bits = Bits([1, 2, 0, 0]);
    const PROG: Bits = Bits([32, 0, 64, 1 << 37]);

    #[test]
    fn an_arm_leaves_out_the_bits_of_its_kind() {
        assert_eq!(grant(Arm::Granted, Some(PROG)), Some(ArmToken::Bits(PROG)));
        assert_eq!(grant(Arm::NoCmd, Some(PROG)), Some(ArmToken::Bits(Bits([!32, u64::MAX, u64::MAX, u64::MAX]))));
        assert_eq!(grant(Arm::NoType, Some(PROG)), Some(ArmToken::Bits(Bits([u64::MAX, u64::MAX, !64, u64::MAX]))));
        assert_eq!(grant(Arm::NoType, Some(MAP)), Some(ArmToken::Bits(Bits([u64::MAX, !2, u64::MAX, u64::MAX]))));
        assert_eq!(
            grant(Arm::NoAttach, Some(PROG)),
            Some(ArmToken::Bits(Bits([u64::MAX, u64::MAX, u64::MAX, !(1 << 37)])))
        );
        assert_eq!(grant(Arm::NoToken, Some(MAP)), Some(ArmToken::None));
    }

    #[test]
    fn an_arm_does_not_apply_to_a_call_without_such_bits() {
        assert_eq!(grant(Arm::NoAttach, Some(MAP)), None);
        for arm in [Arm::NoCmd, Arm::NoType, Arm::NoAttach, Arm::NoToken, Arm::NoCaps] {
            assert_eq!(grant(arm, None), None, "{}", arm.name());
        }
        assert_eq!(grant(Arm::NoBpf, None), Some(ArmToken::None));
    }

    #[test]
    fn a_feature_is_accepted_with_the_capabilities_it_needs() {
        let passes = |arm| [Needs::Nothing, Needs::Bpf, Needs::Perfmon, Needs::Both].map(|needs| accepts(arm, needs));
        let known = |answers: [bool; 4]| answers.map(Some);
        assert_eq!(passes(Arm::Granted), known([true; 4]));
        assert_eq!(passes(Arm::OnlySysAdmin), known([true; 4]));
        assert_eq!(passes(Arm::NoPerfmon), known([true, true, false, false]));
        assert_eq!(passes(Arm::NoBpf0), known([true, false, true, false]));
        assert_eq!(passes(Arm::Unprivileged0), known([true, false, false, false]));
        assert_eq!(passes(Arm::NoToken), known([false; 4]));
        assert_eq!(passes(Arm::NoBpf), known([false; 4]));
        assert_eq!(passes(Arm::NoCmd), [None; 4]);
        assert_eq!((accepts(Arm::Granted, Needs::Differs), accepts(Arm::NoCaps, Needs::Differs)), (None, Some(false)));
    }

    /// `CAP_SYS_ADMIN` replaces the others (`bpf_ns_capable` in `kernel/bpf/token.c`), so it is removed with each of
    /// them.
    #[test]
    fn a_capability_is_removed_together_with_cap_sys_admin() {
        for (arm, gone) in [(Arm::NoBpf, CAP_BPF), (Arm::NoPerfmon, CAP_PERFMON), (Arm::NoNetAdmin, CAP_NET_ADMIN)] {
            let left = caps(arm).unwrap();
            assert!(!left.contains(&gone) && !left.contains(&CAP_SYS_ADMIN) && left.len() == 39, "{}", arm.name());
        }
        assert_eq!(caps(Arm::NoSysAdmin).unwrap().len(), 40);
        assert_eq!((caps(Arm::OnlySysAdmin), caps(Arm::Granted)), (Some(vec![21]), None));
        assert_eq!(capability::number("net_admin"), Some(CAP_NET_ADMIN));
        assert_eq!(capability::number("perfmon"), Some(CAP_PERFMON));
    }
}
