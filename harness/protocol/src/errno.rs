//! The error number of a failed system call.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An error number as listed in `errno(3)`, kept as the kernel returned it, known or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Errno(i32);

impl Errno {
    /// Operation not permitted.
    pub const EPERM: Self = Self(nix::errno::Errno::EPERM as i32);
    /// No such file or directory.
    pub const ENOENT: Self = Self(nix::errno::Errno::ENOENT as i32);
    /// Invalid argument.
    pub const EINVAL: Self = Self(nix::errno::Errno::EINVAL as i32);
    /// Result out of range.
    pub const ERANGE: Self = Self(nix::errno::Errno::ERANGE as i32);
    /// The kernel's internal `ENOTSUPP`, which has no name in user space (`include/linux/errno.h`).
    pub const ENOTSUPP: Self = Self(524);

    /// Makes the errno with this positive number.
    pub const fn from_raw(number: i32) -> Self {
        Self(number)
    }

    /// Returns the positive number.
    pub const fn raw(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ENOTSUPP {
            return f.pad("ENOTSUPP");
        }
        match nix::errno::Errno::from_raw(self.0) {
            nix::errno::Errno::UnknownErrno => f.pad(&format!("errno {}", self.0)),
            known => f.pad(&format!("{known:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_names_and_keeps_unknown_numbers() {
        assert_eq!(Errno::EPERM.to_string(), "EPERM");
        assert_eq!(Errno::from_raw(95).to_string(), "EOPNOTSUPP");
        assert_eq!(Errno::from_raw(524).to_string(), "ENOTSUPP");
        assert_eq!(Errno::from_raw(4000).to_string(), "errno 4000");
        assert_eq!(serde_json::from_str::<Errno>("4000").unwrap(), Errno::from_raw(4000));
    }
}
