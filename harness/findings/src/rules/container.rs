//! Whether a token can be made where the configuration puts its processes, whatever the kernel.

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

pub(super) fn judge(subject: &CheckInput<'_>) -> Vec<Finding> {
    let configuration = subject.configuration;
    let delegates = Kind::ALL.into_iter().any(|kind| configuration.delegated(kind).iter().any(|one| one.taken));
    match (&configuration.bpffs, delegates) {
        (None, false) => Vec::new(),
        (None, true) => vec![no_bpffs(configuration)],
        (Some(_), _) => {
            [namespace(configuration), capability(configuration)].into_iter().flatten().chain(calls(subject)).collect()
        }
    }
}

fn no_bpffs(configuration: &Configuration) -> Finding {
    let location = Kind::ALL.into_iter().find_map(|kind| option(configuration, kind));
    let message = "something is delegated, and no bpffs is asked for that would carry it";
    Finding::new(Code::NoBpffs, message, "what is delegated are options of one bpffs (kernel/bpf/inode.c)")
        .at(location)
        .advice(configuration.frontend.ask_for_bpffs)
}

fn namespace(configuration: &Configuration) -> Option<Finding> {
    let (execution_context, bpffs) = (&configuration.execution_context, configuration.bpffs.as_ref()?);
    if execution_context.user_namespace.value == UserNamespace::Host {
        let location = execution_context.user_namespace.location.as_ref().unwrap_or(&bpffs.location);
        let why = "in the initial user namespace BPF_TOKEN_CREATE answers EOPNOTSUPP (bpf_token_create in kernel/bpf/token.c)";
        let message = "there is no user namespace for a token to be made in";
        // What a line mounts belongs to whoever runs it, which the line does not tell.
        let is_sure = configuration.frontend.makes != ConfiguredObject::Mount;
        let level = if is_sure { Level::Error } else { Level::Warning };
        let finding = Finding::new(Code::NoUserNamespace, message, why).of_level(level);
        return Some(finding.at(Some(location)).advice(configuration.frontend.ask_for_namespace));
    }
    let delegated = &execution_context.delegated_namespaces;
    if belongs_to_host(configuration) {
        let why = "systemd opens the bpffs with the mount namespace, which belongs to the host's user namespace unless it is \
                   delegated, and a token is made by the bpffs' own namespace (bpf_token_create in kernel/bpf/token.c)";
        let message = "the bpffs would belong to the host's user namespace, where no token can be made of it";
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
            (location, "add `AmbientCapabilities=CAP_BPF`, and CAP_BPF to the bounding set if there is one")
        }
        User::Root | User::Unknown => {
            (execution_context.bounding_set.location.as_ref(), "add CAP_BPF to the bounding set")
        }
    };
    let why = "BPF_TOKEN_CREATE asks for CAP_BPF itself in the user namespace (bpf_token_create in kernel/bpf/token.c)";
    let finding = Finding::new(Code::NoCapBpf, "its processes have no CAP_BPF, and so can make no token", why);
    Some(finding.at(location.or(configuration.bpffs.as_ref().map(|bpffs| &bpffs.location))).advice(advice))
}

/// System calls that a filter refuses, and that something may make.
fn calls(subject: &CheckInput<'_>) -> impl Iterator<Item = Finding> {
    let opens_events = subject.objects.is_empty() || subject.objects.iter().any(|(_, object)| opens_events(object));
    subject.configuration.execution_context.refused_calls.iter().filter_map(move |(call, location)| {
        let message = format!("the system call filter refuses {}(2)", call.name());
        let (level, why) = match call {
            SystemCall::Bpf => (Level::Error, "no token is made or used without bpf(2)"),
            SystemCall::PerfEventOpen if !opens_events => return None,
            SystemCall::PerfEventOpen => {
                (Level::Note, "probes and tracepoints are attached through perf_event_open(2)")
            }
            SystemCall::Fsopen | SystemCall::Fsconfig | SystemCall::Fsmount | SystemCall::MoveMount => return None,
        };
        let finding = Finding::new(Code::SeccompRefusesBpf, message, why).of_level(level).at(Some(location));
        Some(finding.advice(format!("allow {}, which is in {}", call.name(), call.group())))
    })
}

/// Whether libbpf attaches one of its programs to an event of `perf_event_open(2)`, as far as its file tells.
fn opens_events(object: &Object) -> bool {
    object.programs.iter().any(|program| matches!(program.attaches_by, AttachWay::PerfEvent | AttachWay::UserProbe))
}
