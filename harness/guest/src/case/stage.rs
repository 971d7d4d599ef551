//! What a case runs with, and why it may fail.

use harness_protocol::{
    name::ContainerName,
    plan::{BpffsFd, Call, Case, LinkTarget, PinLocation},
};
use thiserror::Error;

use crate::{
    actor::{ActorError, Needs},
    context::GuestContext,
    controls::Controls,
    guard::Guard,
    interfaces,
    lsm::LsmDenyHooks,
    pass::AttemptError,
    record::{RecordError, Writer},
    sysctl::SysctlError,
};

/// Why a case was not completed.
#[derive(Debug, Error)]
pub(crate) enum CaseError {
    /// A container could not be set up.
    #[error("container `{container}`: {source}")]
    Container {
        /// The container.
        container: ContainerName,
        /// The error.
        source: ActorError,
    },
    /// The host's actor could not be set up.
    #[error("the host's executor: {0}")]
    Host(ActorError),
    /// A container's parent does not come before it.
    #[error("container `{container}` needs parent `{parent}`, which does not come before it in the plan")]
    Parent {
        /// The container.
        container: ContainerName,
        /// Its parent.
        parent: ContainerName,
    },
    /// An attempt could not be made.
    #[error("attempt {index} ({op}): {source}")]
    Attempt {
        /// Its index.
        index: usize,
        /// Its operation.
        op: &'static str,
        /// The error.
        source: AttemptError,
    },
    /// The guard's denial is not on record.
    #[error("attempt {index} ({op}) fails because of the guard, but the guard has no record of a denial")]
    Unrecorded {
        /// The attempt's index.
        index: usize,
        /// Its operation.
        op: &'static str,
    },
    /// A pin would leave its bpffs.
    #[error("attempt {index} ({op}): `{path}` is not a plain path below a bpffs")]
    Path {
        /// The attempt's index.
        index: usize,
        /// Its operation.
        op: &'static str,
        /// The path.
        path: String,
    },
    /// An attempt names shared controls that do not exist, or belong to another call.
    #[error("attempt {index} ({op}) cannot share the controls of attempt {of}")]
    SharedControl {
        /// The attempt's index.
        index: usize,
        /// Its operation.
        op: &'static str,
        /// The attempt whose controls it names.
        of: u32,
    },
    /// A kernel setting of the case could not be set.
    #[error(transparent)]
    Setting(SysctlError),
    /// A kernel setting of the case could not be restored.
    #[error("{0}")]
    NotRestored(String),
    /// The record cannot be written any more.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// What a case runs with.
pub(crate) struct Stage<'a> {
    /// The plan and the cgroup hierarchy.
    pub(crate) context: &'a GuestContext,
    /// The actors of the controls.
    pub(crate) controls: &'a mut Controls,
    /// Where outcomes are recorded.
    pub(crate) record: &'a mut Writer,
    /// What refuses attempts while they are made for real.
    pub(crate) deny_hooks: &'a LsmDenyHooks,
    /// The scenario's guard.
    pub(crate) guard: Option<&'a mut Guard>,
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

/// Returns whether a target belongs to a network namespace. Root attaches nothing to the initial one: a flow dissector
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
