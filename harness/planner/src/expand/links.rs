//! What a link attaches to.

use harness_diagnostics::node::KeyPath;
use harness_protocol::plan::{KernelType, LinkTarget};

use crate::{
    expand::problems::Problems,
    recipe::{self, AttachPlace},
};

/// The families of netfilter hooks a BPF link can have (`bpf_nf_check_pf_and_hooks` in `net/netfilter/nf_bpf_link.c`):
/// `NFPROTO_IPV4`, `NFPROTO_IPV6`.
const FAMILIES: [(&str, u32); 2] = [("ipv4", 2), ("ipv6", 10)];

/// `enum nf_inet_hooks` in `include/uapi/linux/netfilter.h`.
const HOOKS: [(&str, u32); 5] =
    [("pre_routing", 0), ("local_in", 1), ("forward", 2), ("local_out", 3), ("post_routing", 4)];

/// The interfaces a network namespace of a container has besides `lo`; the second one where an attempt names it.
pub(crate) const MADE: [&str; 2] = ["dummy0", "netkit0"];

const FORMS: &str = "one of `interface:dummy0`, `interface:netkit0`, `interface:lo`, `cgroup`, `root-cgroup`, `netns`, \
    `netfilter:ipv4:local_out:0`, `perf-event`, `kprobe:FUNCTION`, `function:FUNCTION`, `uprobe`, `map:SAVED`, \
    `elements:SAVED`, `struct-ops`, `lirc`, `none`";

/// Reads a target.
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
        ["elements", name] => Some(LinkTarget::Elements((*name).to_owned())),
        ["netfilter", family, hook, priority] => netfilter(family, hook, priority),
        _ => None,
    };
    if read.is_none() {
        problems.advise(key_path, format!("`{}` is nothing a link can attach to", text.escape_debug()), FORMS);
    }
    read
}

/// Whether a text can be the name of something in the kernel.
pub(crate) fn is_symbol(text: &str) -> bool {
    (1..=127).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
}

/// Whether `BPF_PROG_ATTACH` and its like have such a target.
pub(crate) fn is_legacy(target: &LinkTarget) -> bool {
    use LinkTarget as T;
    matches!(target.bare(), T::Interface(_) | T::Cgroup | T::RootCgroup | T::Netns | T::Map(_) | T::Lirc)
}

/// Whether every container has such a target of its own.
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

/// What kind of target an attach type needs, in words, if this target is another kind: the kernel would read the number
/// of a file descriptor as that of an interface, or the other way round (`link_create` in `kernel/bpf/syscall.c`).
pub(crate) fn mismatch(attach: &str, target: &LinkTarget) -> Option<&'static str> {
    use LinkTarget as T;
    let target = target.bare();
    let Some(key_path) = recipe::link_place(attach) else {
        return Some("something else than bpf(2): the kernel has no link of this type");
    };
    let (fits, wanted) = match key_path {
        AttachPlace::Cgroup => (matches!(target, T::Cgroup | T::RootCgroup), "a cgroup"),
        AttachPlace::Netns => (matches!(target, T::Netns), "a network namespace: `netns`"),
        AttachPlace::Dummy | AttachPlace::Netkit => (matches!(target, T::Interface(_)), "an interface"),
        AttachPlace::Netfilter => (matches!(target, T::Netfilter { .. }), "a netfilter hook"),
        AttachPlace::PerfEvent => (matches!(target, T::PerfEvent), "a perf event: `perf-event`"),
        AttachPlace::Kprobes => (matches!(target, T::Kprobes(_)), "a function of the kernel: `kprobe:FUNCTION`"),
        AttachPlace::Functions => (matches!(target, T::Functions(_)), "a function of the kernel: `function:FUNCTION`"),
        AttachPlace::Uprobe => (matches!(target, T::Uprobe), "a function of the guest program: `uprobe`"),
        AttachPlace::Sockmap => (matches!(target, T::Map(_)), "a saved map of sockets: `map:SAVED`"),
        AttachPlace::StructOps => (matches!(target, T::StructOps), "`struct-ops`, and a map instead of a program"),
        AttachPlace::Nothing => (matches!(target, T::Nothing | T::Elements(_)), "no target: `none`"),
        // A program is attached there by `prog_attach` only.
        AttachPlace::Lirc => (false, "no link"),
    };
    (!fits).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attach_type_and_its_target_fit() {
        assert_eq!(mismatch("xdp", &LinkTarget::Interface("lo".into())), None);
        assert_eq!(mismatch("cgroup_inet_egress", &LinkTarget::RootCgroup), None);
        assert_eq!(mismatch("tcx_ingress", &LinkTarget::Cgroup), Some("an interface"));
        assert_eq!(mismatch("netfilter", &LinkTarget::Cgroup), Some("a netfilter hook"));
        assert_eq!(mismatch("trace_fentry", &LinkTarget::Cgroup), Some("no target: `none`"));
        assert!(mismatch("sk_reuseport_select", &LinkTarget::Nothing).is_some());
    }

    #[test]
    fn netfilter_hooks_have_numbers() {
        let expected = LinkTarget::Netfilter { pf: 2, hooknum: 3, priority: -5 };
        assert_eq!(netfilter("ipv4", "local_out", "-5"), Some(expected));
        assert_eq!(netfilter("ipv5", "local_out", "0"), None);
        assert_eq!(netfilter("ipv4", "local_out", "low"), None);
    }
}
