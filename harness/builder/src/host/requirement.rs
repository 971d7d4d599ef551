//! The table of what the host needs, and the checks of what it has.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::Distribution;

/// What a requirement is for; a command checks only what it needs itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Booting a VM.
    Vm,
    /// Fetching packages from a Debian archive and unpacking them, for kernel sources and images.
    Packages,
    /// Building a kernel.
    Kernel,
    /// Building the static guest program, with libbpf, libelf and zlib from source.
    GuestProgram,
    /// Compiling the BPF objects that scenarios load.
    Objects,
    /// Signing the BPF programs that scenarios load.
    Signing,
    /// Building the fuzz targets with libFuzzer.
    Fuzzing,
}

impl Purpose {
    /// Every purpose except fuzzing, which only developers do.
    pub const ALL: [Self; 6] =
        [Self::Vm, Self::Packages, Self::Kernel, Self::GuestProgram, Self::Objects, Self::Signing];

    /// Whether an installed program brings what this makes.
    pub fn is_brought(self) -> bool {
        matches!(self, Self::GuestProgram | Self::Objects)
    }
}

/// How to detect a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A program in `PATH`.
    Program(&'static str),
    /// A C header.
    Header(&'static str),
    /// A library for static linking.
    StaticLibrary(&'static str),
    /// A file at a fixed path.
    File(&'static str),
}

impl Probe {
    /// Returns the name of what is looked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Program(name) | Self::Header(name) | Self::StaticLibrary(name) | Self::File(name) => name,
        }
    }
}

/// Something the host must have. An empty package name means that the distribution has no package for it.
#[derive(Debug, PartialEq, Eq)]
pub struct Requirement {
    /// How to detect it.
    pub probe: Probe,
    /// What it is needed for.
    pub purposes: &'static [Purpose],
    debian: &'static str,
    fedora: &'static str,
    arch: &'static str,
    suse: &'static str,
}

impl Requirement {
    /// Returns the package that provides it on `distribution`, if there is one.
    pub fn package(&self, distribution: Distribution) -> Option<&'static str> {
        let name = match distribution {
            Distribution::Debian => self.debian,
            Distribution::Fedora => self.fedora,
            Distribution::Arch => self.arch,
            Distribution::Suse => self.suse,
        };
        (!name.is_empty()).then_some(name)
    }
}

macro_rules! requirements {
    ($($probe:ident $name:literal for $($purpose:ident)+: $debian:literal $fedora:literal $arch:literal $suse:literal;)+) => {
        &[$(Requirement {
            probe: Probe::$probe($name),
            purposes: &[$(Purpose::$purpose),+],
            debian: $debian, fedora: $fedora, arch: $arch, suse: $suse,
        }),+]
    };
}

/// Everything the harness may need from a host, with the packages of Debian, Fedora, Arch and openSUSE in this order.
pub const REQUIREMENTS: &[Requirement] = requirements! {
    Program "qemu-system-x86_64" for Vm: "qemu-system-x86" "qemu-system-x86" "qemu-system-x86" "qemu-x86";
    Program "apt-get" for Packages: "apt" "apt" "apt" "";
    Program "dpkg-deb" for Packages: "dpkg" "dpkg" "dpkg" "dpkg";
    File "/usr/share/keyrings/debian-archive-keyring.gpg" for Packages:
        "debian-archive-keyring" "debian-keyring" "debian-archive-keyring" "debian-archive-keyring";
    Program "tar" for Packages Kernel: "tar" "tar" "tar" "tar";
    Program "xz" for Packages Kernel: "xz-utils" "xz" "xz" "xz";
    Program "gcc" for Kernel GuestProgram: "gcc" "gcc" "gcc" "gcc";
    Program "objcopy" for Kernel: "binutils" "binutils" "binutils" "binutils";
    Program "make" for Kernel GuestProgram: "make" "make" "make" "make";
    Program "flex" for Kernel GuestProgram: "flex" "flex" "flex" "flex";
    Program "bison" for Kernel GuestProgram: "bison" "bison" "bison" "bison";
    Program "bc" for Kernel: "bc" "bc" "bc" "bc";
    Program "python3" for Kernel: "python3" "python3" "python" "python3";
    Program "perl" for Kernel: "perl" "perl" "perl" "perl";
    Program "pahole" for Kernel: "dwarves" "dwarves" "pahole" "dwarves";
    Header "libelf.h" for Kernel: "libelf-dev" "elfutils-libelf-devel" "libelf" "libelf-devel";
    Header "zlib.h" for Kernel: "zlib1g-dev" "zlib-devel" "zlib" "zlib-devel";
    Header "openssl/ssl.h" for Kernel: "libssl-dev" "openssl-devel" "openssl" "libopenssl-devel";
    StaticLibrary "libc.a" for GuestProgram: "libc6-dev" "glibc-static" "glibc" "glibc-devel-static";
    Header "linux/bpf.h" for GuestProgram: "linux-libc-dev" "kernel-headers" "linux-api-headers" "linux-glibc-devel";
    Program "clang" for Objects: "clang" "clang" "clang" "clang";
    Program "openssl" for Kernel Signing: "openssl" "openssl" "openssl" "openssl";
    Program "c++" for Fuzzing: "g++" "gcc-c++" "gcc" "gcc-c++";
    Program "pkg-config" for GuestProgram: "pkg-config" "pkgconf-pkg-config" "pkgconf" "pkg-config";
    Program "autoreconf" for GuestProgram: "autoconf" "autoconf" "autoconf" "autoconf";
    Program "aclocal" for GuestProgram: "automake" "automake" "automake" "automake";
    Program "autopoint" for GuestProgram: "autopoint" "gettext-devel" "gettext" "gettext-tools";
    Program "msgfmt" for GuestProgram: "gettext" "gettext" "gettext" "gettext-tools";
    Program "gawk" for GuestProgram: "gawk" "gawk" "gawk" "gawk";
    Program "m4" for GuestProgram: "m4" "m4" "m4" "m4";
};

/// The folders to search on a host.
#[derive(Clone, Debug)]
pub struct Host {
    /// Folders with programs.
    pub programs: Vec<PathBuf>,
    /// Folders with C headers.
    pub headers: Vec<PathBuf>,
    /// Folders with libraries.
    pub libraries: Vec<PathBuf>,
}

impl Host {
    /// Returns this machine's folders: those in `PATH`, and those its C compiler searches by default.
    pub fn this() -> Self {
        let folders = |names: &[&str]| names.iter().map(PathBuf::from).collect();
        Self {
            programs: env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default(),
            headers: folders(&["/usr/include", "/usr/include/x86_64-linux-gnu", "/usr/local/include"]),
            libraries: folders(&["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"]),
        }
    }

    /// Reports whether `probe` finds what it looks for.
    pub fn has(&self, probe: Probe) -> bool {
        let within = |folders: &[PathBuf], name: &str| folders.iter().any(|folder| folder.join(name).is_file());
        match probe {
            Probe::Program(name) => within(&self.programs, name),
            Probe::Header(name) => within(&self.headers, name),
            Probe::StaticLibrary(name) => within(&self.libraries, name),
            Probe::File(path) => Path::new(path).is_file(),
        }
    }

    /// Returns what `purposes` need and this host lacks, in the order of the table.
    pub fn missing(&self, purposes: &[Purpose]) -> Vec<&'static Requirement> {
        REQUIREMENTS
            .iter()
            .filter(|requirement| requirement.purposes.iter().any(|purpose| purposes.contains(purpose)))
            .filter(|requirement| !self.has(requirement.probe))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn bare_host() -> (tempfile::TempDir, Host) {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| vec![folder.path().join(name)];
        let host = Host { programs: path("bin"), headers: path("include"), libraries: path("lib") };
        for name in ["bin", "include/linux", "lib"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        (folder, host)
    }

    fn names(missing: &[&Requirement]) -> Vec<&'static str> {
        missing.iter().map(|requirement| requirement.probe.name()).collect()
    }

    #[test]
    fn only_the_tools_for_the_given_purposes_are_missing() {
        let (_folder, host) = bare_host();
        assert_eq!(names(&host.missing(&[Purpose::Vm])), ["qemu-system-x86_64"]);
        assert!(names(&host.missing(&[Purpose::Kernel])).contains(&"pahole"));
        assert!(!names(&host.missing(&[Purpose::GuestProgram])).contains(&"pahole"));
        assert!(host.missing(&[]).is_empty());
    }

    #[test]
    fn present_tools_are_not_missing() {
        let (folder, host) = bare_host();
        for file in ["bin/gawk", "include/linux/bpf.h", "lib/libc.a"] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        let missing = names(&host.missing(&[Purpose::GuestProgram]));
        for found in ["gawk", "linux/bpf.h", "libc.a"] {
            assert!(!missing.contains(&found), "{found} was reported missing");
        }
        assert!(missing.contains(&"m4"));
    }

    #[test]
    fn a_folder_is_not_a_program() {
        let (folder, host) = bare_host();
        fs::create_dir(folder.path().join("bin/bc")).unwrap();
        assert!(!host.has(Probe::Program("bc")));
    }

    #[test]
    fn every_requirement_has_a_debian_package() {
        for requirement in REQUIREMENTS {
            assert!(requirement.package(Distribution::Debian).is_some(), "{requirement:?}");
        }
    }
}
