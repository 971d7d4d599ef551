//! Linux distributions, by their package managers.

use std::{fs, path::Path};

/// A family of distributions with the same package manager and package names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Debian, Ubuntu and their derivatives: `apt-get`.
    Debian,
    /// Fedora and its enterprise derivatives: `dnf`.
    Fedora,
    /// Arch Linux: `pacman`.
    Arch,
    /// openSUSE: `zypper`.
    Suse,
}

impl Distribution {
    /// Returns the distribution this program runs on, from the file os-release(5) describes; `None` for an unknown one.
    pub fn detect() -> Option<Self> {
        ["/etc/os-release", "/usr/lib/os-release"]
            .iter()
            .find_map(|path| fs::read_to_string(Path::new(path)).ok())
            .and_then(|text| Self::from_os_release(&text))
    }

    /// Reads `ID`, then the words of `ID_LIKE`, as os-release(5) specifies.
    pub fn from_os_release(text: &str) -> Option<Self> {
        ["ID", "ID_LIKE"].iter().find_map(|key| value(text, key)?.split_whitespace().find_map(Self::from_id))
    }

    fn from_id(id: &str) -> Option<Self> {
        match id {
            "debian" | "ubuntu" => Some(Self::Debian),
            "fedora" | "rhel" => Some(Self::Fedora),
            "arch" | "archlinux" => Some(Self::Arch),
            "suse" | "opensuse" | "opensuse-tumbleweed" | "opensuse-leap" => Some(Self::Suse),
            _ => None,
        }
    }

    /// Returns the commands that install `packages` unattended, in order, each as its words and without `sudo`. None of
    /// them removes or downgrades a package: it fails instead.
    pub fn install_commands(self, packages: &[&str]) -> Vec<Vec<String>> {
        // dnf without --allowerasing removes nothing, and pacman answers no to removing what is in conflict.
        let unattended: &[&str] = match self {
            Self::Debian => &["--yes", "--no-remove", "--no-allow-downgrades"],
            Self::Fedora => &["--assumeyes"],
            Self::Arch => &["--noconfirm"],
            Self::Suse => &["--no-confirm", "--no-force-resolution"],
        };
        let install = self.install(unattended, packages);
        match self {
            // A fresh Debian has no package lists; the other managers fetch theirs themselves.
            Self::Debian => vec![vec!["apt-get".into(), "update".into()], install],
            _ => vec![install],
        }
    }

    /// Returns the command that installs `packages` and asks a person before it changes others.
    pub fn attended_command(self, packages: &[&str]) -> Vec<String> {
        self.install(&[], packages)
    }

    fn install(self, options: &[&str], packages: &[&str]) -> Vec<String> {
        let fixed: &[&str] = match self {
            Self::Debian => &["apt-get", "install", "--no-install-recommends"],
            Self::Fedora => &["dnf", "install", "--setopt=install_weak_deps=False"],
            Self::Arch => &["pacman", "--sync", "--needed"],
            Self::Suse => &["zypper", "install", "--no-recommends"],
        };
        fixed.iter().chain(options).chain(packages).map(|&word| word.to_owned()).collect()
    }
}

fn value<'a>(os_release: &'a str, key: &str) -> Option<&'a str> {
    os_release
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .map(|value| value.trim().trim_matches(['"', '\'']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identifier_decides() {
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n";
        assert_eq!(Distribution::from_os_release(debian), Some(Distribution::Debian));
        assert_eq!(Distribution::from_os_release("ID=fedora\n"), Some(Distribution::Fedora));
        assert_eq!(Distribution::from_os_release("NAME=Arch\nID=arch\n"), Some(Distribution::Arch));
        let tumbleweed = "ID=\"opensuse-tumbleweed\"\nID_LIKE=\"opensuse suse\"\n";
        assert_eq!(Distribution::from_os_release(tumbleweed), Some(Distribution::Suse));
    }

    #[test]
    fn a_derivative_is_known_by_its_parents() {
        assert_eq!(
            Distribution::from_os_release("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"),
            Some(Distribution::Debian)
        );
        assert_eq!(
            Distribution::from_os_release("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n"),
            Some(Distribution::Fedora)
        );
    }

    #[test]
    fn an_unknown_distribution_is_not_guessed() {
        assert_eq!(Distribution::from_os_release("ID=nixos\n"), None);
        assert_eq!(Distribution::from_os_release(""), None);
        assert_eq!(Distribution::from_os_release("VERSION_ID=debian\nNAME=debian\n"), None);
    }

    #[test]
    fn debian_refreshes_its_lists_before_it_installs() {
        let commands = Distribution::Debian.install_commands(&["flex", "bison"]);
        assert_eq!(commands[0].join(" "), "apt-get update");
        assert_eq!(
            commands[1].join(" "),
            "apt-get install --no-install-recommends --yes --no-remove --no-allow-downgrades flex bison"
        );
        assert_eq!(Distribution::Arch.install_commands(&["flex"]).len(), 1);
    }

    #[test]
    fn a_person_is_asked_by_the_attended_command() {
        for (distribution, command) in [
            (Distribution::Debian, "apt-get install --no-install-recommends bc"),
            (Distribution::Fedora, "dnf install --setopt=install_weak_deps=False bc"),
            (Distribution::Arch, "pacman --sync --needed bc"),
            (Distribution::Suse, "zypper install --no-recommends bc"),
        ] {
            assert_eq!(distribution.attended_command(&["bc"]).join(" "), command);
        }
    }
}
