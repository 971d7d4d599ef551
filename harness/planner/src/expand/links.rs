//! The targets of links.

use harness_diagnostics::node::KeyPath;
use harness_protocol::plan::{KernelType, LinkTarget};

use crate::{
    expand::problems::Problems,
    recipe::{self, AttachGroup},
};

/// The families of netfilter hooks that a BPF link can have (`bpf_nf_check_pf_and_hooks` in
/// `net/netfilter/nf_bpf_link.c`): `NFPROTO_IPV4`, `NFPROTO_IPV6`.
const FAMILIES: [(&str, u32); 2] = [("ipv4", 2), ("ipv6", 10)];

/// `enum nf_inet_hooks` in `include/uapi/linux/netfilter.h`.
const HOOKS: [(&str, u32); 5] =
    [("pre_routing", 0), ("local_in", 1), ("forward", 2), ("local_out", 3), ("post_routing", 4)];

/// The interfaces of a container's network namespace besides `lo`; the second one exists if an attempt names it.
pub(crate) const MADE: [&str; 2] = ["dummy0", "netkit0"];

const FORMS: &str = "one of `interface:dummy0`, `interface:netkit0`, `interface:lo`, `cgroup`, `root-cgroup`, `netns`, \
    `netfilter:ipv4:local_out:0`, `perf-event`, `event:SAVED`, `kprobe:FUNCTION`, `function:FUNCTION`, `uprobe`, \
    `map:SAVED`, `elements:SAVED`, `struct-ops`, `lirc`, `none`";

/// Parses a target.
pub(crate) fn target(text: &str, key_path: &KeyPath, problems: &mut Problems<'_>) -> Option<LinkTarget> {
    let read = match text.split(':').collect::<Vec<_>>().as_slice() {
        ["none"] => Some(LinkTarget::Nothing),
        ["cgroup"] => Some(LinkTarget::Cgroup),
        ["root-cgroup"] => Some(LinkTarget::RootCgroup),
        ["netns"] => Some(LinkTarget::Netns),
        ["perf-event"] => Some(LinkTarget::PerfEvent),
        ["uprobe"] => Some(LinkTarget::Uprobe),
        ["struct-ops"] => Some(LinkTarget::StructOps),
        ["lirc"] => Some(LinkTarget::Lirc),
        ["interface", name] if *name == "lo" || MADE.contains(name) => Some(LinkTarget::Interface((*name).to_owned())),
        ["kprobe", name] if is_symbol(name) => Some(LinkTarget::Kprobes(vec![(*name).to_owned()])),
        ["function", name] if is_symbol(name) => {
            Some(LinkTarget::Functions(vec![KernelType::Func((*name).to_owned())]))
        }
        ["map", name] => Some(LinkTarget::Map((*name).to_owned())),
        ["event", name] => Some(LinkTarget::Event((*name).to_owned())),
        ["elements", name] => Some(LinkTarget::Elements((*name).to_owned())),
        ["netfilter", family, hook, priority] => netfilter(family, hook, priority),
        _ => None,
    };
    if read.is_none() {
        problems.advise(key_path, format!("`{}` is not a target", text.escape_debug()), FORMS);
    }
    read
}

/// Whether a text can be a symbol of the kernel.
pub(crate) fn is_symbol(text: &str) -> bool {
    (1..=127).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
}

/// Whether `BPF_PROG_ATTACH`, `BPF_PROG_DETACH` and `BPF_PROG_QUERY` support this target.
pub(crate) fn is_legacy(target: &LinkTarget) -> bool {
    use LinkTarget as T;
    matches!(target.bare(), T::Interface(_) | T::Cgroup | T::RootCgroup | T::Netns | T::Map(_) | T::Lirc)
}

/// Whether every container has its own target of this kind.
pub(crate) fn has_owner(target: &LinkTarget) -> bool {
    matches!(target, LinkTarget::Interface(_) | LinkTarget::Cgroup | LinkTarget::Netns)
}

fn netfilter(family: &str, hook: &str, priority: &str) -> Option<LinkTarget> {
    let number = |table: &[(&str, u32)], name: &str| table.iter().find(|(known, _)| *known == name).map(|(_, n)| *n);
    Some(LinkTarget::Netfilter {
        pf: number(&FAMILIES, family)?,
        hooknum: number(&HOOKS, hook)?,
        priority: priority.parse().ok()?,
    })
}

/// Returns what is wrong if links of an attach type need another kind of target. The kernel would take the number of a
/// file descriptor for that of an interface, or the other way round (`link_create` in `kernel/bpf/syscall.c`).
pub(crate) fn mismatch(attach: &str, target: &LinkTarget) -> Option<String> {
    use LinkTarget as T;
    let target = target.bare();
    let Some(group) = recipe::link_group(attach) else {
        return Some(format!("the kernel has no links of attach type `{attach}`"));
    };
    let (fits, wanted) = match group {
        AttachGroup::Cgroup => (matches!(target, T::Cgroup | T::RootCgroup), "a cgroup"),
        AttachGroup::Netns => (matches!(target, T::Netns), "a network namespace: `netns`"),
        AttachGroup::Dummy | AttachGroup::Netkit => (matches!(target, T::Interface(_)), "an interface"),
        AttachGroup::Netfilter => (matches!(target, T::Netfilter { .. }), "a netfilter hook"),
        AttachGroup::PerfEvent => {
            (matches!(target, T::PerfEvent | T::Event(_)), "a perf event: `perf-event` or `event:SAVED`")
        }
        AttachGroup::Kprobes => (matches!(target, T::Kprobes(_)), "a kernel function: `kprobe:FUNCTION`"),
        AttachGroup::Functions => (matches!(target, T::Functions(_)), "a kernel function: `function:FUNCTION`"),
        AttachGroup::Uprobe => (matches!(target, T::Uprobe), "a function of the guest program: `uprobe`"),
        AttachGroup::Sockmap => (matches!(target, T::Map(_)), "a saved map of sockets: `map:SAVED`"),
        AttachGroup::StructOps => (matches!(target, T::StructOps), "`struct-ops`, with a map instead of a program"),
        AttachGroup::Nothing => (matches!(target, T::Nothing | T::Elements(_)), "no target: `none`"),
        // Only `prog_attach` attaches a program there.
        AttachGroup::Lirc => (false, "`prog_attach`"),
    };
    (!fits).then(|| format!("a link of attach type `{attach}` needs {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attach_type_needs_its_kind_of_target() {
        assert_eq!(mismatch("xdp", &LinkTarget::Interface("lo".into())), None);
        assert_eq!(mismatch("cgroup_inet_egress", &LinkTarget::RootCgroup), None);
        let wrong = [
            ("tcx_ingress", LinkTarget::Cgroup),
            ("netfilter", LinkTarget::Cgroup),
            ("trace_fentry", LinkTarget::Cgroup),
            ("cgroup_device", LinkTarget::Netns),
            ("sk_lookup", LinkTarget::Cgroup),
            ("perf_event", LinkTarget::Cgroup),
            ("trace_kprobe_multi", LinkTarget::Cgroup),
            ("trace_fentry_multi", LinkTarget::Cgroup),
            ("trace_uprobe_multi", LinkTarget::Cgroup),
            ("sk_msg_verdict", LinkTarget::Cgroup),
            ("struct_ops", LinkTarget::Cgroup),
            ("sk_reuseport_select", LinkTarget::Nothing),
        ];
        let messages = wrong.map(|(attach, target)| mismatch(attach, &target).unwrap()).join("\n");
        insta::assert_snapshot!(messages, @"
        a link of attach type `tcx_ingress` needs an interface
        a link of attach type `netfilter` needs a netfilter hook
        a link of attach type `trace_fentry` needs no target: `none`
        a link of attach type `cgroup_device` needs a cgroup
        a link of attach type `sk_lookup` needs a network namespace: `netns`
        a link of attach type `perf_event` needs a perf event: `perf-event` or `event:SAVED`
        a link of attach type `trace_kprobe_multi` needs a kernel function: `kprobe:FUNCTION`
        a link of attach type `trace_fentry_multi` needs a kernel function: `function:FUNCTION`
        a link of attach type `trace_uprobe_multi` needs a function of the guest program: `uprobe`
        a link of attach type `sk_msg_verdict` needs a saved map of sockets: `map:SAVED`
        a link of attach type `struct_ops` needs `struct-ops`, with a map instead of a program
        the kernel has no links of attach type `sk_reuseport_select`
        ");
    }

    #[test]
    fn netfilter_hooks_have_numbers() {
        let expected = LinkTarget::Netfilter { pf: 2, hooknum: 3, priority: -5 };
        assert_eq!(netfilter("ipv4", "local_out", "-5"), Some(expected));
        assert_eq!(netfilter("ipv5", "local_out", "0"), None);
        assert_eq!(netfilter("ipv4", "local_out", "low"), None);
    }
}
