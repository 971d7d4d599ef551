//! How one kernel reads a configuration.

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

pub(super) fn check(check: &mut KernelCheck<'_>) {
    if !check.kernel.has_tokens() {
        without_tokens(check);
        return;
    }
    for kind in Kind::ALL {
        for assignment in check.configuration.delegated(kind).iter().filter(|assignment| assignment.taken) {
            elements(check, kind, assignment);
        }
    }
    lengths(check);
    let delegation = check.kernel.delegation(check.configuration);
    if let Ok(delegation) = delegation {
        masks::check(check, &delegation);
        distribution(check, &delegation);
    }
}

fn without_tokens(check: &mut KernelCheck<'_>) {
    let message = format!("Linux {} has no tokens: it accepts the options and ignores them", check.kernel.release);
    let why = "delegation exists since Linux 6.9; earlier kernels ignore unknown options of bpffs (kernel/bpf/inode.c)";
    let location = check.configuration.bpffs.as_ref().map(|bpffs| &bpffs.location);
    let location = location.or_else(|| Kind::ALL.into_iter().find_map(|kind| check.option(kind)));
    check.add(Finding::new(Code::KernelWithoutTokens, message, why).at(location).advice("use Linux 6.9 or later"));
}

/// Checks names and numbers one by one.
fn elements(check: &mut KernelCheck<'_>, kind: Kind, assignment: &Assignment) {
    for element in &assignment.elements {
        match element.read_as {
            Some(Meaning::Name(number)) => name(check, kind, element, number),
            Some(Meaning::Number(mask)) => bits(check, kind, element, mask),
            Some(Meaning::Any | Meaning::Unreadable) | None => {}
        }
    }
}

fn name(check: &mut KernelCheck<'_>, kind: Kind, element: &Element, number: u32) {
    let table = check.kernel.vocabulary.table(kind);
    if let Some(flag) = table.sentinel(&element.text) {
        flag_as_name(check, kind, element, flag.number);
        return;
    }
    let spelling = check.configuration.frontend.spelling;
    let is_read = match spelling {
        Spelling::Systemd => table.name(number).is_some(),
        Spelling::Kernel => ParsedElement::of(&element.text, table).is_some(),
    };
    if is_read {
        return;
    }
    let entry = names::entry(kind, number).filter(|entry| entry.first.is_in(check.kernel.release) != Some(true));
    let first = entry.map_or_else(String::new, |entry| format!("; it was added in {}", entry.first));
    let message = format!("Linux {} has no {kind} `{}`{first}", check.kernel.release, element.text);
    let (level, why) = match spelling {
        Spelling::Systemd => (
            Level::Warning,
            "systemd passes a number, and the kernel sets a bit that has no meaning to it (kernel/bpf/inode.c)",
        ),
        Spelling::Kernel => (
            Level::Error,
            "the kernel looks names up in its own BTF and refuses unknown ones with EINVAL (kernel/bpf/inode.c)",
        ),
    };
    let finding = Finding::new(Code::NameNotOnKernel, message, why).of_level(level).at(Some(&element.location));
    check.add(finding.advice("remove it, or use a later kernel"));
}

fn flag_as_name(check: &mut KernelCheck<'_>, kind: Kind, element: &Element, value: u32) {
    let bit = names::shown(kind, value % 64);
    let message = format!("`{}` is a flag, but sets the bit of the {kind} {bit}", element.text);
    let why = "the kernel sets the bit 1 << VALUE, and the processor takes VALUE modulo 64 (bpf_parse_param in kernel/bpf/inode.c)";
    let finding = Finding::new(Code::FlagAsName, message, why).at(Some(&element.location));
    check.add(finding.advice(format!("remove it, or write {bit} if that is what you mean")));
}

fn bits(check: &mut KernelCheck<'_>, kind: Kind, element: &Element, mask: u64) {
    let beyond = mask & !known_bits(check.kernel.vocabulary.table(kind));
    if beyond != 0 && mask != u64::MAX {
        let message = format!("Linux {} has no {kind} for the bits {beyond:#x}", check.kernel.release);
        let why = "the kernel sets them anyway and does not show them (kernel/bpf/inode.c)";
        let finding = Finding::new(Code::BitsWithoutName, message, why).at(Some(&element.location));
        check.add(finding.advice("write the names that you mean"));
    }
}

/// Finds values that are longer than a mount option may be.
fn lengths(check: &mut KernelCheck<'_>) {
    if check.configuration.frontend.delivery == OptionDelivery::Shown {
        return;
    }
    for option in check.configuration.mount_options() {
        if option.value.len() <= LONGEST_VALUE {
            continue;
        }
        let kind = Kind::ALL.into_iter().find(|kind| harness_uapi::delegation::option_of(*kind) == option.key);
        let message = format!(
            "the value of {} is {} bytes long; the kernel accepts at most {LONGEST_VALUE}",
            option.key,
            option.value.len()
        );
        let finding = Finding::new(Code::ValueTooLong, message, "fsconfig(2) refuses it with EINVAL (fs/fsopen.c)");
        let location = kind.and_then(|kind| check.option(kind));
        check.add(finding.at(location).advice("write the mask as one number, or `any`"));
    }
}

/// Reports what a distribution's settings change.
fn distribution(check: &mut KernelCheck<'_>, delegation: &Delegation) {
    let has = |name: &str| names::number(Kind::Prog, name).is_some_and(|number| delegation.progs.contains(number));
    let probes: Vec<&str> = ["kprobe", "tracepoint", "perf_event"].into_iter().filter(|name| has(name)).collect();
    if check.kernel.origin == Origin::Debian && !probes.is_empty() {
        let message = format!(
            "Debian sets kernel.perf_event_paranoid to 3, so no perf event can be opened for programs of type {}",
            probes.join(", ")
        );
        let why = "with this setting Debian's kernels refuse every perf_event_open(2) without CAP_SYS_ADMIN in the initial user namespace";
        check.add(Finding::new(Code::DistributionDiffers, message, why).at(check.option(Kind::Prog)));
    }
}
