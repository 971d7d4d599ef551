//! Checks the four masks together on one kernel.

use std::collections::HashMap;

use harness_frontend::{
    Configuration, Element, Location, Meaning, execution_context::UserNamespace, frontend::ConfiguredObject,
};
use harness_uapi::{
    delegation::{Delegation, known_bits, numbers, option_of},
    names,
    permission::{self, checked_attach_type},
    vocabulary::Kind,
};

use super::{
    kernel_check::{KernelCheck, any, option},
    reach,
};
use crate::{
    code::Code,
    finding::Finding,
    input::{CheckInput, KernelFacts},
};

const ALLOW: &str = "if the token lacks a bit that a call needs, the kernel checks the call as if there were no token (kernel/bpf/token.c)";

pub(super) fn check(check: &mut KernelCheck<'_>, delegation: &Delegation) {
    if delegation.masks() == [0; 4] {
        nothing(check);
        return;
    }
    mask_of_32_bits(check);
    commands(check, delegation);
    programs(check, delegation);
    maps(check, delegation);
    if is_of_host_mount(check.configuration) {
        return;
    }
    for (what, names) in reach::of_mask(delegation.progs.bits() & known(check, Kind::Prog)) {
        let message = format!("delegated programs of type {} {what}", names.join(", "));
        let finding = Finding::new(
            Code::ReachesTheHost,
            message,
            "attaching requires no capability outside the container (kernel/bpf/syscall.c)",
        );
        check.add(finding.at(check.option(Kind::Prog)).advice("remove the types that nothing in the container loads"));
    }
}

/// Whether no token can ever be created, so that nothing reaches anything.
fn is_of_host_mount(configuration: &Configuration) -> bool {
    configuration.frontend.makes == ConfiguredObject::Mount
        && configuration.execution_context.user_namespace.value == UserNamespace::Host
}

/// Returns the options whose mask is a number of 32 ones.
fn of_32_bits(configuration: &Configuration) -> impl Iterator<Item = (Kind, &Element)> {
    let of = |kind: Kind| {
        configuration
            .delegated(kind)
            .iter()
            .filter(|one| one.taken)
            .flat_map(move |one| one.elements.iter().map(move |element| (kind, element)))
    };
    Kind::ALL
        .into_iter()
        .flat_map(of)
        .filter(|(_, element)| element.read_as == Some(Meaning::Number(u64::from(u32::MAX))))
}

/// Finds masks of 32 ones, once for all options.
fn mask_of_32_bits(check: &mut KernelCheck<'_>) {
    let mut first = None;
    let mut options = Vec::new();
    let mut missing = Vec::new();
    for (kind, element) in of_32_bits(check.configuration) {
        first.get_or_insert(&element.location);
        options.push(option_of(kind));
        let beyond = known(check, kind) >> 32 << 32;
        if beyond != 0 && !missing.contains(&kind.noun()) {
            missing.push(kind.noun());
        }
    }
    if missing.is_empty() {
        return;
    }
    let (options, beyond) = (options.join(", "), missing.join("s, "));
    let message = format!("the mask {:#x} of {options} leaves out the {beyond}s with numbers from 32 on", u32::MAX);
    let why = "a mask has 64 bits (bpf_parse_param in kernel/bpf/inode.c)";
    check.add(
        Finding::new(Code::NarrowMask, message, why)
            .at(first)
            .advice("write `any`, or better the names that are needed"),
    );
}

fn known(check: &KernelCheck<'_>, kind: Kind) -> u64 {
    known_bits(check.kernel.vocabulary.table(kind))
}

fn nothing(check: &mut KernelCheck<'_>) {
    if check.configuration.bpffs.is_some() {
        let why = "the kernel refuses to create a token with four empty masks: ENOENT (bpf_token_create in kernel/bpf/token.c)";
        let finding = Finding::new(Code::NothingDelegated, "nothing is delegated, so no token can be created", why);
        check.add(
            finding
                .at(check.configuration.bpffs.as_ref().map(|bpffs| &bpffs.location))
                .advice(format!("delegate what the objects need; `{} caps` computes it", harness_program::NAME)),
        );
    }
}

/// Finds commands that do not look at a token.
fn commands(check: &mut KernelCheck<'_>, delegation: &Delegation) {
    let effective = permission::commands_with_token(check.kernel.release);
    // `any` has a code of its own.
    if delegation.cmds.bits() != u64::MAX {
        let is_idle = |number: &u32| !effective.contains(number);
        let mut together: Vec<(Option<&Location>, Vec<String>)> = Vec::new();
        let (mut all_set, mut places) = (of_32_bits(check.configuration), HashMap::new());
        if all_set.any(|(kind, _)| kind == Kind::Cmd) {
            return;
        }
        for number in named(delegation.cmds.bits() & known(check, Kind::Cmd), Kind::Cmd).into_iter().filter(is_idle) {
            let location = check.element(Kind::Cmd, number).or_else(|| check.option(Kind::Cmd));
            let at = *places.entry(location).or_insert_with(|| {
                together.push((location, Vec::new()));
                together.len() - 1
            });
            together[at].1.push(names::shown(Kind::Cmd, number));
        }
        for (location, names) in together {
            let noun = if names.len() == 1 { "command" } else { "commands" };
            let message = format!("delegating the {noun} {} has no effect", names.join(", "));
            let why = "only map_create, prog_load, btf_load and, since 6.15, btf_get_fd_by_id look at a token (kernel/bpf/syscall.c)";
            check.add(Finding::new(Code::CommandWithoutEffect, message, why).at(location).advice("remove it"));
        }
    }
}

fn named(mask: u64, kind: Kind) -> Vec<u32> {
    numbers(mask).filter(|number| names::name(kind, *number).is_some()).collect()
}

fn has_command(delegation: &Delegation, name: &str) -> bool {
    names::number(Kind::Cmd, name).is_some_and(|number| delegation.cmds.contains(number))
}

fn programs(check: &mut KernelCheck<'_>, delegation: &Delegation) {
    let (progs, attachs) = (delegation.progs.bits(), delegation.attachs.bits());
    let loads = has_command(delegation, "prog_load");
    if (progs | attachs) != 0 && !loads {
        let what = if progs != 0 { Kind::Prog } else { Kind::Attach };
        let message = format!("{}s are delegated but prog_load is not: no program can be loaded", what.noun());
        check.add(
            missing(Code::ProgramsWithoutProgLoad, message)
                .at(check.option(what))
                .advice("delegate the command prog_load"),
        );
    }
    if loads && progs == 0 {
        let message = "prog_load is delegated but no program type is: no program can be loaded";
        check.add(
            missing(Code::CommandWithoutTypes, message)
                .at(check.option(Kind::Cmd))
                .advice("delegate the types of the programs"),
        );
    }
    if progs != 0 && attachs == 0 {
        let message = "program types are delegated but no attach type is: no program can be loaded";
        let advice =
            "delegate the programs' attach types, and attach type 0 (cgroup_inet_ingress) for programs without one";
        check.add(missing(Code::ProgramsWithoutAttachTypes, message).at(check.option(Kind::Prog)).advice(advice));
    } else if progs != 0 && attachs & 1 == 0 {
        attach_type_zero(check, progs);
    }
}

fn missing(code: Code, message: impl Into<String>) -> Finding {
    Finding::new(code, message, ALLOW)
}

/// Finds program types without an attach type, which are loaded with attach type 0.
fn attach_type_zero(check: &mut KernelCheck<'_>, progs: u64) {
    let untyped: Vec<&str> = named(progs & known(check, Kind::Prog), Kind::Prog)
        .into_iter()
        .filter(|number| checked_attach_type(*number, 0) == 0)
        .filter_map(|number| names::name(Kind::Prog, number))
        .filter(|name| has_no_attach_type(name))
        .collect();
    if !untyped.is_empty() {
        let message = format!(
            "attach type 0 (cgroup_inet_ingress) is not delegated: programs of type {}, which have no other, are refused",
            untyped.join(", ")
        );
        let why = "the kernel checks the bit of expected_attach_type even if it is 0 (bpf_token_allow_prog_type in kernel/bpf/token.c)";
        let finding = Finding::new(Code::AttachTypeZeroMissing, message, why);
        check.add(finding.at(check.option(Kind::Attach)).advice("delegate the attach type cgroup_inet_ingress"));
    }
}

/// Whether programs of this type are loaded without an attach type, whatever they are attached to later
/// (`bpf_prog_load_check_attach` in `kernel/bpf/syscall.c` has none for them, nor has libbpf).
fn has_no_attach_type(name: &str) -> bool {
    matches!(
        name,
        "socket_filter"
            | "tracepoint"
            | "perf_event"
            | "raw_tracepoint"
            | "raw_tracepoint_writable"
            | "sched_act"
            | "lwt_in"
            | "lwt_out"
            | "lwt_xmit"
            | "lwt_seg6local"
            | "lirc_mode2"
            | "ext"
            | "syscall"
    )
}

fn maps(check: &mut KernelCheck<'_>, delegation: &Delegation) {
    let creates = has_command(delegation, "map_create");
    if delegation.maps.bits() != 0 && !creates {
        let message = "map types are delegated but map_create is not: no map can be created";
        check.add(
            missing(Code::MapsWithoutMapCreate, message)
                .at(check.option(Kind::Map))
                .advice("delegate the command map_create"),
        );
    }
    if creates && delegation.maps.bits() == 0 {
        let message = "map_create is delegated but no map type is: no map can be created";
        check.add(
            missing(Code::CommandWithoutTypes, message)
                .at(check.option(Kind::Cmd))
                .advice("delegate the types of the maps"),
        );
    }
}

/// Finds options that are `any`, and counts what that delegates on each kernel.
pub(super) fn any_options(input: &CheckInput<'_>) -> Vec<Finding> {
    let masks = |kernel: &KernelFacts| kernel.delegation(input.configuration).map(|delegation| delegation.masks());
    let is_any = |kind: Kind, kernel: &KernelFacts| masks(kernel).is_ok_and(|masks| masks[kind as usize] == u64::MAX);
    let mut findings = Vec::new();
    if is_of_host_mount(input.configuration) || !input.configuration.unknown.is_empty() {
        return findings;
    }
    for kind in Kind::ALL {
        let kernels: Vec<&KernelFacts> = input.kernels.iter().filter(|kernel| is_any(kind, kernel)).collect();
        if kernels.is_empty() {
            continue;
        }
        let counts: Vec<String> = kernels
            .iter()
            .map(|kernel| format!("{} on {}", kernel.vocabulary.table(kind).iter().count(), kernel.name))
            .collect();
        let message =
            format!("every {} is delegated: {}, and everything that later kernels add", kind.noun(), counts.join(", "));
        let why = "`any` sets all 64 bits, including those without a name (bpf_parse_param in kernel/bpf/inode.c)";
        let location = any(input.configuration, kind).or_else(|| option(input.configuration, kind));
        let finding = Finding::new(Code::DelegatesAny, message, why).at(location);
        findings.push(
            finding.advice(format!("delegate only what is needed; `{} caps` computes it", harness_program::NAME)),
        );
    }
    findings
}
