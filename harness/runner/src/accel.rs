//! Chooses between KVM and software emulation, and reports the reason.
//!
//! That `/dev/kvm` can be opened proves little. On a nested host without `vmx` or `svm` the ioctls can succeed while
//! any guest kernel dies, because the instructions that it runs in kernel mode are emulated one by one and that
//! emulator does not know most of them. Therefore a test guest has to run first ([`probe`]).

mod confining;
mod facts;
mod kind;
pub mod probe;

use std::{env, fmt, path::Path};

use thiserror::Error;

use crate::qemu::Qemu;
pub use confining::{Confining, confine, look_at_confinement};
use facts::Facts;
pub use kind::Accel;
use probe::Proof;

/// The environment variable that selects the accelerator: `kvm` or `tcg`.
pub const ACCEL_VARIABLE: &str = "HARNESS_ACCEL";

/// [`ACCEL_VARIABLE`] has an unknown value.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{ACCEL_VARIABLE}={0} is not valid; set it to `kvm` or `tcg`, or unset it")]
pub struct AccelError(String);

/// The chosen accelerator, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The accelerator.
    pub accel: Accel,
    /// The reason.
    pub reason: Reason,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.accel, self.reason)
    }
}

/// Why KVM is used or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// [`ACCEL_VARIABLE`] selects it.
    Asked,
    /// `/dev/kvm` cannot be opened for reading and writing.
    NoDevice(String),
    /// This machine's processor has neither `vmx` nor `svm`.
    NoProcessorSupport,
    /// The test guest did not run.
    ProbeFailed(String),
    /// The test guest ran.
    Proved,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => write!(f, "selected by {ACCEL_VARIABLE}"),
            Self::NoDevice(why) => write!(f, "/dev/kvm cannot be opened ({why})"),
            Self::NoProcessorSupport => write!(f, "/dev/kvm exists, but the processor has neither vmx nor svm"),
            Self::ProbeFailed(why) => write!(f, "/dev/kvm exists, but a test guest did not run ({why})"),
            Self::Proved => write!(f, "a test guest ran"),
        }
    }
}

/// Chooses the accelerator for this machine. The folder `memory` keeps the probe's result until the host's next boot.
pub fn choose(qemu: &Qemu, memory: &Path) -> Result<Decision, AccelError> {
    decide(requested().as_deref(), &Facts::gather(), || probe::remembered(qemu, memory))
}

/// As [`choose`], but does not keep the probe's result.
pub fn look(qemu: &Qemu, memory: &Path) -> Result<Decision, AccelError> {
    decide(requested().as_deref(), &Facts::gather(), || tested(qemu, memory))
}

/// Returns why KVM does not work on this machine although [`ACCEL_VARIABLE`] selects it.
pub fn obstacle(decision: &Decision, qemu: &Qemu, memory: &Path) -> Option<Reason> {
    obstacle_of(decision, &Facts::gather(), || tested(qemu, memory))
}

fn obstacle_of(decision: &Decision, facts: &Facts, prove: impl FnOnce() -> Proof) -> Option<Reason> {
    if *decision != (Decision { accel: Accel::Kvm, reason: Reason::Asked }) {
        return None;
    }
    let found = decide(None, facts, prove).ok()?;
    (found.accel != Accel::Kvm).then_some(found.reason)
}

/// Returns the probe's result, which is not kept.
fn tested(qemu: &Qemu, memory: &Path) -> Proof {
    probe::known(qemu, memory).unwrap_or_else(|| probe::run(qemu.path(), Accel::Kvm, probe::DEADLINE))
}

fn requested() -> Option<String> {
    env::var_os(ACCEL_VARIABLE).map(|value| value.to_string_lossy().into_owned())
}

/// Decides from the facts; calls `prove` only if the facts leave the decision open.
fn decide(requested: Option<&str>, facts: &Facts, prove: impl FnOnce() -> Proof) -> Result<Decision, AccelError> {
    let (accel, reason) = match (requested, &facts.device) {
        (Some("kvm"), _) => (Accel::Kvm, Reason::Asked),
        (Some("tcg"), _) => (Accel::Tcg, Reason::Asked),
        (Some(other), _) => return Err(AccelError(other.to_owned())),
        (None, Err(why)) => (Accel::Tcg, Reason::NoDevice(why.clone())),
        (None, Ok(())) if !facts.hardware_virtualisation => (Accel::Tcg, Reason::NoProcessorSupport),
        (None, Ok(())) => match prove() {
            Proof::Ran => (Accel::Kvm, Reason::Proved),
            Proof::Failed(why) => (Accel::Tcg, Reason::ProbeFailed(why)),
        },
    };
    Ok(Decision { accel, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(opens: bool, hardware_virtualisation: bool) -> Facts {
        Facts { device: if opens { Ok(()) } else { Err("permission denied".to_owned()) }, hardware_virtualisation }
    }

    fn not_reached() -> Proof {
        panic!("the facts already decide")
    }

    #[test]
    fn a_device_that_opens_on_a_processor_without_vmx_or_svm_is_not_chosen() {
        let decision = decide(None, &facts(true, false), not_reached).unwrap();
        assert_eq!(decision, Decision { accel: Accel::Tcg, reason: Reason::NoProcessorSupport });
    }

    #[test]
    fn a_device_that_opens_but_whose_guest_dies_is_not_chosen() {
        let decision = decide(None, &facts(true, true), || Proof::Failed("emulation failure".to_owned())).unwrap();
        assert_eq!(decision.accel, Accel::Tcg);
        insta::assert_snapshot!(decision, @"software emulation: /dev/kvm exists, but a test guest did not run (emulation failure)");
    }

    #[test]
    fn kvm_is_chosen_when_a_guest_ran() {
        let decision = decide(None, &facts(true, true), || Proof::Ran).unwrap();
        assert_eq!(decision, Decision { accel: Accel::Kvm, reason: Reason::Proved });
    }

    #[test]
    fn a_device_that_does_not_open_is_not_chosen() {
        let decision = decide(None, &facts(false, true), not_reached).unwrap();
        assert_eq!(decision.accel, Accel::Tcg);
        insta::assert_snapshot!(decision, @"software emulation: /dev/kvm cannot be opened (permission denied)");
    }

    #[test]
    fn kvm_that_is_selected_but_does_not_work_is_noticed() {
        let decision = |requested| decide(requested, &facts(true, true), || Proof::Ran).unwrap();
        let why = |requested, facts: Facts, proof| obstacle_of(&decision(requested), &facts, || proof);
        let died = || Proof::Failed("emulation failure".to_owned());
        assert!(matches!(why(Some("kvm"), facts(false, true), Proof::Ran), Some(Reason::NoDevice(_))));
        assert_eq!(why(Some("kvm"), facts(true, false), Proof::Ran), Some(Reason::NoProcessorSupport));
        assert!(matches!(why(Some("kvm"), facts(true, true), died()), Some(Reason::ProbeFailed(_))));
        assert_eq!(why(Some("kvm"), facts(true, true), Proof::Ran), None);
        assert_eq!(
            (why(Some("tcg"), facts(false, false), died()), why(None, facts(false, false), died())),
            (None, None)
        );
    }

    #[test]
    fn the_variable_overrides_the_facts_and_an_unknown_value_is_an_error() {
        let requested = |text| decide(Some(text), &facts(false, false), not_reached);
        assert_eq!(requested("kvm").unwrap(), Decision { accel: Accel::Kvm, reason: Reason::Asked });
        assert_eq!(requested("tcg").unwrap(), Decision { accel: Accel::Tcg, reason: Reason::Asked });
        insta::assert_snapshot!(requested("hvf").unwrap_err(), @"HARNESS_ACCEL=hvf is not valid; set it to `kvm` or `tcg`, or unset it");
        for wrong in ["", "KVM", "hvf"] {
            assert_eq!(requested(wrong).unwrap_err(), AccelError(wrong.to_owned()));
        }
    }
}
