//! A kernel's Kconfig options, as far as BPF names depend on them.
//!
//! BTF lists the names that a kernel knows. A kernel may know a name without implementing it, because the option behind it
//! is off; then every caller gets the error of an invalid call.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::vocabulary::Kind;

/// The Kconfig options that a kernel has on, built in or as modules, or set to a text that is not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Configuration {
    on: BTreeSet<String>,
}

impl Configuration {
    /// Reads a resolved configuration, as in `/proc/config.gz` and `/boot/config-*`. Lines that set no option are skipped.
    pub fn of(text: &str) -> Self {
        let assigned = text.lines().filter_map(|line| line.split_once('='));
        let is_on = |value: &str| matches!(value, "y" | "m") || (value.starts_with('"') && value != "\"\"");
        let options = assigned.filter(|(_, value)| is_on(value)).map(|(option, _)| option);
        Self { on: options.filter(|option| option.starts_with("CONFIG_")).map(str::to_owned).collect() }
    }

    /// A configuration with every option that a name depends on, for tests.
    pub fn complete() -> Self {
        Self { on: NEEDS.iter().map(|(.., option)| (*option).to_owned()).collect() }
    }

    /// Whether this option, `CONFIG_` included, is on.
    pub fn has(&self, option: &str) -> bool {
        self.on.contains(option)
    }

    /// Whether this text is a valid option name, `CONFIG_` included.
    pub fn is_option(text: &str) -> bool {
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
        text.strip_prefix("CONFIG_").is_some_and(|rest| !rest.is_empty() && rest.chars().all(legal))
    }

    /// Why the kernel does not implement this name, if the option it depends on is off.
    pub fn lacks(&self, kind: Kind, name: &str) -> Option<String> {
        let option = option(kind, name).filter(|option| !self.has(option))?;
        Some(format!("this kernel is built without {option}"))
    }
}

const CGROUP_BPF: &str = "CONFIG_CGROUP_BPF";
const EVENTS: &str = "CONFIG_BPF_EVENTS";
const JIT: &str = "CONFIG_BPF_JIT";
const LIRC: &str = "CONFIG_BPF_LIRC_MODE2";
const LSM: &str = "CONFIG_BPF_LSM";
const NETFILTER: &str = "CONFIG_NETFILTER_BPF_LINK";

/// The option that each name depends on: program and map types by `include/linux/bpf_types.h`, attach types by their
/// program type. Options that all BPF networking depends on are left out: every kernel worth testing has them.
const NEEDS: [(Kind, &str, &str); 30] = [
    (Kind::Prog, "cgroup_skb", CGROUP_BPF),
    (Kind::Prog, "cgroup_sock", CGROUP_BPF),
    (Kind::Prog, "cgroup_sock_addr", CGROUP_BPF),
    (Kind::Prog, "cgroup_device", CGROUP_BPF),
    (Kind::Prog, "cgroup_sysctl", CGROUP_BPF),
    (Kind::Prog, "cgroup_sockopt", CGROUP_BPF),
    (Kind::Prog, "kprobe", EVENTS),
    (Kind::Prog, "tracepoint", EVENTS),
    (Kind::Prog, "perf_event", EVENTS),
    (Kind::Prog, "raw_tracepoint", EVENTS),
    (Kind::Prog, "raw_tracepoint_writable", EVENTS),
    (Kind::Prog, "tracing", EVENTS),
    (Kind::Prog, "lirc_mode2", LIRC),
    (Kind::Prog, "struct_ops", JIT),
    (Kind::Prog, "ext", JIT),
    (Kind::Prog, "lsm", LSM),
    (Kind::Prog, "netfilter", NETFILTER),
    (Kind::Map, "cgroup_array", "CONFIG_CGROUPS"),
    (Kind::Map, "cgrp_storage", "CONFIG_CGROUPS"),
    (Kind::Map, "cgroup_storage", CGROUP_BPF),
    (Kind::Map, "percpu_cgroup_storage", CGROUP_BPF),
    (Kind::Map, "stack_trace", "CONFIG_PERF_EVENTS"),
    (Kind::Map, "inode_storage", LSM),
    (Kind::Map, "xskmap", "CONFIG_XDP_SOCKETS"),
    (Kind::Map, "struct_ops", JIT),
    (Kind::Attach, "lirc_mode2", LIRC),
    (Kind::Attach, "lsm_mac", LSM),
    (Kind::Attach, "lsm_cgroup", LSM),
    (Kind::Attach, "netfilter", NETFILTER),
    (Kind::Attach, "struct_ops", JIT),
];

fn option(kind: Kind, name: &str) -> Option<&'static str> {
    NEEDS.iter().find(|(of, known, _)| (*of, *known) == (kind, name)).map(|(.., option)| *option)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::Vocabulary;

    #[test]
    fn an_option_is_on_if_it_is_built_in_or_a_module_or_has_a_text() {
        let text = "# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=m\nCONFIG_D=7\nCONFIG_E=\"=y\"\nCONFIG_F=\"\"\nX=y\n";
        let configuration = Configuration::of(text);
        let names = ["CONFIG_A", "CONFIG_B", "CONFIG_C", "CONFIG_D", "CONFIG_E", "CONFIG_F", "X"];
        let on = names.map(|name| configuration.has(name));
        assert_eq!(on, [false, true, true, false, true, false, false]);
    }

    #[test]
    fn a_name_without_its_option_says_which() {
        let configuration = Configuration::of("CONFIG_BPF_LSM=y\n");
        assert_eq!(configuration.lacks(Kind::Prog, "lsm"), None);
        assert_eq!(configuration.lacks(Kind::Map, "hash"), None);
        let reason = configuration.lacks(Kind::Attach, "lirc_mode2").unwrap();
        assert_eq!(reason, "this kernel is built without CONFIG_BPF_LIRC_MODE2");
    }

    #[test]
    fn every_name_with_an_option_is_known_to_a_kernel() {
        let newest: Vocabulary = serde_json::from_str(include_str!("../../../kernels/vocabulary/7.3.json")).unwrap();
        for (index, (kind, name, _)) in NEEDS.iter().enumerate() {
            assert!(newest.table(*kind).number(name).is_some(), "{name}");
            assert!(NEEDS[..index].iter().all(|(of, known, _)| (of, known) != (kind, name)), "{name} is listed twice");
        }
    }
}
