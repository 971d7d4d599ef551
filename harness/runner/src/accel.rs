//! KVM or software emulation: decided from facts, and told with the reason.
//!
//! A `/dev/kvm` that opens proves little. On a nested host without `vmx` or `svm` the ioctls can succeed while any guest
//! kernel dies, because the instructions it runs in kernel mode are emulated one by one and most are not known to that
//! emulator. So a guest of our own has to run first ([`probe`]).

mod facts;
mod kind;
pub mod probe;

use std::{env, fmt, path::Path};

use thiserror::Error;

use crate::qemu::Qemu;
use facts::Facts;
pub use kind::Accel;
use probe::Proof;

/// Set to `kvm` or `tcg` to decide by hand.
pub const ACCEL_VARIABLE: &str = "HARNESS_ACCEL";

/// [`ACCEL_VARIABLE`] is set to something else.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{ACCEL_VARIABLE}={0} is not known: it is `kvm`, `tcg`, or not set")]
pub struct AccelError(String);

/// What was decided, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What to use.
    pub accel: Accel,
    /// Why.
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
    /// [`ACCEL_VARIABLE`] says so.
    Asked,
    /// `/dev/kvm` does not open for reading and writing.
    NoDevice(String),
    /// The processor of this machine has neither `vmx` nor `svm`.
    NoProcessorSupport,
    /// The proof was tried and failed.
    ProbeFailed(String),
    /// A guest ran.
    Proved,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => write!(f, "{ACCEL_VARIABLE} says so"),
            Self::NoDevice(why) => write!(f, "/dev/kvm does not open ({why})"),
            Self::NoProcessorSupport => write!(f, "/dev/kvm opens, but the processor has neither vmx nor svm"),
            Self::ProbeFailed(why) => write!(f, "/dev/kvm opens, but a test guest did not run ({why})"),
            Self::Proved => write!(f, "a test guest ran"),
        }
    }
}

/// Decides for this machine. `memory` is a folder that keeps the proof until the next boot of the host.
pub fn choose(qemu: &Qemu, memory: &Path) -> Result<Decision, AccelError> {
    decide(asked().as_deref(), &Facts::gather(), || probe::remembered(qemu, memory))
}

/// As [`choose`], without keeping a proof that had to be made for it.
pub fn look(qemu: &Qemu, memory: &Path) -> Result<Decision, AccelError> {
    decide(asked().as_deref(), &Facts::gather(), || {
        probe::known(qemu, memory).unwrap_or_else(|| probe::run(qemu.path(), Accel::Kvm, probe::DEADLINE))
    })
}

fn asked() -> Option<String> {
    env::var_os(ACCEL_VARIABLE).map(|value| value.to_string_lossy().into_owned())
}

/// The decision as a function of the facts; `prove` is only called if the facts leave it open.
fn decide(asked: Option<&str>, facts: &Facts, prove: impl FnOnce() -> Proof) -> Result<Decision, AccelError> {
    let (accel, reason) = match (asked, &facts.device) {
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
        assert!(decision.to_string().contains("emulation failure"), "{decision}");
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
        assert!(decision.to_string().contains("permission denied"), "{decision}");
    }

    #[test]
    fn the_variable_overrides_the_facts_and_a_wrong_one_is_an_error() {
        let asked = |text| decide(Some(text), &facts(false, false), not_reached);
        assert_eq!(asked("kvm").unwrap(), Decision { accel: Accel::Kvm, reason: Reason::Asked });
        assert_eq!(asked("tcg").unwrap(), Decision { accel: Accel::Tcg, reason: Reason::Asked });
        for wrong in ["", "KVM", "hvf"] {
            let message = asked(wrong).unwrap_err().to_string();
            assert!(message.contains("`kvm`, `tcg`"), "{message}");
        }
    }
}
