//! System calls that failed while something was set up, read or torn down.
//!
//! Answers to attempts are no errors: they are what the guest is for, and travel as [`harness_protocol::outcome::Answer`].

use harness_protocol::errno::Errno;
use thiserror::Error;

/// A system call of the guest's own that failed: never a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{call}: {errno}")]
pub(crate) struct SysError {
    /// The call and what it was for, such as `open /proc/config.gz`.
    pub(crate) call: String,
    /// Why it failed.
    pub(crate) errno: Errno,
}

/// Says during which call an errno came up.
pub(crate) trait During<T> {
    /// Names the call; `call` is only built on failure.
    fn during<S: Into<String>>(self, call: impl FnOnce() -> S) -> Result<T, SysError>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during<S: Into<String>>(self, call: impl FnOnce() -> S) -> Result<T, SysError> {
        self.map_err(|errno| SysError { call: call().into(), errno })
    }
}

impl<T> During<T> for rustix::io::Result<T> {
    fn during<S: Into<String>>(self, call: impl FnOnce() -> S) -> Result<T, SysError> {
        self.map_err(errno).during(call)
    }
}

/// The same number in the model's type.
pub(crate) fn errno(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}

/// Why the last call of the C library failed.
pub(crate) fn last_errno() -> Errno {
    Errno::from_raw(std::io::Error::last_os_error().raw_os_error().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_call_is_named_with_its_errno() {
        let failed: rustix::io::Result<()> = Err(rustix::io::Errno::NOENT);
        let error = failed.during(|| "open /proc/config.gz").unwrap_err();
        assert_eq!(error.to_string(), "open /proc/config.gz: ENOENT");
        assert_eq!(Ok::<_, Errno>(7).during(|| -> String { unreachable!("nothing failed") }), Ok(7));
    }
}
