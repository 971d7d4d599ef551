//! The input of a check: a configuration, kernels, objects and programs.

use std::collections::BTreeSet;

use guard_policy::Policy;
use harness_frontend::{
    Configuration, LXC, Names,
    execution_context::{SystemCall, User, UserNamespace},
    frontend::{ConfiguredObject, OptionDelivery},
};
use harness_objects::Object;
use harness_protocol::name::KernelName;
use harness_uapi::{
    capability,
    delegation::{Delegation, RefusedOption},
    permission::{self, Capability, Grant},
    release::Release,
    vocabulary::Vocabulary,
};

pub use harness_frontend::belongs_to_host;

use crate::program::ProgramNeeds;

/// What is known about a kernel without building it.
#[derive(Clone, Debug)]
pub struct KernelFacts {
    /// Its name.
    pub name: KernelName,
    /// Its release.
    pub release: Release,
    /// The names it knows, or those of the nearest kernel.
    pub vocabulary: Vocabulary,
    /// Who builds it, which decides its default settings.
    pub origin: Origin,
}

/// Who builds a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This project, from source.
    Built,
    /// Debian.
    Debian,
}

/// A configuration, the kernels it is for, and the objects to load under it.
#[derive(Clone, Copy, Debug)]
pub struct CheckInput<'a> {
    /// The configuration.
    pub configuration: &'a Configuration,
    /// The kernels.
    pub kernels: &'a [KernelFacts],
    /// How names are spelled.
    pub names: Names<'a>,
    /// The objects that are loaded under it, each with its name.
    pub objects: &'a [(String, Object)],
    /// The same objects as other loaders load them, if nobody said who loads them.
    pub elsewhere: &'a [(String, Object)],
    /// The programs that run under it.
    pub programs: &'a [ProgramNeeds],
    /// The policies of the guard that its processes run under, each with its name.
    pub policies: &'a [(String, Policy)],
}

impl KernelFacts {
    /// Whether it has tokens; earlier kernels ignore the options of bpffs.
    pub fn has_tokens(&self) -> bool {
        self.release >= permission::FIRST_RELEASE
    }

    /// Returns what a configuration's mount options delegate on this kernel: nothing, if it has no tokens.
    ///
    /// # Errors
    /// [`RefusedOption`] if the kernel refuses an option; then there is no bpffs.
    pub fn delegation(&self, configuration: &Configuration) -> Result<Delegation, RefusedOption> {
        if !self.has_tokens() {
            return Ok(Delegation::default());
        }
        let options = configuration.mount_options();
        match configuration.frontend.delivery {
            // Options that the kernel shows are already set, and may be longer than those that can be set.
            OptionDelivery::Shown => Delegation::shown(&options, &self.vocabulary),
            _ => Delegation::requested(&options, &self.vocabulary),
        }
    }
}

/// Returns what a configuration grants to a container with this delegation; nothing if there is no user namespace in which
/// a token can be created.
pub fn grant(configuration: &Configuration, delegation: Delegation) -> Grant {
    if cannot_create_token(configuration) {
        return Grant::default();
    }
    Grant { delegation, capabilities: capabilities(configuration) }
}

/// Returns what a configuration's processes may do when they call `bpf(2)`: what their token grants, or what their
/// capabilities do in the host's user namespace, where no token is needed (`bpf_token_capable` in `kernel/bpf/token.c`).
pub fn powers(configuration: &Configuration, delegation: Delegation) -> Grant {
    if is_outside(configuration) && !configuration.execution_context.refused_calls.contains_key(&SystemCall::Bpf) {
        return Grant { delegation: Delegation::from_masks([u64::MAX; 4]), capabilities: capabilities(configuration) };
    }
    grant(configuration, delegation)
}

/// Whether the front-end starts the processes in the host's user namespace.
pub fn is_outside(configuration: &Configuration) -> bool {
    configuration.frontend.makes == ConfiguredObject::Unit
        && configuration.execution_context.user_namespace.value == UserNamespace::Host
}

/// Whether the bpffs belongs to the host's user namespace or cannot be opened, or `bpf(2)` is refused.
fn cannot_create_token(configuration: &Configuration) -> bool {
    let context = &configuration.execution_context;
    configuration.bpffs.is_none()
        || context.user_namespace.value == UserNamespace::Host
        || belongs_to_host(configuration)
        || context.refused_calls.contains_key(&SystemCall::Bpf)
        // Its mounts are made in the container, where no option delegates.
        || configuration.frontend == LXC
        || context.hides_bpffs.iter().any(|hides| hides.is_certain)
        || context.ipc_of_host.is_some()
}

/// Returns the capabilities of a configuration's processes in their user namespace: for root the bounding set, for anyone
/// else the ambient set (`capabilities(7)`, "Transformation of capabilities during execve").
pub fn capabilities(configuration: &Configuration) -> BTreeSet<Capability> {
    let execution_context = &configuration.execution_context;
    let all = [Capability::NetAdmin, Capability::SysAdmin, Capability::SysBoot, Capability::Perfmon, Capability::Bpf];
    let has = |capability: &Capability| {
        let Some(number) = capability::number(capability.name()) else { return false };
        let bounded = execution_context.bounding_set.value.contains(number);
        match execution_context.user.value {
            User::Root | User::Unknown => bounded,
            User::Named(_) | User::Dynamic => bounded && execution_context.ambient_set.value.contains(number),
        }
    };
    all.into_iter().filter(has).collect()
}
