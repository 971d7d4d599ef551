//! Whether a token can be created where the configuration puts its processes, whatever the kernel.

use harness_frontend::{
    BPFTOOL, Bpffs, Configuration, Location,
    execution_context::{HidesBpffs, SystemCall, User, UserNamespace},
    frontend::{ConfiguredObject, OptionDelivery},
};
use harness_objects::{AttachWay, Object};
use harness_uapi::{
    capability, names,
    permission::{Bit, Capability, Grant},
    vocabulary::Kind,
};

use super::kernel_check::option;
use crate::{
    code::{Code, Level},
    finding::Finding,
    input::{CheckInput, KernelFacts, belongs_to_host, capabilities},
};

pub(super) fn check(input: &CheckInput<'_>) -> Vec<Finding> {
    let configuration = input.configuration;
    // A value that can stand for any setting leaves open what the others amount to.
    let is_open = configuration.unknown.iter().any(|unknown| unknown.option.is_none());
    match (&configuration.bpffs, configuration.delegates()) {
        (None, false) => Vec::new(),
        (Some(bpffs), _) if configuration.frontend.makes == ConfiguredObject::Mount => {
            mount(configuration, bpffs).into_iter().collect()
        }
        _ if is_open => Vec::new(),
        (None, true) => vec![no_bpffs(configuration)],
        (Some(bpffs), _) if configuration.only_hides() => vec![only_hides(bpffs)],
        (Some(bpffs), _) => [namespace(configuration), capability(configuration), token_path(configuration, bpffs)]
            .into_iter()
            .flatten()
            .chain(configuration.execution_context.hides_bpffs.iter().map(not_reachable))
            .chain(configuration.execution_context.ipc_of_host.as_ref().map(ipc_of_host))
            .chain(refused_calls(input))
            .collect(),
    }
}

/// Finds a mount of the host.
fn mount(configuration: &Configuration, bpffs: &Bpffs) -> Option<Finding> {
    let why = "a bpffs belongs to the user namespace of whoever opens the file system, whoever bind-mounts it; with options that \
               delegate, mount(8) gets EPERM in any but the initial one (bpf_parse_param in kernel/bpf/inode.c), where no token \
               can be created (bpf_token_create in kernel/bpf/token.c)";
    let message = match (configuration.execution_context.user_namespace.value, configuration.frontend.delivery) {
        _ if !configuration.delegates() => return None,
        (UserNamespace::Host, _) => {
            "this bpffs belongs to the host's user namespace, where no token can be created from it"
        }
        (UserNamespace::Unknown, OptionDelivery::Shown) if configuration.frontend != BPFTOOL => {
            let message =
                "the list does not say whose this bpffs is: no token can be created from one that the host mounted";
            let finding = Finding::new(Code::BpffsOfTheHost, message, why).of_level(Level::Warning);
            return Some(finding.at(Some(&bpffs.location)).advice("look at the list in the container"));
        }
        _ => return None,
    };
    let finding = Finding::new(Code::BpffsOfTheHost, message, why).at(Some(&bpffs.location));
    Some(finding.advice(
        "let the container call fsopen(2), and a process with CAP_SYS_ADMIN on the host set the options by fsconfig(2), as \
         systemd, Incus and LXD do",
    ))
}

/// Reports a bpffs that is there only to hide the host's.
fn only_hides(bpffs: &Bpffs) -> Finding {
    let message = "PrivateBPF= hides the host's bpffs; nothing is delegated, so the processes get no token";
    let why = "without BPFDelegate…= the setting only protects the host's file system (systemd.exec(5))";
    Finding::new(Code::NothingDelegated, message, why).of_level(Level::Note).at(Some(&bpffs.location))
}

/// Finds a path at which libbpf finds no bpffs.
fn token_path(configuration: &Configuration, bpffs: &Bpffs) -> Option<Finding> {
    let context = &configuration.execution_context;
    let path = context.token_path.as_ref()?;
    let trimmed = |path: &str| path.trim_end_matches('/').to_owned();
    let mut places = context.bpffs_copies.iter().chain([&bpffs.path]);
    if places.any(|place| trimmed(place) == trimmed(&path.value)) && !path.value.is_empty() {
        return None;
    }
    let message = match path.value.as_str() {
        "" => "LIBBPF_BPF_TOKEN_PATH is empty, so libbpf uses no token".to_owned(),
        value => format!("LIBBPF_BPF_TOKEN_PATH is {value}, but the bpffs is at {}", bpffs.path),
    };
    let why = "libbpf takes the variable's path as mandatory: the object does not load without a token from there \
               (bpf_object_prepare_token in tools/lib/bpf/libbpf.c)";
    let finding = Finding::new(Code::TokenPathElsewhere, message, why).at(path.location.as_ref());
    Some(finding.advice(format!("set it to {}, or leave it out", bpffs.path)))
}

/// Reports a setting that keeps the processes from the bpffs.
fn not_reachable(hides: &HidesBpffs) -> Finding {
    let message =
        format!("{} keeps the processes from opening the bpffs, so they cannot create a token", hides.setting);
    let (level, why) = match hides.is_certain {
        true => {
            (Level::Error, "BPF_TOKEN_CREATE needs a descriptor of the bpffs (bpf_token_create in kernel/bpf/token.c)")
        }
        false => (
            Level::Warning,
            "files of file systems that are not allowed cannot be opened where the kernel has LSM programs \
                   (systemd.exec(5))",
        ),
    };
    let advice = if hides.is_certain { "leave out the path of the bpffs" } else { "allow `bpf`" };
    Finding::new(Code::BpffsNotReachable, message, why).of_level(level).at(Some(&hides.location)).advice(advice)
}

/// Reports an IPC namespace that keeps the unit from starting.
fn ipc_of_host(location: &Location) -> Finding {
    let message = "systemd does not start the unit: its IPC namespace belongs to the host's user namespace, its mount namespace does not";
    let why = "systemd mounts the IPC namespace's message queues, which takes CAP_SYS_ADMIN in the user namespace that owns it \
               (mqueue_init_fs_context in ipc/mqueue.c)";
    Finding::new(Code::NamespaceNotDelegated, message, why)
        .at(Some(location))
        .advice("use PrivateIPC=, and add `ipc` to DelegateNamespaces=")
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
        let finding = Finding::new(Code::NoUserNamespace, message, why);
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
    let number = capability::number(Capability::Bpf.name());
    let is_ambient = number.is_some_and(|number| execution_context.ambient_set.value.contains(number));
    let (location, advice) = match execution_context.user.value {
        User::Named(_) | User::Dynamic if !is_ambient => {
            let location = execution_context.ambient_set.location.as_ref().or(execution_context.user.location.as_ref());
            (location, "add `AmbientCapabilities=CAP_BPF`, and CAP_BPF to the bounding set if one is set")
        }
        _ => (execution_context.bounding_set.location.as_ref(), "add CAP_BPF to the bounding set"),
    };
    let why = "BPF_TOKEN_CREATE requires CAP_BPF itself in the user namespace (bpf_token_create in kernel/bpf/token.c)";
    let finding = Finding::new(Code::NoCapBpf, "the processes lack CAP_BPF, so they cannot create a token", why);
    Some(finding.at(location.or(configuration.bpffs.as_ref().map(|bpffs| &bpffs.location))).advice(advice))
}

/// Finds system calls that a filter refuses and that the container may make.
fn refused_calls(input: &CheckInput<'_>) -> impl Iterator<Item = Finding> {
    let opens_events = match input.objects {
        [] => input.kernels.iter().any(|kernel| delegates_probes(input, kernel)),
        objects => objects.iter().any(|(_, object)| opens_events(object)),
    };
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

/// Whether programs are delegated that are attached to an event of `perf_event_open(2)`.
fn delegates_probes(input: &CheckInput<'_>, kernel: &KernelFacts) -> bool {
    let numbers = ["kprobe", "tracepoint", "perf_event"].map(|name| names::number(Kind::Prog, name));
    kernel.delegation(input.configuration).is_ok_and(|delegation| {
        let grant = Grant { delegation, ..Grant::default() };
        numbers.into_iter().flatten().any(|number| grant.has_bit(Bit { kind: Kind::Prog, number }))
    })
}

/// Whether libbpf attaches one of its programs to an event of `perf_event_open(2)`, judging by the object file.
fn opens_events(object: &Object) -> bool {
    object.programs.iter().any(|program| matches!(program.attaches_by, AttachWay::PerfEvent | AttachWay::UserProbe))
}
