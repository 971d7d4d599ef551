//! What the four masks mean together on one kernel.

use harness_uapi::{
    delegation::{Delegation, known_bits, numbers},
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

const ALLOW: &str = "a token that lacks a bit is no token at all (kernel/bpf/token.c)";

pub(super) fn judge(judged: &mut KernelCheck<'_>, delegation: &Delegation) {
    if delegation.masks() == [0; 4] {
        nothing(judged);
        return;
    }
    commands(judged, delegation);
    programs(judged, delegation);
    maps(judged, delegation);
    for (what, names) in reach::of_mask(delegation.progs.bits() & known(judged, Kind::Prog)) {
        let message = format!("delegated programs of type {} {what}", names.join(", "));
        let finding = Finding::new(
            Code::ReachesTheHost,
            message,
            "attaching asks for no capability outside (kernel/bpf/syscall.c)",
        );
        judged.tell(
            finding.at(judged.option(Kind::Prog)).advice("leave out the types that nothing in the container loads"),
        );
    }
}

fn known(judged: &KernelCheck<'_>, kind: Kind) -> u64 {
    known_bits(judged.kernel.vocabulary.table(kind))
}

fn nothing(judged: &mut KernelCheck<'_>) {
    if judged.configuration.bpffs.is_some() {
        let why = "a token of four empty masks is refused with ENOENT (bpf_token_create in kernel/bpf/token.c)";
        let finding = Finding::new(Code::NothingDelegated, "nothing is delegated, so that no token can be made", why);
        judged.tell(
            finding
                .at(judged.configuration.bpffs.as_ref().map(|bpffs| &bpffs.location))
                .advice(format!("delegate what the objects need: `{} caps` computes it", harness_program::NAME)),
        );
    }
}

/// Commands that look at a token, and what they need beside them.
fn commands(judged: &mut KernelCheck<'_>, delegation: &Delegation) {
    let effective = permission::commands_with_token(judged.kernel.release);
    // What everything is delegated with is told once, by another code.
    if delegation.cmds.bits() != u64::MAX {
        let idle = named(delegation.cmds.bits() & known(judged, Kind::Cmd), Kind::Cmd);
        for number in idle.into_iter().filter(|number| !effective.contains(number)) {
            let name = names::shown(Kind::Cmd, number);
            let message = format!("delegating the command {name} does nothing");
            let why = "only map_create, prog_load, btf_load and, since 6.15, btf_get_fd_by_id look at a token (kernel/bpf/syscall.c)";
            let location = judged.element(Kind::Cmd, number).or_else(|| judged.option(Kind::Cmd));
            judged.tell(Finding::new(Code::CommandWithoutEffect, message, why).at(location).advice("leave it out"));
        }
    }
}

fn named(mask: u64, kind: Kind) -> Vec<u32> {
    numbers(mask).filter(|number| names::name(kind, *number).is_some()).collect()
}

fn has_command(delegation: &Delegation, name: &str) -> bool {
    names::number(Kind::Cmd, name).is_some_and(|number| delegation.cmds.contains(number))
}

fn programs(judged: &mut KernelCheck<'_>, delegation: &Delegation) {
    let (progs, attachs) = (delegation.progs.bits(), delegation.attachs.bits());
    let loads = has_command(delegation, "prog_load");
    if (progs | attachs) != 0 && !loads {
        let what = if progs != 0 { Kind::Prog } else { Kind::Attach };
        let message = format!("{}s are delegated, and prog_load is not: no program can be loaded", what.noun());
        judged.tell(
            missing(Code::ProgramsWithoutProgLoad, message)
                .at(judged.option(what))
                .advice("delegate the command prog_load"),
        );
    }
    if loads && progs == 0 {
        let message = "prog_load is delegated, and no program type is: no program can be loaded";
        judged.tell(
            missing(Code::CommandWithoutTypes, message)
                .at(judged.option(Kind::Cmd))
                .advice("delegate the types of the programs"),
        );
    }
    if progs != 0 && attachs == 0 {
        let message = "program types are delegated, and no attach type is: no program can be loaded";
        let advice =
            "delegate the programs' attach types, or cgroup_inet_ingress, which is 0, for those that have none";
        judged.tell(missing(Code::ProgramsWithoutAttachTypes, message).at(judged.option(Kind::Prog)).advice(advice));
    } else if progs != 0 && attachs & 1 == 0 {
        attach_type_zero(judged, progs);
    }
}

fn missing(code: Code, message: impl Into<String>) -> Finding {
    Finding::new(code, message, ALLOW)
}

/// Programs whose types know no attach type are loaded with 0.
fn attach_type_zero(judged: &mut KernelCheck<'_>, progs: u64) {
    let untyped: Vec<&str> = named(progs & known(judged, Kind::Prog), Kind::Prog)
        .into_iter()
        .filter(|number| checked_attach_type(*number, 0) == 0)
        .filter_map(|number| names::name(Kind::Prog, number))
        .filter(|name| has_no_attach_type(name))
        .collect();
    if !untyped.is_empty() {
        let message = format!(
            "attach type 0, cgroup_inet_ingress, is not delegated: programs of type {} have no other and are refused",
            untyped.join(", ")
        );
        let why = "the bit of expected_attach_type is looked for even where it is 0 (bpf_token_allow_prog_type in kernel/bpf/token.c)";
        let finding = Finding::new(Code::AttachTypeZeroMissing, message, why);
        judged.tell(finding.at(judged.option(Kind::Attach)).advice("delegate the attach type cgroup_inet_ingress"));
    }
}

/// Types of programs that are loaded with no attach type, whatever they are attached to later
/// (`bpf_prog_load_check_attach` in `kernel/bpf/syscall.c` knows none for them, and libbpf names none).
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

fn maps(judged: &mut KernelCheck<'_>, delegation: &Delegation) {
    let creates = has_command(delegation, "map_create");
    if delegation.maps.bits() != 0 && !creates {
        let message = "map types are delegated, and map_create is not: no map can be created";
        judged.tell(
            missing(Code::MapsWithoutMapCreate, message)
                .at(judged.option(Kind::Map))
                .advice("delegate the command map_create"),
        );
    }
    if creates && delegation.maps.bits() == 0 {
        let message = "map_create is delegated, and no map type is: no map can be created";
        judged.tell(
            missing(Code::CommandWithoutTypes, message)
                .at(judged.option(Kind::Cmd))
                .advice("delegate the types of the maps"),
        );
    }
}

/// Options that say `any`, and how much that is on each kernel.
pub(super) fn everything(subject: &CheckInput<'_>) -> Vec<Finding> {
    let masks = |kernel: &KernelFacts| kernel.delegation(subject.configuration).map(|delegation| delegation.masks());
    let is_any = |kind: Kind, kernel: &KernelFacts| masks(kernel).is_ok_and(|masks| masks[kind as usize] == u64::MAX);
    let mut findings = Vec::new();
    for kind in Kind::ALL {
        let kernels: Vec<&KernelFacts> = subject.kernels.iter().filter(|kernel| is_any(kind, kernel)).collect();
        if kernels.is_empty() {
            continue;
        }
        let counts: Vec<String> = kernels
            .iter()
            .map(|kernel| format!("{} on {}", kernel.vocabulary.table(kind).iter().count(), kernel.name))
            .collect();
        let message =
            format!("every {} is delegated: {}, and whatever a later kernel brings", kind.noun(), counts.join(", "));
        let why = "`any` sets all 64 bits, those without a name included (bpf_parse_param in kernel/bpf/inode.c)";
        let location = any(subject.configuration, kind).or_else(|| option(subject.configuration, kind));
        let finding = Finding::new(Code::DelegatesAny, message, why).at(location);
        findings.push(finding.advice(format!("name what is needed: `{} caps` computes it", harness_program::NAME)));
    }
    findings
}
