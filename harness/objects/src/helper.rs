//! Numbers of helpers that affect loading.

use std::sync::LazyLock;

use harness_uapi::names;

/// Numbers of helpers, looked up by their names.
pub(crate) struct Helpers {
    pub(crate) tail_call: u32,
    pub(crate) get_func_ip: u32,
    pub(crate) get_attach_cookie: u32,
    pub(crate) probe_read_kernel: u32,
    /// The helpers that libbpf replaces if it finds no `probe_read_kernel`, each with its replacement.
    pub(crate) replaced: [(u32, u32); 4],
    /// The helpers that work on a map field that the kernel finds by BTF.
    pub(crate) of_fields: Vec<u32>,
}

/// The table, built on first use.
pub(crate) static HELPERS: LazyLock<Helpers> = LazyLock::new(|| {
    let number = |name: &str| (1..4096).find(|number| names::helper(*number) == name).unwrap_or_default();
    let fields =
        ["spin_lock", "spin_unlock", "timer_init", "timer_set_callback", "timer_start", "timer_cancel", "kptr_xchg"];
    Helpers {
        tail_call: number("tail_call"),
        get_func_ip: number("get_func_ip"),
        get_attach_cookie: number("get_attach_cookie"),
        probe_read_kernel: number("probe_read_kernel"),
        replaced: [
            (number("probe_read_kernel"), number("probe_read")),
            (number("probe_read_user"), number("probe_read")),
            (number("probe_read_kernel_str"), number("probe_read_str")),
            (number("probe_read_user_str"), number("probe_read_str")),
        ],
        of_fields: fields.map(number).to_vec(),
    }
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_helper_has_a_number() {
        let replaced = HELPERS.replaced.iter().flat_map(|(one, other)| [*one, *other]);
        let single = [HELPERS.tail_call, HELPERS.get_func_ip, HELPERS.get_attach_cookie, HELPERS.probe_read_kernel];
        let all: Vec<u32> = replaced.chain(single).chain(HELPERS.of_fields.iter().copied()).collect();
        assert!(!all.contains(&0), "{all:?}");
    }
}
