//! Attacks on the guard itself.

use serde::{Deserialize, Serialize};

/// What an attack is aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttackTarget {
    /// The pins of the guard's links, and the bpffs that has them.
    Pins,
    /// The guard's maps, programs and links, by their ids.
    Objects,
    /// The process of a guard that nothing pins; otherwise the one that reads its records.
    Process,
    /// What it decides about calls.
    Calls,
}

/// Declares the ways, each with its name in scenario files and its target.
macro_rules! ways {
    ($($(#[$meta:meta])* $name:ident => $text:literal, $target:ident;)*) => {
        /// How root attacks the guard.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
        pub enum Attack {
            $($(#[$meta])* #[serde(rename = $text)] $name,)*
        }

        impl Attack {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Returns its name in scenario files.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Returns what it is aimed at.
            pub const fn target(self) -> AttackTarget {
                match self { $(Self::$name => AttackTarget::$target,)* }
            }
        }
    };
}

ways! {
    /// `BPF_LINK_DETACH` of a link that is opened by its pin (`BPF_OBJ_GET`).
    LinkDetach => "link_detach", Pins;
    /// `BPF_LINK_GET_FD_BY_ID` of each link.
    LinkById => "link_by_id", Objects;
    /// `BPF_PROG_GET_FD_BY_ID` of each program.
    ProgById => "prog_by_id", Objects;
    /// `BPF_MAP_GET_FD_BY_ID` of each map.
    MapById => "map_by_id", Objects;
    /// `BPF_MAP_UPDATE_ELEM` of the policy, with zeros.
    MapUpdate => "map_update", Objects;
    /// `mmap(2)` of the rings, and a store of the position up to which they are read, as it is.
    RingMmap => "ring_mmap", Objects;
    /// `mmap(2)` of the programs' variables, and a store that makes the programs let everything pass.
    MapMmap => "map_mmap", Objects;
    /// `unlink(2)` of each pin.
    UnlinkPin => "unlink_pin", Pins;
    /// `rename(2)` of each pin.
    RenamePin => "rename_pin", Pins;
    /// `mkdir(2)` and `rmdir(2)` of a folder in the bpffs.
    Rmdir => "rmdir", Pins;
    /// `umount2(2)` of the bpffs with `MNT_DETACH`.
    Umount => "umount", Pins;
    /// `umount2(2)` with `MNT_DETACH` of the mount that the bpffs is mounted on.
    UmountParent => "umount_parent", Pins;
    /// `move_mount(2)` of the bpffs to another folder.
    MoveMount => "move_mount", Pins;
    /// `pivot_root(2)` in a new mount namespace, and `umount2(2)` of the old root with `MNT_DETACH`.
    PivotRoot => "pivot_root", Pins;
    /// `ptrace(2)` with `PTRACE_ATTACH`.
    Ptrace => "ptrace", Process;
    /// `LD_PRELOAD` in its environment, which its linker ignores if the kernel says so: `AT_SECURE` in `/proc/PID/auxv`.
    LdPreload => "ld_preload", Process;
    /// `open(2)` of `/proc/PID/mem` for reading and writing.
    ProcMem => "proc_mem", Process;
    /// `pidfd_getfd(2)` of standard input.
    PidfdGetfd => "pidfd_getfd", Process;
    /// `pidfd_send_signal(2)` with `SIGKILL`.
    PidfdSendSignal => "pidfd_send_signal", Process;
    /// `process_vm_writev(2)` of a zero over the last byte of its stack, which is one.
    ProcessVmWritev => "process_vm_writev", Process;
    /// `kill(2)` with `SIGKILL`.
    Kill => "kill", Process;
    /// A move into a cgroup of its own, and a write to that cgroup's `cgroup.kill`.
    CgroupKill => "cgroup_kill", Process;
    /// As `cgroup_kill`; then another process takes its place as the reader of a pinned guard, by opening a ring, and opens every map of
    /// the guard for reading and writing (`BPF_MAP_GET_FD_BY_ID`).
    TakeReadersPlace => "take_readers_place", Process;
    /// `prlimit(2)` of its time on a processor (`RLIMIT_CPU`) to a second, and calls that give it something to do.
    RlimitCpu => "rlimit_cpu", Process;
    /// 1000 in its `oom_score_adj`, and `f` in `/proc/sysrq-trigger`: the kernel ends the first process that it would end for
    /// want of memory.
    OomKill => "oom_kill", Process;
    /// `BPF_PROG_LOAD` of a program on the LSM hook `bpf` that refuses the attacker's calls, attaching it, and a call.
    LsmProgram => "lsm_program", Calls;
    /// Programs on the LSM hook `bpf`, until the kernel attaches no more.
    FillHook => "fill_hook", Calls;
    /// `BPF_PROG_LOAD` of programs with a map of the attacker's, while another process swaps the map's descriptor in their
    /// `fd_array` for that of another user's map and back, 10,000 times during these calls.
    SwapMaps => "swap_maps", Calls;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_files() {
        for way in Attack::ALL {
            assert_eq!(serde_json::to_value(way).unwrap(), way.as_str());
        }
    }
}
