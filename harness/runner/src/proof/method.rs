//! How a configuration is tried: by systemd as a VM unit, or in a container like the one its front-end creates.

use harness_frontend::{
    Configuration, LXC, VmUnit, belongs_to_host,
    execution_context::{Namespace as Own, SystemCall as Call, User, UserNamespace as DeclaredNamespace},
    vm_unit::NotStartable,
};
use harness_proof::setting::{TrialSetting, TrialSite, UserNamespace};
use harness_protocol::plan::{Filter, FilterErrno, Namespace, Refused, Restrictions, SystemCall};
use harness_uapi::capability;

/// How a configuration is tried.
#[derive(Clone, Debug)]
pub enum TrialMethod {
    /// systemd starts it as a VM unit.
    Unit(VmUnit),
    /// The guest program creates its container.
    Container(TrialSetting),
    /// It is not tried, with the reason.
    Untried(String),
}

impl TrialMethod {
    /// Returns how a configuration is tried.
    pub fn of(configuration: &Configuration) -> Self {
        if !configuration.unknown.is_empty() {
            return Self::Untried("a value is not in the file".to_owned());
        }
        if configuration.frontend == LXC {
            return Self::Untried("its container mounts the bpffs itself, which only LXC can set up".to_owned());
        }
        match VmUnit::of(configuration) {
            Ok(vm_unit) => Self::Unit(vm_unit),
            Err(NotStartable::NoUnit | NotStartable::NoService) => {
                setting(configuration).map_or_else(Self::Untried, Self::Container)
            }
            Err(why @ (NotStartable::OtherManager | NotStartable::TooLong)) => Self::Untried(why.to_string()),
        }
    }

    /// Returns where it is tried, if it is.
    pub fn site(&self) -> Option<TrialSite> {
        match self {
            Self::Unit(vm_unit) => Some(TrialSite::Unit(vm_unit.unit.clone())),
            Self::Container(setting) => Some(TrialSite::Container(setting.clone())),
            Self::Untried(_) => None,
        }
    }

    /// Returns whether systemd starts it.
    pub fn is_unit(&self) -> bool {
        matches!(self, Self::Unit(_))
    }
}

/// Returns the container of a configuration's processes, or why there is no container like it.
fn setting(configuration: &Configuration) -> Result<TrialSetting, String> {
    let context = &configuration.execution_context;
    let users = match context.user_namespace.value {
        DeclaredNamespace::Host => UserNamespace::Initial,
        DeclaredNamespace::Own | DeclaredNamespace::Unknown if belongs_to_host(configuration) => {
            return Err("its bpffs would belong to the host's user namespace, which only its own front-end can set up"
                .to_owned());
        }
        DeclaredNamespace::Own | DeclaredNamespace::Unknown => UserNamespace::Own,
    };
    let held = match context.user.value {
        User::Root | User::Unknown => context.bounding_set.value.0,
        User::Named(_) | User::Dynamic => context.bounding_set.value.0 & context.ambient_set.value.0,
    };
    let net = (context.network_namespace.value == Own::Own).then_some(Namespace::Net);
    Ok(TrialSetting {
        options: configuration.mount_options(),
        capabilities: capability::all().into_iter().filter(|number| held & (1 << number) != 0).collect(),
        users,
        namespaces: net.into_iter().collect(),
        restrictions: restrictions(configuration),
    })
}

fn restrictions(configuration: &Configuration) -> Restrictions {
    let context = &configuration.execution_context;
    let calls = context.refused_calls.keys().filter_map(|call| match call {
        Call::Bpf => Some(SystemCall::Bpf),
        Call::PerfEventOpen => Some(SystemCall::PerfEventOpen),
        // The front-end makes the mount calls, before it applies the filter.
        Call::Fsopen | Call::Fsconfig | Call::Fsmount | Call::MoveMount => None,
    });
    let refused: Vec<Refused> = calls.map(|call| Refused { call, command: None }).collect();
    let filter = (!refused.is_empty()).then_some(Filter { refused, answer: FilterErrno::Eperm });
    Restrictions { no_new_privs: context.no_new_privileges.value, filter }
}
