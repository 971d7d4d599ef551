//! What one kernel makes of a configuration.

use harness_frontend::{
    Assignment, Element, Meaning,
    frontend::{OptionDelivery, Spelling},
};
use harness_protocol::mount_option::LONGEST_VALUE;
use harness_uapi::{
    delegation::{Delegation, ParsedElement, known_bits},
    names,
    vocabulary::Kind,
};

use super::{kernel_check::KernelCheck, masks};
use crate::{
    code::{Code, Level},
    finding::Finding,
    input::Origin,
};

pub(super) fn judge(judged: &mut KernelCheck<'_>) {
    if !judged.kernel.has_tokens() {
        without_tokens(judged);
        return;
    }
    for kind in Kind::ALL {
        for assignment in judged.configuration.delegated(kind).iter().filter(|assignment| assignment.taken) {
            elements(judged, kind, assignment);
        }
    }
    lengths(judged);
    let delegation = judged.kernel.delegation(judged.configuration);
    if let Ok(delegation) = delegation {
        masks::judge(judged, &delegation);
        distribution(judged, &delegation);
    }
}

fn without_tokens(judged: &mut KernelCheck<'_>) {
    let message = format!("Linux {} has no tokens: it accepts the options and ignores them", judged.kernel.release);
    let why = "delegation came with Linux 6.9; before, bpffs passed over options it did not know (kernel/bpf/inode.c)";
    let location = judged.configuration.bpffs.as_ref().map(|bpffs| &bpffs.location);
    let location = location.or_else(|| Kind::ALL.into_iter().find_map(|kind| judged.option(kind)));
    judged.tell(Finding::new(Code::KernelWithoutTokens, message, why).at(location).advice("run Linux 6.9 or later"));
}

/// Names and numbers one by one.
fn elements(judged: &mut KernelCheck<'_>, kind: Kind, assignment: &Assignment) {
    for element in &assignment.elements {
        match element.read_as {
            Some(Meaning::Name(number)) => name(judged, kind, element, number),
            Some(Meaning::Number(mask)) => bits(judged, kind, element, mask),
            Some(Meaning::Any | Meaning::Unreadable) | None => {}
        }
    }
}

fn name(judged: &mut KernelCheck<'_>, kind: Kind, element: &Element, number: u32) {
    let table = judged.kernel.vocabulary.table(kind);
    if let Some(flag) = table.sentinel(&element.text) {
        flag_as_name(judged, kind, element, flag.number);
        return;
    }
    let spelling = judged.configuration.frontend.spelling;
    let is_read = match spelling {
        Spelling::Systemd => table.name(number).is_some(),
        Spelling::Kernel => ParsedElement::of(&element.text, table).is_some(),
    };
    if is_read {
        return;
    }
    let entry = names::entry(kind, number).filter(|entry| entry.first.is_in(judged.kernel.release) != Some(true));
    let first = entry.map_or_else(String::new, |entry| format!("; it came with {}", entry.first));
    let message = format!("Linux {} has no {kind} `{}`{first}", judged.kernel.release, element.text);
    let (level, why) = match spelling {
        Spelling::Systemd => (
            Level::Warning,
            "systemd hands over a number, and the kernel sets a bit that means nothing to it (kernel/bpf/inode.c)",
        ),
        Spelling::Kernel => (
            Level::Error,
            "the kernel looks names up in its own type information and refuses others with EINVAL (kernel/bpf/inode.c)",
        ),
    };
    let finding = Finding::new(Code::NameNotOnKernel, message, why).of_level(level).at(Some(&element.location));
    judged.tell(finding.advice("leave it out, or run a later kernel"));
}

fn flag_as_name(judged: &mut KernelCheck<'_>, kind: Kind, element: &Element, value: u32) {
    let bit = names::shown(kind, value % 64);
    let message = format!("`{}` is a flag, and sets the bit of {bit}", element.text);
    let why = "the processor takes 1 << N modulo 64 (bpf_parse_param in kernel/bpf/inode.c)";
    let finding = Finding::new(Code::FlagAsName, message, why).at(Some(&element.location));
    judged.tell(finding.advice(format!("leave it out, or write {bit} if that is meant")));
}

fn bits(judged: &mut KernelCheck<'_>, kind: Kind, element: &Element, mask: u64) {
    let beyond = mask & !known_bits(judged.kernel.vocabulary.table(kind));
    if beyond != 0 && mask != u64::MAX {
        let message = format!("Linux {} has no {kind} for the bits {beyond:#x}", judged.kernel.release);
        let why = "the kernel sets them all the same and shows none of them (kernel/bpf/inode.c)";
        let finding = Finding::new(Code::BitsWithoutName, message, why).at(Some(&element.location));
        judged.tell(finding.advice("write the names that are meant"));
    }
}

/// Values longer than a mount option may be.
fn lengths(judged: &mut KernelCheck<'_>) {
    if judged.configuration.frontend.handing == OptionDelivery::Shown {
        return;
    }
    for option in judged.configuration.mount_options() {
        if option.value.len() <= LONGEST_VALUE {
            continue;
        }
        let kind = Kind::ALL.into_iter().find(|kind| harness_uapi::delegation::option_of(*kind) == option.key);
        let message =
            format!("the value of {} has {} bytes; the kernel takes {LONGEST_VALUE}", option.key, option.value.len());
        let finding = Finding::new(Code::ValueTooLong, message, "fsconfig(2) refuses it with EINVAL (fs/fsopen.c)");
        let location = kind.and_then(|kind| judged.option(kind));
        judged.tell(finding.at(location).advice("write a mask as one number, or `any`"));
    }
}

/// What a distribution's settings change.
fn distribution(judged: &mut KernelCheck<'_>, delegation: &Delegation) {
    let has = |name: &str| names::number(Kind::Prog, name).is_some_and(|number| delegation.progs.contains(number));
    let probes: Vec<&str> = ["kprobe", "tracepoint", "perf_event"].into_iter().filter(|name| has(name)).collect();
    if judged.kernel.origin == Origin::Debian && !probes.is_empty() {
        let message = format!(
            "Debian sets kernel.perf_event_paranoid to 3, so that no perf event can be opened for programs of type {}",
            probes.join(", ")
        );
        let why = "Debian's kernels refuse perf_event_open(2) without CAP_PERFMON outside altogether";
        judged.tell(Finding::new(Code::DistributionDiffers, message, why).at(judged.option(Kind::Prog)));
    }
}
