//! The kernel's log, which systemd writes to as well if configured (`systemd.log_target=kmsg`, kernel-command-line(7)).

use std::os::fd::OwnedFd;

use harness_protocol::outcome::ConsoleMark;
use rustix::{
    fs::{CWD, OFlags, SeekFrom},
    io::Errno,
};

use crate::{
    error::{During, SysError},
    pseudofile,
};

/// The longest record in bytes (`PRINTKRB_RECORD_MAX`, `kernel/printk/internal.h`, rounded up).
const LONGEST_RECORD: usize = 8 * 1024;

/// The most records read at once: the writer may go on writing.
const MOST_RECORDS: usize = 10_000;

/// The least urgent priority of a warning (syslog(3)).
const WARNING: u32 = 4;

/// The priority of a mark, `<LEVEL>` (`Documentation/ABI/testing/dev-kmsg`): a warning, as the kernel's own warnings are, so that
/// the console shows either both or none.
const MARK_PRIORITY: &str = "<4>";

/// Writes a mark into the log.
pub(crate) fn mark(mark: &ConsoleMark) -> Result<(), SysError> {
    // A descriptor of its own each time: the kernel limits how often one descriptor may write (`devkmsg_write`,
    // kernel/printk/printk.c).
    let log = pseudofile::open_at(CWD, "/dev/kmsg", OFlags::WRONLY)?;
    // Without the end of the line the kernel would wait for its continuation (`LOG_NEWLINE`, kernel/printk/printk.c).
    rustix::io::write(&log, format!("{MARK_PRIORITY}{mark}\n").as_bytes()).during(|| "write /dev/kmsg")?;
    Ok(())
}

/// A position in the log, from which it is read.
#[derive(Debug)]
pub(crate) struct Log(OwnedFd);

impl Log {
    /// Starts at the log's current end.
    pub(crate) fn from_now() -> Result<Self, SysError> {
        let log = pseudofile::open_at(CWD, "/dev/kmsg", OFlags::RDONLY | OFlags::NONBLOCK)?;
        rustix::fs::seek(&log, SeekFrom::End(0)).during(|| "lseek /dev/kmsg")?;
        Ok(Self(log))
    }

    /// Returns the warnings, since the last call, of systemd and of the processes in which it is about to execute a
    /// unit.
    pub(crate) fn warnings_of_systemd(&mut self) -> Result<Vec<String>, SysError> {
        let (mut warnings, mut record) = (Vec::new(), [0; LONGEST_RECORD]);
        for _ in 0..MOST_RECORDS {
            match rustix::io::read(&self.0, &mut record) {
                Ok(length) => {
                    let record = String::from_utf8_lossy(&record[..length]);
                    warnings.extend(warning_of_systemd(&record).map(str::to_owned));
                }
                // Records were overwritten before they were read; the next one is the oldest that remains.
                Err(Errno::PIPE) => {}
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(errno).during(|| "read /dev/kmsg"),
            }
        }
        Ok(warnings)
    }
}

/// Returns the text of a record, `PRIORITY,NUMBER,TIME,FLAGS;TEXT` (`Documentation/ABI/testing/dev-kmsg`), if it is
/// systemd's and at least a warning.
fn warning_of_systemd(record: &str) -> Option<&str> {
    let (head, text) = record.split_once(';')?;
    let priority: u32 = head.split(',').next()?.parse().ok()?;
    let (facility, level) = (priority >> 3, priority & 7);
    let (who, text) = text.lines().next()?.split_once("]: ")?;
    // A process is called `(PROGRAM)` between its fork and the execution of a unit's program.
    let by_systemd = who == "systemd[1" || (who.starts_with('(') && who.contains(")["));
    (facility != 0 && level <= WARNING && by_systemd).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_warnings_of_systemd_are_returned() {
        assert_eq!(warning_of_systemd("28,7,12,-;systemd[1]: a: b\n SUBSYSTEM=x\n"), Some("a: b"));
        assert_eq!(warning_of_systemd("27,7,12,-;(guest)[31]: unit: no"), Some("unit: no"));
        for other in [
            "30,7,12,-;systemd[1]: Started a.",
            "4,7,12,-;systemd[1]: the kernel says this",
            "28,7,12,-;systemd-journald[47]: busy",
            "28,7,12,-;no sender",
            "x;systemd[1]: a",
            "",
        ] {
            assert_eq!(warning_of_systemd(other), None, "{other}");
        }
    }
}
