//! Facts about this machine that limit the choice of accelerator.

use std::{fs, io};

/// The facts that a decision starts from.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// Whether `/dev/kvm` can be opened for reading and writing, or why not.
    pub(super) device: Result<(), String>,
    /// Whether the processor lists `vmx` (Intel) or `svm` (AMD), `arch/x86/include/asm/cpufeatures.h`.
    pub(super) hardware_virtualisation: bool,
}

impl Facts {
    pub(super) fn gather() -> Self {
        let open = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm");
        Self {
            device: open.map(drop).map_err(|error: io::Error| error.to_string()),
            hardware_virtualisation: fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| can_virtualise(&text)),
        }
    }
}

/// Returns whether `/proc/cpuinfo` lists a processor with hardware virtualisation.
fn can_virtualise(cpuinfo: &str) -> bool {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(key, _)| key.trim() == "flags")
        .any(|(_, flags)| flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_flags_line_counts_and_only_whole_words() {
        assert!(can_virtualise("processor\t: 0\nflags\t\t: fpu vme svm sse\n"));
        assert!(can_virtualise("flags\t\t: fpu\nflags : vmx\n"));
        assert!(!can_virtualise("flags\t\t: fpu vmx_x hypervisor\nvmx flags\t: vnmi\nmodel name : svm\n"));
        assert!(!can_virtualise(""));
    }
}
