//! The first process of a kernel with an initramfs of ours: it starts the guard, loads the modules that the root needs,
//! mounts the root, and becomes that root's init.
//!
//! `harness/builder` puts this program, a kernel's modules, if it needs any, and the guard, if it is wanted that early, into
//! an initramfs. The kernel then leaves `root=` and `rootflags=` to its first program
//! (Documentation/filesystems/ramfs-rootfs-initramfs.rst).

use std::{
    convert::Infallible,
    fs::{self, File},
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_move, unmount};
use thiserror::Error;

/// The folder of the modules, and the file in it that lists them in the order to load.
const MODULES: &str = "/modules";
const ORDER: &str = "/modules/order";
/// Where the root is mounted before it becomes the root.
const ROOT: &str = "/root";
/// The guard's program, and its policy.
const GUARD: &str = "/bin/bpf-guard";
const POLICY: &str = "/etc/bpf-guard/policy.toml";
/// Where the guard leaves what its reader needs. It stays when the root changes, as under other initramfs programs.
const RUN: &str = "/run";

/// Why the guest's own root was not reached.
#[derive(Debug, Error)]
enum EarlyError {
    #[error("cannot {action} {path}: {source}")]
    Io { action: &'static str, path: String, source: io::Error },
    #[error("cannot load {module}: {source}")]
    Load { module: String, source: io::Error },
    #[error("the guard is not in force ({status}): {message}")]
    Guard { status: ExitStatus, message: String },
    #[error("cannot mount the shared root folder with `{options}`: {source}")]
    Root { options: String, source: io::Error },
}

fn failed(action: &'static str, path: &str) -> impl FnOnce(io::Error) -> EarlyError {
    move |source| EarlyError::Io { action, path: path.to_owned(), source }
}

/// Returns whether this program was started from an initramfs of ours.
pub(crate) fn is_here() -> bool {
    is_initramfs(Path::new("/"))
}

fn is_initramfs(root: &Path) -> bool {
    root.join(ORDER.trim_start_matches('/')).is_file()
}

/// Continues in the guest's own root; ends the VM if that fails.
pub(crate) fn run() -> ! {
    let Err(error) = go_on();
    super::init::end(&error)
}

fn go_on() -> Result<Infallible, EarlyError> {
    let has_guard = Path::new(GUARD).exists();
    if has_guard {
        start_guard()?;
    }
    load_modules()?;
    let command_line = command_line()?;
    let options = Options::of(&command_line);
    mount_root(&options)?;
    mount("devtmpfs", format!("{ROOT}/dev"), "devtmpfs", MountFlags::NOSUID, None)
        .map_err(|error| failed("mount", "/dev of the root")(error.into()))?;
    if has_guard {
        mount_move(RUN, format!("{ROOT}{RUN}")).map_err(|error| failed("move", RUN)(error.into()))?;
    }
    become_root()?;
    let error = Command::new(&options.init).exec();
    Err(failed("start", &options.init)(error))
}

/// Starts the guard, before anything else can load BPF programs, and waits until it is in force. It reads the kernel's
/// types from `/sys`.
fn start_guard() -> Result<(), EarlyError> {
    const MOUNTS: [(&str, &str); 2] = [("proc", "/proc"), ("sysfs", "/sys")];
    mount("tmpfs", RUN, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=0755")
        .map_err(|error| failed("mount", RUN)(error.into()))?;
    for (kind, path) in MOUNTS {
        mount(kind, path, kind, MountFlags::empty(), None).map_err(|error| failed("mount", path)(error.into()))?;
    }
    let mut command = Command::new(GUARD);
    // The initramfs has no /dev/null to read from.
    command.args(["early", "--policy", POLICY]).stdin(Stdio::inherit());
    let ended = command.output().map_err(failed("start", GUARD))?;
    for (_, path) in MOUNTS {
        unmount(path, UnmountFlags::empty()).map_err(|error| failed("unmount", path)(error.into()))?;
    }
    let message = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
    if !ended.status.success() {
        return Err(EarlyError::Guard { status: ended.status, message });
    }
    message.lines().for_each(|line| println!("init: guard: {line}"));
    Ok(())
}

/// Loads every module, then frees the memory of their files.
fn load_modules() -> Result<(), EarlyError> {
    let order = fs::read_to_string(ORDER).map_err(failed("read", ORDER))?;
    for module in order.lines() {
        let path = format!("{MODULES}/{module}");
        let file = File::open(&path).map_err(failed("open", &path))?;
        rustix::system::finit_module(&file, c"", 0)
            .map_err(|error| EarlyError::Load { module: module.to_owned(), source: error.into() })?;
    }
    fs::remove_dir_all(MODULES).map_err(failed("remove", MODULES))
}

fn command_line() -> Result<String, EarlyError> {
    mount("proc", "/proc", "proc", MountFlags::empty(), None)
        .map_err(|error| failed("mount", "/proc")(error.into()))?;
    let text = fs::read_to_string("/proc/cmdline").map_err(failed("read", "/proc/cmdline"))?;
    unmount("/proc", UnmountFlags::empty()).map_err(|error| failed("unmount", "/proc")(error.into()))?;
    Ok(text)
}

/// What the kernel's command line says about the root. The last of repeated arguments counts, as for the kernel.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    /// The tag under which the host shares the folder.
    tag: String,
    /// The options of the file system.
    flags: String,
    /// The program to continue with.
    init: String,
}

impl Options {
    fn of(command_line: &str) -> Self {
        let value = |key: &str, default: &str| {
            let words = command_line.split_whitespace().rev();
            let found = words.filter_map(|word| word.split_once('=')).find(|(name, _)| *name == key);
            found.map_or(default, |(_, value)| value).to_owned()
        };
        Self {
            tag: value("root", "/dev/root"),
            flags: value("rootflags", "trans=virtio"),
            init: value("init", "/sbin/init"),
        }
    }
}

fn mount_root(options: &Options) -> Result<(), EarlyError> {
    let data = std::ffi::CString::new(options.flags.as_str()).unwrap_or_default();
    mount(options.tag.as_str(), ROOT, "9p", MountFlags::empty(), data.as_c_str())
        .map_err(|error| EarlyError::Root { options: options.flags.clone(), source: error.into() })
}

/// Makes the mounted root the root of all processes, as `switch_root(8)` does.
fn become_root() -> Result<(), EarlyError> {
    let moved = || -> io::Result<()> {
        std::env::set_current_dir(ROOT)?;
        mount_move(".", "/")?;
        std::os::unix::fs::chroot(".")?;
        std::env::set_current_dir("/")
    };
    moved().map_err(failed("change the root to", ROOT))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn the_last_argument_of_a_name_counts() {
        let text = "rootfstype=9p rootflags=trans=virtio,cache=mmap rw init=/a root=/dev/root rootflags=trans=virtio,msize=1 init=/b quiet\n";
        let options = Options::of(text);
        assert_eq!((options.tag.as_str(), options.flags.as_str()), ("/dev/root", "trans=virtio,msize=1"));
        assert_eq!(options.init, "/b");
        let defaults = Options::of("");
        assert_eq!((defaults.tag.as_str(), defaults.flags.as_str()), ("/dev/root", "trans=virtio"));
        assert_eq!(defaults.init, "/sbin/init");
    }

    #[test]
    fn our_initramfs_is_known_by_the_order_of_its_modules() {
        let root = tempfile::tempdir().unwrap();
        assert!(!is_initramfs(root.path()));
        fs::create_dir(root.path().join("modules")).unwrap();
        assert!(!is_initramfs(root.path()));
        fs::write(root.path().join("modules/order"), "virtio.ko\n").unwrap();
        assert!(is_initramfs(root.path()));
        assert!(!is_here());
    }

    #[test]
    fn errors_name_what_failed() {
        let missing = || io::Error::from_raw_os_error(2);
        insta::assert_snapshot!(
            failed("read", ORDER)(missing()),
            @"cannot read /modules/order: No such file or directory (os error 2)"
        );
        insta::assert_snapshot!(
            EarlyError::Guard { status: ExitStatusExt::from_raw(0x100), message: "no BTF".to_owned() },
            @"the guard is not in force (exit status: 1): no BTF"
        );
        insta::assert_snapshot!(
            EarlyError::Load { module: "virtio.ko".to_owned(), source: missing() },
            @"cannot load virtio.ko: No such file or directory (os error 2)"
        );
        insta::assert_snapshot!(
            EarlyError::Root { options: "trans=virtio".to_owned(), source: missing() },
            @"cannot mount the shared root folder with `trans=virtio`: No such file or directory (os error 2)"
        );
    }
}
