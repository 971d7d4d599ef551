//! How a configuration is tried: by the systemd that reads it, or in a container as its front-end would make it.

use harness_frontend::{
    Configuration, Rehearsal, belongs_to_host,
    rehearsal::NoRehearsal,
    rehearse,
    surroundings::{Namespace as Own, SystemCall as Call, User, UserNamespace},
};
use harness_proof::setting::{Place, Setting, Users};
use harness_protocol::plan::{Filter, FilterErrno, Namespace, Refused, Restrictions, SystemCall};
use harness_uapi::capability;

/// How a configuration is tried.
#[derive(Clone, Debug)]
pub enum Method {
    /// systemd starts it.
    Unit(Rehearsal),
    /// The guest program makes its container.
    Container(Setting),
    /// Not at all, and why.
    Untried(String),
}

impl Method {
    /// How this one is tried.
    pub fn of(configuration: &Configuration) -> Self {
        match rehearse(configuration) {
            Ok(rehearsal) => Self::Unit(rehearsal),
            Err(NoRehearsal::NoUnit | NoRehearsal::NoService) => {
                setting(configuration).map_or_else(Self::Untried, Self::Container)
            }
            Err(why @ (NoRehearsal::OtherManager | NoRehearsal::TooLong)) => Self::Untried(why.to_string()),
        }
    }

    /// Where it is tried, if it is.
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::Unit(rehearsal) => Some(Place::Unit(rehearsal.unit.clone())),
            Self::Container(setting) => Some(Place::Container(setting.clone())),
            Self::Untried(_) => None,
        }
    }

    /// Whether systemd starts it.
    pub fn is_unit(&self) -> bool {
        matches!(self, Self::Unit(_))
    }
}

/// The container that a configuration's processes are in; an error says why there is none like it.
fn setting(configuration: &Configuration) -> Result<Setting, String> {
    let around = &configuration.surroundings;
    let users = match around.user_namespace.value {
        UserNamespace::Host => Users::Initial,
        UserNamespace::Own | UserNamespace::Unknown if belongs_to_host(configuration) => {
            return Err("its bpffs would belong to the host's user namespace, which takes its own front-end to set up"
                .to_owned());
        }
        UserNamespace::Own | UserNamespace::Unknown => Users::Own,
    };
    let held = match around.user.value {
        User::Root | User::Unknown => around.bounding_set.value.0,
        User::Named(_) | User::Dynamic => around.bounding_set.value.0 & around.ambient_set.value.0,
    };
    let net = (around.network_namespace.value == Own::Own).then_some(Namespace::Net);
    Ok(Setting {
        options: configuration.mount_options(),
        capabilities: capability::all().into_iter().filter(|number| held & (1 << number) != 0).collect(),
        users,
        namespaces: net.into_iter().collect(),
        restrictions: restrictions(configuration),
    })
}

fn restrictions(configuration: &Configuration) -> Restrictions {
    let around = &configuration.surroundings;
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
