//! Who reads a file, and how it is told.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::source::Source;

/// Who reads a configuration, or shows one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Frontend {
    /// systemd: unit files and drop-ins.
    Systemd,
    /// `systemd-run`: its arguments.
    SystemdRun,
    /// Incus: the YAML of an instance or profile.
    Incus,
    /// LXD: the same.
    Lxd,
    /// `mount(8)`: command lines, and fstab(5).
    Mount,
    /// The kernel's list of mounts: `/proc/self/mountinfo`, or what `mount` prints.
    Mountinfo,
    /// `bpftool token list --json`.
    Bpftool,
}

impl Frontend {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Systemd, Self::SystemdRun, Self::Incus, Self::Lxd, Self::Mount, Self::Mountinfo, Self::Bpftool];

    /// The word for it on a command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::SystemdRun => "systemd-run",
            Self::Incus => "incus",
            Self::Lxd => "lxd",
            Self::Mount => "mount",
            Self::Mountinfo => "mountinfo",
            Self::Bpftool => "bpftool",
        }
    }

    /// Whether systemd reads it, which takes names apart itself and hands masks to the kernel.
    pub const fn is_systemd(self) -> bool {
        matches!(self, Self::Systemd | Self::SystemdRun)
    }

    /// Who reads a file, by its name or else by what is in it; `None` if neither tells.
    pub fn detect(source: &Source) -> Option<Self> {
        Self::by_name(source.label(), source.text()).or_else(|| Self::by_contents(source.text()))
    }

    fn by_name(label: &str, text: &str) -> Option<Self> {
        let file = label.rsplit('/').next().unwrap_or(label);
        match file.rsplit_once('.').map_or(file, |(_, suffix)| suffix) {
            "service" | "socket" | "swap" | "slice" | "timer" | "target" | "scope" | "path" | "automount" => {
                Some(Self::Systemd)
            }
            "mount" if file != "mount" => Some(Self::Systemd),
            "conf" if label.contains(".d/") => Some(Self::Systemd),
            "fstab" => Some(Self::Mount),
            "mountinfo" | "mounts" => Some(Self::Mountinfo),
            "yaml" | "yml" => Some(if text.contains("security.delegate_bpf") { Self::Lxd } else { Self::Incus }),
            _ => None,
        }
    }

    fn by_contents(text: &str) -> Option<Self> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']));
        let first = lines.clone().next()?;
        let is_header =
            |line: &str| line.starts_with('[') && line.ends_with(']') && line.len() > 2 && !line.contains(['{', '"']);
        if is_header(first) {
            return Some(Self::Systemd);
        }
        if first.starts_with(['[', '{']) {
            return Some(Self::Bpftool);
        }
        if text.contains("systemd-run") || first.starts_with("-p") || first.starts_with("--property") {
            return Some(Self::SystemdRun);
        }
        if text.contains("security.bpffs.") {
            return Some(Self::Incus);
        }
        if text.contains("security.delegate_bpf") {
            return Some(Self::Lxd);
        }
        if lines.clone().any(|line| line.starts_with("config:")) {
            return Some(Self::Incus);
        }
        let shown = |line: &str| line.contains(" - bpf ") || line.contains(" type bpf (");
        if lines.clone().any(shown) {
            return Some(Self::Mountinfo);
        }
        lines.any(|line| line.contains("delegate_") || line.contains("bpf")).then_some(Self::Mount)
    }
}

impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that names no front-end.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no front-end is called `{0}`: it is one of systemd, systemd-run, incus, lxd, mount, mountinfo and bpftool")]
pub struct UnknownFrontend(String);

impl FromStr for Frontend {
    type Err = UnknownFrontend;

    fn from_str(text: &str) -> Result<Self, UnknownFrontend> {
        let named = Self::ALL.into_iter().find(|frontend| frontend.name() == text);
        named.ok_or_else(|| UnknownFrontend(text.chars().take(100).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Sources;

    fn detected(label: &str, text: &str) -> Option<Frontend> {
        Frontend::detect(Sources::of(label, text.as_bytes()).unwrap().get(0))
    }

    #[test]
    fn names_tell() {
        let told = [
            ("x.service", Frontend::Systemd),
            ("/etc/systemd/system/x.service.d/10-a.conf", Frontend::Systemd),
            ("sys-fs-bpf.mount", Frontend::Systemd),
            ("/etc/fstab", Frontend::Mount),
            ("/proc/self/mountinfo", Frontend::Mountinfo),
            ("c.yaml", Frontend::Incus),
        ];
        for (label, frontend) in told {
            assert_eq!(detected(label, ""), Some(frontend), "{label}");
        }
        assert_eq!(detected("c.yaml", "config:\n  security.delegate_bpf: \"true\"\n"), Some(Frontend::Lxd));
    }

    #[test]
    fn contents_tell() {
        let told = [
            ("# c\n[Service]\nPrivateBPF=yes\n", Frontend::Systemd),
            ("[{\"token_info\":\"/sys/fs/bpf\"}]", Frontend::Bpftool),
            ("[]", Frontend::Bpftool),
            ("systemd-run -p PrivateBPF=yes true", Frontend::SystemdRun),
            ("-p PrivateBPF=yes", Frontend::SystemdRun),
            ("config:\n  security.bpffs.path: /x\n", Frontend::Incus),
            ("security.delegate_bpf: \"true\"", Frontend::Lxd),
            ("30 23 0:25 / /sys/fs/bpf rw - bpf none rw", Frontend::Mountinfo),
            ("none on /x type bpf (rw)", Frontend::Mountinfo),
            ("bpffs /sys/fs/bpf bpf delegate_cmds=any 0 0", Frontend::Mount),
            ("delegate_cmds=any", Frontend::Mount),
        ];
        for (text, frontend) in told {
            assert_eq!(detected("x", text), Some(frontend), "{text}");
        }
        assert_eq!((detected("x", ""), detected("x", "hello")), (None, None));
    }

    #[test]
    fn words_name_front_ends() {
        for frontend in Frontend::ALL {
            assert_eq!(frontend.name().parse(), Ok(frontend));
        }
        assert!("docker".parse::<Frontend>().is_err());
    }
}
