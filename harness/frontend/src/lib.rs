//! Delegation configurations of the programs that set up a bpffs for a container: systemd, Incus, LXD, `mount`, and what
//! the kernel and `bpftool` show. Bytes in, values out: no I/O.
//!
//! [`read`] parses files into [`Configuration`]s. Each has what is delegated, as the front-end itself reads it, and what
//! else decides whether a token can be created. Every part has a [`Location`] that is exact enough to replace it.
//! [`write()`] writes a delegation for a front-end, and [`convert()`] converts one front-end's configuration for another.
//!
//! A front-end is described once, by the [`Frontend`] and the entry in its module. To add one, write such a module, declare
//! it here, and add its entry to the list in `registry`: detection, conversion, findings, reports, command line options and
//! fuzzing follow from that.
//!
//! Files are untrusted: everything that is read is bounded ([`source::MOST_BYTES`] and the like), and no input makes a
//! parser panic.

mod bpftool;
pub mod configuration;
pub mod convert;
mod embedded;
mod entry;
pub mod execution_context;
pub mod frontend;
mod instance;
mod kind;
mod lxc;
mod mount;
pub mod names;
mod options;
mod ownership;
mod pasted;
mod registry;
mod shell;
pub mod source;
mod suppression;
mod systemd_run;
mod terraform;
#[cfg(test)]
mod testing;
mod text;
mod unit;
pub mod vm_unit;
pub mod write;

pub use bpftool::BPFTOOL;
pub use configuration::{
    Assignment, Bpffs, Configuration, CutOff, Effect, Element, Meaning, Rejection, Suppression, UnknownValue, Written,
};
pub use convert::{LocatedLoss, convert};
pub use embedded::SCRIPT;
pub use execution_context::{ExecutionContext, Setting};
pub use frontend::Frontend;
pub use instance::{INCUS, LXD};
pub use kind::{NotRead, mentioned, not_read};
pub use lxc::LXC;
pub use mount::{MOUNT, MOUNTINFO};
pub use names::{Names, SystemdRelease};
pub use ownership::belongs_to_host;
pub use pasted::pasted;
pub use registry::{UnknownFrontend, UnknownTarget, WritableFrontend, read, write};
pub use source::{Location, Source, Sources};
pub use suppression::suppressions_of_toml;
pub use systemd_run::SYSTEMD_RUN;
pub use terraform::TERRAFORM;
pub use unit::{FOLDERS as UNIT_FOLDERS, SYSTEMD, drop_in_folders, setting_of};
pub use vm_unit::VmUnit;
pub use write::{ConversionInput, ConversionLoss};
