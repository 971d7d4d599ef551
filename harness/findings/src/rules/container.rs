//! Whether a token can be created where the configuration puts its processes, whatever the kernel.

use harness_frontend::{
    Configuration,
    execution_context::{SystemCall, User, UserNamespace},
    frontend::ConfiguredObject,
};
use harness_objects::{AttachWay, Object};
use harness_uapi::{permission::Capability, vocabulary::Kind};

use super::kernel_check::option;
use crate::{
    code::{Code, Level},
    finding::Finding,
    input::{CheckInput, belongs_to_host, capabilities},
};

pub(super) fn check(input: &CheckInput<'_>) -> Vec<Finding> {
    let configuration = input.configuration;
    let delegates = Kind::ALL.into_iter().any(|kind| configuration.delegated(kind).iter().any(|one| one.taken));
    match (&configuration.bpffs, delegates) {
        (None, false) => Vec::new(),
        (None, true) => vec![no_bpffs(configuration)],
        (Some(_), _) => [namespace(configuration), capability(configuration)]
            .into_iter()
            .flatten()
            .chain(refused_calls(input))
            .collect(),
    }
}

fn no_bpffs(configuration: &Configuration) -> Finding {
    let location = Kind::ALL.into_iter().find_map(|kind| option(configuration, kind));
    let message = "delegation options are set, but no bpffs mount is requested";
    Finding::new(Code::NoBpffs, message, "delegations are mount options of a bpffs (kernel/bpf/inode.c)")
        .at(location)
        .advice(configuration.frontend.ask_for_bpffs)
}

fn namespace(configuration: &Configuration) -> Option<Finding> {
    let (execution_context, bpffs) = (&configuration.execution_context, configuration.bpffs.as_ref()?);
    if execution_context.user_namespace.value == UserNamespace::Host {
        let location = execution_context.user_namespace.location.as_ref().unwrap_or(&bpffs.location);
        let why = "in the initial user namespace BPF_TOKEN_CREATE fails with EOPNOTSUPP (bpf_token_create in kernel/bpf/token.c)";
        let message = "there is no user namespace in which a token can be created";
        // A mount belongs to the user namespace of whoever runs the line, which the line does not say.
        let is_certain = configuration.frontend.makes != ConfiguredObject::Mount;
        let level = if is_certain { Level::Error } else { Level::Warning };
        let finding = Finding::new(Code::NoUserNamespace, message, why).of_level(level);
        return Some(finding.at(Some(location)).advice(configuration.frontend.ask_for_namespace));
    }
    let delegated = &execution_context.delegated_namespaces;
    if belongs_to_host(configuration) {
        let why = "systemd opens the bpffs with the mount namespace, which belongs to the host's user namespace unless it is \
                   delegated; a token can only be created in the user namespace that owns the bpffs (bpf_token_create in \
                   kernel/bpf/token.c)";
        let message = "the bpffs would belong to the host's user namespace, where no token can be created from it";
        let location = delegated.location.as_ref().unwrap_or(&bpffs.location);
        return Some(
            Finding::new(Code::BpffsOfTheHost, message, why).at(Some(location)).advice("add `DelegateNamespaces=mnt`"),
        );
    }
    None
}

fn capability(configuration: &Configuration) -> Option<Finding> {
    if capabilities(configuration).contains(&Capability::Bpf) {
        return None;
    }
    let execution_context = &configuration.execution_context;
    let (location, advice) = match execution_context.user.value {
        User::Named(_) | User::Dynamic => {
            let location = execution_context.ambient_set.location.as_ref().or(execution_context.user.location.as_ref());
            (location, "add `AmbientCapabilities=CAP_BPF`, and CAP_BPF to the bounding set if one is set")
        }
        User::Root | User::Unknown => {
            (execution_context.bounding_set.location.as_ref(), "add CAP_BPF to the bounding set")
        }
    };
    let why = "BPF_TOKEN_CREATE requires CAP_BPF itself in the user namespace (bpf_token_create in kernel/bpf/token.c)";
    let finding = Finding::new(Code::NoCapBpf, "the processes lack CAP_BPF, so they cannot create a token", why);
    Some(finding.at(location.or(configuration.bpffs.as_ref().map(|bpffs| &bpffs.location))).advice(advice))
}

/// Finds system calls that a filter refuses and that the container may make.
fn refused_calls(input: &CheckInput<'_>) -> impl Iterator<Item = Finding> {
    let opens_events = input.objects.is_empty() || input.objects.iter().any(|(_, object)| opens_events(object));
    input.configuration.execution_context.refused_calls.iter().filter_map(move |(call, location)| {
        let message = format!("the system call filter refuses {}(2)", call.name());
        let (level, why) = match call {
            SystemCall::Bpf => (Level::Error, "without bpf(2) no token can be created or used"),
            SystemCall::PerfEventOpen if !opens_events => return None,
            SystemCall::PerfEventOpen => {
                (Level::Note, "probes and tracepoints are attached through perf_event_open(2)")
            }
            SystemCall::Fsopen | SystemCall::Fsconfig | SystemCall::Fsmount | SystemCall::MoveMount => return None,
        };
        let finding = Finding::new(Code::SeccompRefusesBpf, message, why).of_level(level).at(Some(location));
        Some(finding.advice(format!("allow {} (part of {})", call.name(), call.group())))
    })
}

/// Whether libbpf attaches one of its programs to an event of `perf_event_open(2)`, judging by the object file.
fn opens_events(object: &Object) -> bool {
    object.programs.iter().any(|program| matches!(program.attaches_by, AttachWay::PerfEvent | AttachWay::UserProbe))
}
