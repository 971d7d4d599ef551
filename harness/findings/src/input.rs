//! What is judged.

use std::collections::BTreeSet;

use harness_frontend::{
    Configuration, Names,
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

/// A kernel that a configuration is meant for, as far as that is known without building it.
#[derive(Clone, Debug)]
pub struct KernelFacts {
    /// What it is called.
    pub name: KernelName,
    /// Its release.
    pub release: Release,
    /// The names it knows, or those of the kernel nearest to it.
    pub vocabulary: Vocabulary,
    /// Whether it is a distribution's, with the settings it comes with there.
    pub origin: Origin,
}

/// Who makes a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This project, from sources.
    Built,
    /// Debian.
    Debian,
}

/// A configuration, what it is to hold on, and what is to be loaded under it.
#[derive(Clone, Copy, Debug)]
pub struct CheckInput<'a> {
    /// The configuration.
    pub configuration: &'a Configuration,
    /// The kernels.
    pub kernels: &'a [KernelFacts],
    /// How names are spelled.
    pub names: Names<'a>,
    /// What is to be loaded under it, by libbpf, with what each is called.
    pub objects: &'a [(String, Object)],
}

impl KernelFacts {
    /// Whether it has tokens; before, bpffs passes over the options.
    pub fn has_tokens(&self) -> bool {
        self.release >= permission::FIRST_RELEASE
    }

    /// What this kernel makes of a configuration's mount options: nothing, if it has no tokens.
    ///
    /// # Errors
    /// [`RefusedOption`] for what it refuses: there is no bpffs then.
    pub fn delegation(&self, configuration: &Configuration) -> Result<Delegation, RefusedOption> {
        if !self.has_tokens() {
            return Ok(Delegation::default());
        }
        let options = configuration.mount_options();
        match configuration.frontend.handing {
            // What is shown was set before, and may be longer than what can be set.
            OptionDelivery::Shown => Delegation::shown(&options, &self.vocabulary),
            _ => Delegation::requested(&options, &self.vocabulary),
        }
    }
}

/// What a configuration gives to a container by this delegation; nothing where there is no user namespace that a token
/// could be made in.
pub fn grant(configuration: &Configuration, delegation: Delegation) -> Grant {
    if makes_no_token(configuration) {
        return Grant::default();
    }
    Grant { delegation, capabilities: capabilities(configuration) }
}

/// What a configuration's processes have when they call `bpf(2)`: what their token gives, or what their capabilities do in the
/// host's user namespace, where no token is asked for (`bpf_token_capable` in `kernel/bpf/token.c`).
pub fn powers(configuration: &Configuration, delegation: Delegation) -> Grant {
    if is_outside(configuration) && !configuration.execution_context.refused_calls.contains_key(&SystemCall::Bpf) {
        return Grant { delegation: Delegation::from_masks([u64::MAX; 4]), capabilities: capabilities(configuration) };
    }
    grant(configuration, delegation)
}

/// Whether a front-end that makes the processes leaves them in the host's user namespace.
pub fn is_outside(configuration: &Configuration) -> bool {
    configuration.frontend.makes == ConfiguredObject::Unit
        && configuration.execution_context.user_namespace.value == UserNamespace::Host
}

/// Whether the bpffs belongs to the host's user namespace, or `bpf(2)` is refused.
fn makes_no_token(configuration: &Configuration) -> bool {
    let around = &configuration.execution_context;
    configuration.bpffs.is_none()
        || around.user_namespace.value == UserNamespace::Host
        || belongs_to_host(configuration)
        || around.refused_calls.contains_key(&SystemCall::Bpf)
}

/// The capabilities of a configuration's processes in their user namespace: those of the bounding set for root, and for
/// anybody else the ambient ones (`capabilities(7)`, "Transformation of capabilities during execve").
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
