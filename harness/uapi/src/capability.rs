//! Linux capabilities by name.

/// The names of all capabilities (`capabilities(7)`) in lower case and without `CAP_`, indexed by their numbers in
/// `include/uapi/linux/capability.h`.
pub const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// The number of a capability; its name may be in upper or lower case, with or without `CAP_`.
pub fn number(text: &str) -> Option<u32> {
    let lower = text.to_ascii_lowercase();
    let short = lower.strip_prefix("cap_").unwrap_or(&lower);
    NAMES.iter().position(|name| *name == short).and_then(|index| u32::try_from(index).ok())
}

/// The numbers of all capabilities.
pub fn all() -> Vec<u32> {
    (0..).take(NAMES.len()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that verdicts depend on.
    #[test]
    fn numbers_are_the_kernels() {
        let numbers = ["net_admin", "CAP_SYS_ADMIN", "cap_perfmon", "BPF", "checkpoint_restore"].map(number);
        assert_eq!(numbers, [12, 21, 38, 39, 40].map(Some));
        assert_eq!((number("sys_adm"), number("cap_cap_bpf")), (None, None));
        assert_eq!(all().len(), 41);
    }
}
