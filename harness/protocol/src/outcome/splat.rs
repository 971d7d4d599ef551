//! Splats: the kernel's reports of its own faults, and the marks by which they are charged to scenarios.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::ScenarioName;

/// A report of the kernel about a fault of its own: a warning, a bug, an oops, or a finding of a sanitizer or of lockdep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Splat {
    /// The line that names the fault, without its time stamp, such as
    /// `UBSAN: shift-out-of-bounds in kernel/bpf/inode.c:721:23`.
    pub text: String,
    /// The console's lines, from this line on.
    pub lines: Vec<String>,
}

/// What every line begins with that the guest program writes to the kernel's log, and so to the console.
pub const CONSOLE_MARK: &str = "bpf-token-harness: ";

/// What a mark ends with. A kernel in distress may interrupt a line that it prints, and prints it again later as a whole (`nbcon`,
/// kernel/printk/nbcon.c).
const MARK_END: &str = " |";

/// A line by which the guest program parts the console into scenarios.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsoleMark {
    /// The lines up to the next mark belong to this scenario.
    Scenario(ScenarioName),
    /// No scenario follows.
    End,
}

impl ConsoleMark {
    /// Returns the mark in a line of the console, which may have a time stamp before it.
    pub fn find(line: &str) -> Option<Self> {
        let (_, mark) = line.split_once(CONSOLE_MARK)?;
        match mark.trim_end().strip_suffix(MARK_END)?.split_once(' ') {
            Some(("scenario", name)) => name.parse().ok().map(Self::Scenario),
            None => Some(Self::End),
            Some(_) => None,
        }
    }
}

impl fmt::Display for ConsoleMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scenario(name) => write!(f, "{CONSOLE_MARK}scenario {name}{MARK_END}"),
            Self::End => write!(f, "{CONSOLE_MARK}end{MARK_END}"),
        }
    }
}

/// The taint flags that only a fault of the kernel sets: bad page (5), died (7) and warning (9)
/// (`Documentation/admin-guide/tainted-kernels.rst`). A soft lockup (14) is left out: a busy host causes it.
pub const TAINTS: u64 = 1 << 5 | 1 << 7 | 1 << 9;

/// Returns the names of those of these flags that are in [`TAINTS`].
pub fn taint_names(flags: u64) -> Vec<&'static str> {
    let names = [(5, "bad page (B)"), (7, "oops (D)"), (9, "warning (W)")];
    names.into_iter().filter(|(bit, _)| flags & (1 << bit) != 0).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_behind_a_time_stamp_and_whatever_else_the_console_printed() {
        let mark = ConsoleMark::Scenario("token/one".parse().unwrap());
        for before in ["", "[   12.345678] ", "[   12.345678][  T123] ", "login: [    1.0] "] {
            assert_eq!(ConsoleMark::find(&format!("{before}{mark}\r")), Some(mark.clone()), "{before}");
        }
        assert_eq!(ConsoleMark::find("[    1.0] bpf-token-harness: end |"), Some(ConsoleMark::End));
        for other in [
            "",
            "end",
            "bpf-token-harness: ",
            "bpf-token-harness: end",
            "bpf-token-harness: scenario a",
            "bpf-token-harness: scenario ../x |",
        ] {
            assert_eq!(ConsoleMark::find(other), None, "{other}");
        }
    }

    #[test]
    fn only_faults_of_the_kernel_are_named() {
        assert_eq!(taint_names(TAINTS).len(), TAINTS.count_ones() as usize);
        assert_eq!(taint_names(1 << 9 | 1 << 12 | 1 << 14), ["warning (W)"]);
    }
}
