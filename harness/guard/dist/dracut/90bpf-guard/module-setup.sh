#!/bin/bash
# Puts the guard and its policy into the initramfs, and starts it there before anything else of dracut.

check() {
    require_binaries bpf-guard || return 1
    # Only where somebody asks for it: add_dracutmodules+=" bpf-guard "
    return 255
}

depends() {
    return 0
}

install() {
    local policy=/etc/bpf-guard/policy.toml
    local wrong=0

    # 1: there are findings, but it can be put in force.
    bpf-guard check "${dracutsysrootdir:-}$policy" || wrong=$?
    if [ "$wrong" -gt 1 ]; then
        dfatal "bpf-guard: $policy cannot be put in force"
        exit 1
    fi
    inst_binary bpf-guard /usr/sbin/bpf-guard
    inst_simple "$policy"
    # The name of the hook's folder says when it runs: before the kernel's command line is read, so before udev.
    # shellcheck disable=SC2154 # dracut sets it
    inst_hook cmdline 00 "$moddir/bpf-guard.sh"
}
