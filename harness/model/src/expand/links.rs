//! What a link attaches to.

use super::sink::Sink;
use crate::{plan::LinkTarget, scenario::node::Place};

/// The families of netfilter hooks a BPF link can have (`bpf_nf_check_pf_and_hooks` in `net/netfilter/nf_bpf_link.c`):
/// `NFPROTO_IPV4`, `NFPROTO_IPV6`.
const FAMILIES: [(&str, u32); 2] = [("ipv4", 2), ("ipv6", 10)];

/// `enum nf_inet_hooks` in `include/uapi/linux/netfilter.h`.
const HOOKS: [(&str, u32); 5] =
    [("pre_routing", 0), ("local_in", 1), ("forward", 2), ("local_out", 3), ("post_routing", 4)];

/// The interface every network namespace of a container has.
pub(crate) const DUMMY: &str = "dummy0";

const FORMS: &str = "one of `interface:dummy0`, `interface:lo`, `cgroup`, `root-cgroup`, `netfilter:ipv4:local_out:0`";

/// Reads a target.
pub(crate) fn target(text: &str, place: &Place, sink: &mut Sink<'_>) -> Option<LinkTarget> {
    let read = match text.split(':').collect::<Vec<_>>().as_slice() {
        ["cgroup"] => Some(LinkTarget::Cgroup),
        ["root-cgroup"] => Some(LinkTarget::RootCgroup),
        ["interface", name @ ("lo" | DUMMY)] => Some(LinkTarget::Interface((*name).to_owned())),
        ["netfilter", family, hook, priority] => netfilter(family, hook, priority),
        _ => None,
    };
    if read.is_none() {
        sink.advise(place, format!("`{}` is nothing a link can attach to", text.escape_debug()), FORMS);
    }
    read
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
    let (fits, wanted) = match attach {
        "netfilter" => (matches!(target, LinkTarget::Netfilter { .. }), "a netfilter hook"),
        name if name == "xdp" || name.starts_with("tcx_") || name.starts_with("netkit_") => {
            (matches!(target, LinkTarget::Interface(_)), "an interface")
        }
        name if name.starts_with("cgroup_") || name == "lsm_cgroup" => {
            (matches!(target, LinkTarget::Cgroup | LinkTarget::RootCgroup), "a cgroup")
        }
        _ => (false, "something else than an interface, a cgroup or a netfilter hook, which no scenario can give yet"),
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
        assert!(mismatch("trace_fentry", &LinkTarget::Cgroup).is_some());
    }

    #[test]
    fn netfilter_hooks_have_numbers() {
        let expected = LinkTarget::Netfilter { pf: 2, hooknum: 3, priority: -5 };
        assert_eq!(netfilter("ipv4", "local_out", "-5"), Some(expected));
        assert_eq!(netfilter("ipv5", "local_out", "0"), None);
        assert_eq!(netfilter("ipv4", "local_out", "low"), None);
    }
}
