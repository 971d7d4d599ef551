//! What a case is run with, and why one is not carried out.

use harness_protocol::{
    name::ContainerName,
    plan::{BpffsFd, Call, Case, LinkTarget, PinLocation},
};
use thiserror::Error;

use crate::{
    actor::{ActorError, Needs},
    context::GuestContext,
    controls::Controls,
    interfaces,
    lsm::LsmDenyHooks,
    pass::AttemptError,
    record::{RecordError, Writer},
    sysctl::SysctlError,
};

/// Why a case was not carried out to its end.
#[derive(Debug, Error)]
pub(crate) enum CaseError {
    /// A container does not stand.
    #[error("container `{container}`: {source}")]
    Container {
        /// Which.
        container: ContainerName,
        /// Why.
        source: ActorError,
    },
    /// The host's agent does not stand.
    #[error("the host's agent: {0}")]
    Host(ActorError),
    /// A container is to be made in one that was not made before it.
    #[error("container `{container}` is to be made in `{parent}`, which does not stand before it in the plan")]
    Parent {
        /// Which.
        container: ContainerName,
        /// Where.
        parent: ContainerName,
    },
    /// An attempt could not be made.
    #[error("attempt {index} ({op}): {source}")]
    Attempt {
        /// Which.
        index: usize,
        /// Of which kind.
        op: &'static str,
        /// Why.
        source: AttemptError,
    },
    /// A pin would leave its bpffs.
    #[error("attempt {index} ({op}): `{path}` is no plain file name below a bpffs")]
    Path {
        /// Which.
        index: usize,
        /// Of which kind.
        op: &'static str,
        /// The name.
        path: String,
    },
    /// An attempt is to share the controls of one that has none, or of another call.
    #[error("attempt {index} ({op}) cannot share the controls of attempt {of}")]
    SharedControl {
        /// Which.
        index: usize,
        /// Of which kind.
        op: &'static str,
        /// With which.
        of: u32,
    },
    /// A setting of the case could not be made.
    #[error(transparent)]
    Setting(SysctlError),
    /// A setting of the case could not be taken back.
    #[error("{0}")]
    NotRestored(String),
    /// Nothing can be told to the host any more.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// What a case is run with.
pub(crate) struct Stage<'a> {
    /// What parties stand on.
    pub(crate) context: &'a GuestContext,
    /// Who makes the control attempts.
    pub(crate) controls: &'a mut Controls,
    /// Where outcomes go.
    pub(crate) record: &'a mut Writer,
    /// What refuses attempts while they are made for real.
    pub(crate) deny_hooks: &'a LsmDenyHooks,
}

pub(super) fn failed_attempt(case: &Case, index: usize, source: AttemptError) -> CaseError {
    CaseError::Attempt { index, op: case.attempts[index].call.op(), source }
}

pub(super) fn needs_of(case: &Case) -> Needs {
    let any = |wants: fn(&Call) -> bool| case.attempts.iter().any(|attempt| wants(&attempt.call));
    Needs {
        interfaces: any(|call| call.target().is_some_and(is_of_network)),
        netkit: any(
            |call| matches!(call.target().map(LinkTarget::bare), Some(LinkTarget::Interface(name)) if name == interfaces::NETKIT),
        ),
        tmpfs: any(|call| {
            matches!(
                call,
                Call::TokenCreate { fd: BpffsFd::Tmpfs, .. } | Call::ObjPin { place: PinLocation::Tmpfs, .. }
            )
        }),
    }
}

/// Whether a target belongs to a network namespace. Root does not attach anything to the initial one: a flow dissector
/// there rules out those of all others (`flow_dissector_bpf_prog_attach_check` in `net/core/flow_dissector.c`).
fn is_of_network(target: &LinkTarget) -> bool {
    matches!(target.bare(), LinkTarget::Interface(_) | LinkTarget::Netfilter { .. } | LinkTarget::Netns)
}

#[cfg(test)]
mod tests {
    use harness_protocol::plan::{Actor, Attempt, Token};

    use super::*;

    #[test]
    fn a_case_gets_interfaces_and_a_tmpfs_only_if_it_uses_them() {
        let link = |target| Call::LinkCreate { prog: "p".to_owned(), attach_type: 37, target };
        let needs = |call| {
            needs_of(&Case {
                sysctls: Default::default(),
                containers: vec![],
                attempts: [Call::BtfLoad, call].map(|call| Attempt::new(Actor::Host, Token::None, call)).into(),
            })
        };
        assert_eq!(needs(link(LinkTarget::Cgroup)), Needs::default());
        let lo = needs(link(LinkTarget::Interface("lo".to_owned())));
        assert!(lo.interfaces && !lo.netkit);
        assert!(needs(link(LinkTarget::Interface("netkit0".to_owned()))).netkit);
        assert!(needs(link(LinkTarget::Netns)).interfaces);
        assert!(needs(Call::TokenCreate { from: Actor::Host, fd: BpffsFd::Tmpfs, flags: 0 }).tmpfs);
        assert!(!needs(Call::TokenCreate { from: Actor::Host, fd: BpffsFd::Root, flags: 0 }).tmpfs);
    }
}
