//! Kernel settings of a scenario: set before it, restored after it.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::{error::SysError, pseudofile};

/// Why a setting could not be set.
#[derive(Debug, Error)]
pub(crate) enum SysctlError {
    /// The name could leave `/proc/sys`.
    #[error("`{0}` cannot name a sysctl: write it with dots, such as `kernel.unprivileged_bpf_disabled`")]
    Name(String),
    /// The kernel refused it.
    #[error("sysctl {name}={value}: {source}")]
    Refused {
        /// The setting.
        name: String,
        /// Its value.
        value: String,
        /// The failed call.
        source: SysError,
    },
}

/// The settings that were set, with their previous values.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    before: Vec<(String, String)>,
}

impl Settings {
    /// Sets the settings in order of name. After an error, those already set can still be restored.
    pub(crate) fn make(&mut self, wanted: &BTreeMap<String, String>) -> Result<(), SysctlError> {
        for (name, value) in wanted {
            let path = path_of(name)?;
            let refused = |source| SysctlError::Refused { name: name.clone(), value: value.clone(), source };
            let before = pseudofile::read(&path).map_err(refused)?;
            self.before.push((name.clone(), before.trim_end().to_owned()));
            pseudofile::write(&path, value).map_err(refused)?;
        }
        Ok(())
    }

    /// Restores everything, last set first. Returns what could not be restored.
    pub(crate) fn restore(mut self) -> Vec<String> {
        let mut failed = Vec::new();
        while let Some((name, value)) = self.before.pop() {
            if let Err(why) = restore(&name, &value) {
                failed.push(format!("cannot restore sysctl {name} to {value}: {why}"));
            }
        }
        failed
    }
}

fn restore(name: &str, value: &str) -> Result<(), String> {
    let path = path_of(name).map_err(|error| error.to_string())?;
    let now = || pseudofile::read(&path).map(|text| text.trim_end().to_owned()).map_err(|error| error.to_string());
    if now()? == value {
        return Ok(());
    }
    pseudofile::write(&path, value).map_err(|error| error.to_string())?;
    let now = now()?;
    if now == value { Ok(()) } else { Err(format!("it is {now}")) }
}

/// Returns the path of a setting.
pub(crate) fn path_of(name: &str) -> Result<String, SysctlError> {
    let parts = name.split('.').collect::<Vec<_>>();
    let plain = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if parts.iter().all(plain) {
        Ok(format!("/proc/sys/{}", parts.join("/")))
    } else {
        Err(SysctlError::Name(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_names_are_paths_below_proc_sys() {
        assert_eq!(path_of("net.core.bpf_jit_harden").unwrap(), "/proc/sys/net/core/bpf_jit_harden");
        for name in ["", ".", "a..b", "../etc/passwd", "kernel/x", "a.b."] {
            assert!(path_of(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_setting_that_does_not_exist_is_named() {
        let mut settings = Settings::default();
        let wanted = [("kernel.no_such_thing".to_owned(), "1".to_owned())].into();
        let error = settings.make(&wanted).unwrap_err().to_string();
        insta::assert_snapshot!(error, @"sysctl kernel.no_such_thing=1: open /proc/sys/kernel/no_such_thing: ENOENT");
        assert!(settings.restore().is_empty());
    }

    #[test]
    fn what_cannot_be_restored_is_reported() {
        let settings = Settings { before: vec![("kernel.osrelease".to_owned(), "0.0".to_owned())] };
        // Root passes the permission check and is refused otherwise.
        let failed = settings.restore().join("\n").replace("EPERM", "EACCES");
        insta::assert_snapshot!(
            failed,
            @"cannot restore sysctl kernel.osrelease to 0.0: open /proc/sys/kernel/osrelease: EACCES"
        );
    }
}
