//! How a configuration is tried: by the systemd that reads it, or in a container as its front-end would make it.

use harness_frontend::{
    Configuration, VmUnit, belongs_to_host,
    execution_context::{Namespace as Own, SystemCall as Call, User, UserNamespace as DeclaredNamespace},
    rehearse,
    vm_unit::NotStartable,
};
use harness_proof::setting::{TrialSetting, TrialSite, UserNamespace};
use harness_protocol::plan::{Filter, FilterErrno, Namespace, Refused, Restrictions, SystemCall};
use harness_uapi::capability;

/// How a configuration is tried.
#[derive(Clone, Debug)]
pub enum TrialMethod {
    /// systemd starts it.
    Unit(VmUnit),
    /// The guest program makes its container.
    Container(TrialSetting),
    /// Not at all, and why.
    Untried(String),
}

impl TrialMethod {
    /// How this one is tried.
    pub fn of(configuration: &Configuration) -> Self {
        match rehearse(configuration) {
            Ok(vm_unit) => Self::Unit(vm_unit),
            Err(NotStartable::NoUnit | NotStartable::NoService) => {
                setting(configuration).map_or_else(Self::Untried, Self::Container)
            }
            Err(why @ (NotStartable::OtherManager | NotStartable::TooLong)) => Self::Untried(why.to_string()),
        }
    }

    /// Where it is tried, if it is.
    pub fn place(&self) -> Option<TrialSite> {
        match self {
            Self::Unit(vm_unit) => Some(TrialSite::Unit(vm_unit.unit.clone())),
            Self::Container(setting) => Some(TrialSite::Container(setting.clone())),
            Self::Untried(_) => None,
        }
    }

    /// Whether systemd starts it.
    pub fn is_unit(&self) -> bool {
        matches!(self, Self::Unit(_))
    }
}

/// The container that a configuration's processes are in; an error says why there is none like it.
fn setting(configuration: &Configuration) -> Result<TrialSetting, String> {
    let around = &configuration.execution_context;
    let users = match around.user_namespace.value {
        DeclaredNamespace::Host => UserNamespace::Initial,
        DeclaredNamespace::Own | DeclaredNamespace::Unknown if belongs_to_host(configuration) => {
            return Err("its bpffs would belong to the host's user namespace, which takes its own front-end to set up"
                .to_owned());
        }
        DeclaredNamespace::Own | DeclaredNamespace::Unknown => UserNamespace::Own,
    };
    let held = match around.user.value {
        User::Root | User::Unknown => around.bounding_set.value.0,
        User::Named(_) | User::Dynamic => around.bounding_set.value.0 & around.ambient_set.value.0,
    };
    let net = (around.network_namespace.value == Own::Own).then_some(Namespace::Net);
    Ok(TrialSetting {
        options: configuration.mount_options(),
        capabilities: capability::all().into_iter().filter(|number| held & (1 << number) != 0).collect(),
        users,
        namespaces: net.into_iter().collect(),
        restrictions: restrictions(configuration),
    })
}

fn restrictions(configuration: &Configuration) -> Restrictions {
    let around = &configuration.execution_context;
    let calls = around.refused_calls.keys().filter_map(|call| match call {
        Call::Bpf => Some(SystemCall::Bpf),
        Call::PerfEventOpen => Some(SystemCall::PerfEventOpen),
        // What mounts is called by the front-end, before its filter.
        Call::Fsopen | Call::Fsconfig | Call::Fsmount | Call::MoveMount => None,
    });
    let refused: Vec<Refused> = calls.map(|call| Refused { call, command: None }).collect();
    let filter = (!refused.is_empty()).then_some(Filter { refused, answer: FilterErrno::Eperm });
    Restrictions { no_new_privs: around.no_new_privileges.value, filter }
}
