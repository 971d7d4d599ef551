//! Delegation configurations of everything that hands a bpffs to a container: systemd, Incus, LXD, `mount`, and what the
//! kernel and `bpftool` show. Bytes in, values out: no I/O.
//!
//! [`read`] makes [`Configuration`]s of files. Each says what is delegated, in the front-end's own reading, and what else
//! decides whether a token comes of it; each piece knows its [`Location`], exactly enough to be replaced. [`write()`] writes a
//! delegation for a front-end, and [`convert()`] one front-end's configuration for another.
//!
//! A front-end is described once, by the [`Frontend`] and the entry in its module. To add one, write such a module, name it
//! here, and put its entry into the list of `registry`: detection, conversion, findings, reports, options of command lines and
//! fuzzing follow from that.
//!
//! Files are hostile: what is read is bounded ([`source::MOST_BYTES`] and the like), and no input makes a reader panic.

mod bpftool;
pub mod configuration;
pub mod convert;
mod entry;
pub mod execution_context;
pub mod frontend;
mod instance;
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
#[cfg(test)]
mod testing;
mod text;
mod unit;
pub mod vm_unit;
pub mod write;

pub use bpftool::BPFTOOL;
pub use configuration::{Assignment, Bpffs, Configuration, Effect, Element, Meaning, Rejection, Suppression, Written};
pub use convert::{LocatedLoss, convert};
pub use execution_context::{ExecutionContext, Setting};
pub use frontend::Frontend;
pub use instance::{INCUS, LXD};
pub use mount::{MOUNT, MOUNTINFO};
pub use names::{Names, SystemdRelease};
pub use ownership::belongs_to_host;
pub use pasted::pasted;
pub use registry::{UnknownFrontend, UnknownTarget, WritableFrontend, read, write};
pub use source::{Location, Source, Sources};
pub use systemd_run::SYSTEMD_RUN;
pub use unit::{SYSTEMD, setting_of};
pub use vm_unit::{VmUnit, rehearse};
pub use write::{ConversionInput, ConversionLoss};
