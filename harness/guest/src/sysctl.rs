//! Kernel settings of a scenario: set before it, restored after it.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::{error::SysError, pseudofile};

/// Why a setting could not be made.
#[derive(Debug, Error)]
pub(crate) enum SysctlError {
    /// The name could leave `/proc/sys`.
    #[error("`{0}` cannot name a sysctl: write it with dots, such as kernel.unprivileged_bpf_disabled")]
    Name(String),
    /// The kernel refuses it.
    #[error("sysctl {name}={value}: {source}")]
    Refused {
        /// The setting.
        name: String,
        /// What it was to be.
        value: String,
        /// Which call failed.
        source: SysError,
    },
}

/// What was set, with the values from before.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    before: Vec<(String, String)>,
}

impl Settings {
    /// Makes the settings in order of name. After an error what was set already is still here to be restored.
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

    /// Restores everything, last set first; what could not be, in words.
    pub(crate) fn restore(mut self) -> Vec<String> {
        let mut failed = Vec::new();
        while let Some((name, value)) = self.before.pop() {
            if let Err(why) = restore(&name, &value) {
                failed.push(format!("sysctl {name} is not {value} again: {why}"));
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

/// Where a setting is.
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
        assert!(error.starts_with("sysctl kernel.no_such_thing=1: open ") && error.ends_with("ENOENT"), "{error}");
        assert!(settings.restore().is_empty());
    }

    #[test]
    fn what_cannot_be_restored_is_told() {
        let settings = Settings { before: vec![("kernel.osrelease".to_owned(), "0.0".to_owned())] };
        let failed = settings.restore();
        assert_eq!(failed.len(), 1);
        assert!(failed[0].starts_with("sysctl kernel.osrelease is not 0.0 again: open "), "{failed:?}");
    }
}
