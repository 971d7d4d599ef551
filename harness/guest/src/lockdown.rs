//! Kernel lockdown for a scenario. It cannot be undone, so the scenario has a VM of its own.

use harness_protocol::plan::Lockdown;

use crate::{bpffs::Mounted, error::SysError, pseudofile};

/// Its file in the root of securityfs (`security/lockdown/lockdown.c`).
const FILE: &str = "lockdown";

/// Locks the kernel down and proves it: the file shows the active level in brackets.
pub(crate) fn lock(level: Lockdown) -> Result<(), String> {
    let word = match level {
        Lockdown::Integrity => "integrity",
        Lockdown::Confidentiality => "confidentiality",
    };
    let failed = |error: SysError| format!("securityfs: {error}");
    let securityfs = Mounted::of("securityfs", &[]).map_err(failed)?;
    let read = || pseudofile::read_at(securityfs.root(), FILE).map_err(failed);
    if in_force(&read()?) == Some(word) {
        return Ok(());
    }
    pseudofile::write_at(securityfs.root(), FILE, word).map_err(failed)?;
    let now = read()?;
    match in_force(&now) == Some(word) {
        true => Ok(()),
        false => Err(format!("securityfs: {FILE} shows `{}` after writing `{word}`", now.trim_end())),
    }
}

fn in_force(text: &str) -> Option<&str> {
    text.split_once('[')?.1.split_once(']').map(|(level, _)| level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_in_force_is_the_one_in_brackets() {
        assert_eq!(in_force("none [integrity] confidentiality\n"), Some("integrity"));
        assert_eq!(in_force("none integrity\n"), None);
    }
}
