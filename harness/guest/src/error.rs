//! Failed system calls during setup, reading or teardown.
//!
//! Answers to attempts are not errors; they travel as [`harness_protocol::outcome::Answer`].

use harness_protocol::errno::Errno;
use thiserror::Error;

/// A failed system call of the guest's own: never a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{call}: {errno}")]
pub(crate) struct SysError {
    /// The call and its purpose, such as `open /proc/config.gz`.
    pub(crate) call: String,
    /// Why it failed.
    pub(crate) errno: Errno,
}

/// Adds the name of the call to an errno.
pub(crate) trait During<T> {
    /// Names the call; `call` runs only on failure.
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

/// Converts an errno to the protocol's type.
pub(crate) fn errno(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}

/// Returns the errno of the last C library call.
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
