//! Delegation configurations of everything that hands a bpffs to a container: systemd, Incus, LXD, `mount`, and what the
//! kernel and `bpftool` show. Bytes in, values out: no I/O.
//!
//! [`read`] makes [`Configuration`]s of files. Each says what is delegated, in the front-end's own reading, and what else
//! decides whether a token comes of it; each piece knows its [`Place`], exactly enough to be replaced. [`write()`] writes a
//! delegation for a front-end, and [`convert()`] one front-end's configuration for another.
//!
//! Files are hostile: what is read is bounded ([`source::MOST_BYTES`] and the like), and no input makes a reader panic.

mod allowance;
mod bpftool;
pub mod configuration;
pub mod convert;
pub mod frontend;
mod instance;
mod mount;
pub mod names;
mod options;
mod ownership;
pub mod rehearsal;
mod shell;
pub mod source;
pub mod surroundings;
mod systemd_run;
#[cfg(test)]
mod testing;
mod text;
mod unit;
pub mod write;

use harness_model::scenario::Report;

pub use configuration::{Allowance, Assignment, Bpffs, Configuration, Effect, Element, Meaning, Problem, Written};
pub use convert::{LostAt, convert};
pub use frontend::Frontend;
pub use names::{Names, SystemdRelease};
pub use ownership::belongs_to_host;
pub use rehearsal::{Rehearsal, rehearse};
pub use source::{Place, Source, Sources};
pub use surroundings::{Setting, Surroundings};
pub use unit::setting_of;
pub use write::{Lost, Target, Wanted, pasted, write};

/// Reads all configurations in these files, as this front-end does. The files of a unit are told by their labels, which are
/// to be paths.
///
/// # Errors
/// A [`Report`] about the first file that is not in the front-end's language at all. What the front-end refuses or passes
/// over are [`Configuration::problems`] instead.
pub fn read(frontend: Frontend, sources: &Sources, names: &Names<'_>) -> Result<Vec<Configuration>, Report> {
    match frontend {
        Frontend::Systemd => Ok(unit::read(sources, names)),
        Frontend::SystemdRun => Ok(systemd_run::read(sources, names)),
        Frontend::Incus | Frontend::Lxd => instance::read(frontend, sources, names),
        Frontend::Mount | Frontend::Mountinfo => Ok(mount::read(frontend, sources, names)),
        Frontend::Bpftool => bpftool::read(sources, names),
    }
}
