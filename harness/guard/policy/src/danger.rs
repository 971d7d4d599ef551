//! What no policy learns unless it is told to: what gets past the guard, or changes what happens to others.

use std::fmt;

use crate::{group, name::Family};

/// The group of helpers that are dangerous.
const INTERFERE: &str = "@interfere";
/// Programs of type `lsm`.
pub(crate) const LSM: u32 = 29;
/// The attach type `modify_return`.
pub(crate) const MODIFY_RETURN: u32 = 26;

/// Something dangerous that a program can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Danger {
    /// Its type is `lsm`.
    LsmProgram,
    /// Its attach type is `modify_return`.
    ModifyReturn,
    /// Its target, or a kfunc that it calls, is not in the kernel's own BTF.
    Modules,
    /// It calls this helper of the group `@interfere`.
    Helper(u32),
}

impl Danger {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::LsmProgram, Self::ModifyReturn, Self::Modules].into_iter().chain(interfering().map(Self::Helper))
    }

    /// What a name stands for, in any letter case: that of one of them, or `@interfere` for all such helpers. Empty if it
    /// stands for none.
    pub fn named(text: &str) -> Vec<Self> {
        if text.eq_ignore_ascii_case(INTERFERE) {
            return interfering().map(Self::Helper).collect();
        }
        let is_one = |danger: &Self| match danger {
            Self::LsmProgram => Family::Prog.number(text) == Some(LSM),
            Self::ModifyReturn => Family::Attach.number(text) == Some(MODIFY_RETURN),
            Self::Modules => text.eq_ignore_ascii_case("modules"),
            Self::Helper(number) => Family::Helper.number(text) == Some(*number),
        };
        Self::all().filter(is_one).collect()
    }

    /// Its name.
    pub fn name(self) -> String {
        match self {
            Self::LsmProgram => Family::Prog.shown(LSM),
            Self::ModifyReturn => Family::Attach.shown(MODIFY_RETURN),
            Self::Modules => "modules".to_owned(),
            Self::Helper(number) => Family::Helper.shown(number),
        }
    }

    /// Whether it is a helper that is dangerous.
    pub(crate) fn of_helper(number: u32) -> Option<Self> {
        interfering().any(|other| other == number).then_some(Self::Helper(number))
    }
}

impl fmt::Display for Danger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        match self {
            Self::LsmProgram => write!(f, "type {name}, which can deny calls before the guard sees them"),
            Self::ModifyReturn => write!(f, "attach type {name}, which replaces the results of functions"),
            Self::Modules => {
                write!(f, "a target or kfunc that is not in the kernel's own BTF, where a policy can only allow all")
            }
            Self::Helper(_) => {
                write!(f, "helper {name}, which writes into processes, replaces results or sends signals")
            }
        }
    }
}

/// Entry points of `bpf(2)` (`kernel/bpf/syscall.c`, `arch/x86/include/asm/syscall_wrapper.h`).
const ENTRIES: [&str; 6] =
    ["__sys_bpf", "__x64_sys_bpf", "__ia32_sys_bpf", "__se_sys_bpf", "__do_sys_bpf", "__arm64_sys_bpf"];

/// Whether the guard depends on a function of the kernel: a check of security modules, or the entry of `bpf(2)`. No tracing
/// program may be attached there, whatever the policy says; it could change what they return.
pub fn is_guarded(function: &str) -> bool {
    function.starts_with("security_") || function.starts_with("bpf_lsm_") || ENTRIES.contains(&function)
}

fn interfering() -> impl Iterator<Item = u32> {
    group::find(Family::Helper, INTERFERE).into_iter().flat_map(group::Group::numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_name_that_stands_for_it() {
        for danger in Danger::all() {
            for name in [danger.name(), danger.name().to_uppercase()] {
                assert_eq!(Danger::named(&name), [danger], "{name}");
            }
        }
        let names: Vec<String> = Danger::named("@Interfere").into_iter().map(Danger::name).collect();
        assert_eq!(names, ["probe_write_user", "override_return", "send_signal", "send_signal_thread", "set_retval"]);
        let others = [Danger::LsmProgram, Danger::ModifyReturn, Danger::Modules].map(Danger::name);
        assert_eq!(others, ["lsm", "modify_return", "modules"]);
        for harmless in ["", "xdp", "map_lookup_elem", "@map", "trace_fentry"] {
            assert_eq!(Danger::named(harmless), [], "{harmless}");
        }
    }
}
