//! The kernel's tracepoints by name: their numbers, which only root can read.
//!
//! They are looked up once, before the first fork, so that executors inherit them.

use std::{collections::BTreeMap, sync::OnceLock};

use harness_protocol::{errno::Errno, plan::Attempt};

use crate::{bpffs::Mounted, error::SysError, pseudofile};

static KNOWN: OnceLock<BTreeMap<String, u64>> = OnceLock::new();

/// Looks up the tracepoints that attempts name, in a tracefs that nobody else sees.
pub(crate) fn prepare<'a>(attempts: impl IntoIterator<Item = &'a Attempt>) -> Result<(), SysError> {
    let mut wanted = attempts.into_iter().filter_map(|attempt| attempt.call.tracepoint()).peekable();
    if wanted.peek().is_some() {
        let tracefs = Mounted::of("tracefs", &[])?;
        let number = |name: &str| {
            let text = pseudofile::read_at(tracefs.root(), &format!("events/{name}/id")).ok()?;
            Some((name.to_owned(), text.trim().parse().ok()?))
        };
        let _ = KNOWN.set(wanted.filter_map(number).collect());
    }
    Ok(())
}

/// Returns the number of a tracepoint that was looked up.
pub(crate) fn number(name: &str) -> Result<u64, SysError> {
    let unknown = || SysError {
        call: format!("find the tracepoint {name}, which this kernel may lack"),
        errno: Errno::from_raw(libc::ENOENT),
    };
    KNOWN.get().and_then(|known| known.get(name)).copied().ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_tracepoint_is_named() {
        insta::assert_snapshot!(
            number("sched/no_such").unwrap_err(),
            @"find the tracepoint sched/no_such, which this kernel may lack: ENOENT"
        );
        assert!(prepare([]).is_ok());
    }
}
