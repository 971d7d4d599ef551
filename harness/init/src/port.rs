//! The virtio port that the host listens on.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use thiserror::Error;

/// The name that `vmtest` gives the agent's port.
const PORT_NAME: &str = "org.qemu.guest_agent.0";
const PORTS: &str = "/sys/class/virtio-ports";
/// How long to wait for the port: the host announces its ports one after the other, after the driver has loaded.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(2);

/// Why the agent cannot continue.
#[derive(Debug, Error)]
pub(crate) enum PortError {
    /// The host offers no such port.
    #[error("no port in {PORTS} is named {PORT_NAME}: was the VM started by vmtest?")]
    NotFound,
    /// The port failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The failed action.
        action: &'static str,
        /// The port.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
}

/// Returns the port that the options of `qemu-ga` name, if any; the other options are ignored.
pub(crate) fn from_options(mut options: impl Iterator<Item = String>) -> Option<PathBuf> {
    options.find_map(|option| option.strip_prefix("--path=").map(PathBuf::from))
}

/// Waits for the agent's port and returns its path.
pub(crate) fn wait() -> Result<PathBuf, PortError> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(port) = find(Path::new(PORTS)) {
            return Ok(Path::new("/dev").join(port));
        }
        if Instant::now() > end {
            return Err(PortError::NotFound);
        }
        thread::sleep(PAUSE);
    }
}

/// Returns the device name of the agent's port in a sysfs folder.
fn find(ports: &Path) -> Option<PathBuf> {
    fs::read_dir(ports).ok()?.flatten().find_map(|port| {
        let name = fs::read_to_string(port.path().join("name")).ok()?;
        (name.trim_end() == PORT_NAME).then(|| PathBuf::from(port.file_name()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_vmtest_name_the_port() {
        let options = |text: &str| from_options(text.split(' ').map(str::to_owned).collect::<Vec<_>>().into_iter());
        let given = "--statedir /var/run --method=virtio-serial --path=/dev/vport0p1 --logfile /dev/kmsg -d";
        assert_eq!(options(given).as_deref(), Some(Path::new("/dev/vport0p1")));
        assert_eq!(options("-d"), None);
    }

    #[test]
    fn the_port_is_known_by_its_name() {
        let folder = std::env::temp_dir().join(format!("ports-{}", std::process::id()));
        for (port, name) in [("vport0p1", "org.qemu.virtio_serial.0\n"), ("vport1p1", "org.qemu.guest_agent.0\n")] {
            fs::create_dir_all(folder.join(port)).unwrap();
            fs::write(folder.join(port).join("name"), name).unwrap();
        }
        let found = find(&folder);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found.as_deref(), Some(Path::new("vport1p1")));
        assert_eq!(find(&folder), None);
    }
}
