//! Where the heads of the chain go: the kernel's log, and a file, which may be a serial line or on another machine.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use guard_record::Anchor;

/// How a line in the kernel's log begins: priority "notice" of the facility "daemon" (syslog(3)).
const PRIORITY: &str = "<29>";

/// Takes anchors and messages.
pub(crate) struct Anchorage {
    kernel_log: Option<(PathBuf, File)>,
    file: Option<(PathBuf, File)>,
    /// Failures that were reported.
    failed: Vec<PathBuf>,
}

impl Anchorage {
    /// Opens both. Without the kernel's log the daemon goes on, and says so.
    ///
    /// # Errors
    ///
    /// If `file` cannot be opened.
    pub(crate) fn open(kernel_log: &Path, file: Option<&Path>) -> Result<Self> {
        let append = |path: &Path| OpenOptions::new().append(true).create(true).open(path);
        let kernel = OpenOptions::new().write(true).open(kernel_log);
        if let Err(error) = &kernel {
            eprintln!("bpf-guard: cannot write {}: {error}; anchors do not go there", kernel_log.display());
        }
        let open = |path: &Path| {
            let file = append(path).with_context(|| format!("cannot open the anchor file {}", path.display()))?;
            Ok::<_, anyhow::Error>((path.to_owned(), file))
        };
        Ok(Self {
            kernel_log: kernel.ok().map(|file| (kernel_log.to_owned(), file)),
            file: file.map(open).transpose()?,
            failed: Vec::new(),
        })
    }

    /// Writes an anchor to both.
    pub(crate) fn drop(&mut self, anchor: &Anchor) {
        let kernel = self.kernel_log.as_mut().map(|(path, file)| (path, write(file, &format!("{PRIORITY}{anchor}\n"))));
        let plain = |file: &mut File| {
            write(file, &format!("{anchor}\n"))?;
            // A serial line cannot be synchronised.
            file.sync_data()
                .or_else(|error| if error.kind() == io::ErrorKind::InvalidInput { Ok(()) } else { Err(error) })
        };
        let file = self.file.as_mut().map(|(path, file)| (path, plain(file)));
        for (path, result) in kernel.into_iter().chain(file) {
            match result {
                Ok(()) => self.failed.retain(|failed| failed != path),
                Err(_) if self.failed.contains(path) => {}
                Err(error) => {
                    eprintln!("bpf-guard: cannot write an anchor to {}: {error}", path.display());
                    self.failed.push(path.clone());
                }
            }
        }
    }

    /// Writes a message to standard error and to the kernel's log.
    pub(crate) fn say(&mut self, message: &str) {
        eprintln!("bpf-guard: {message}");
        if let Some((_, file)) = &mut self.kernel_log {
            let _ = write(file, &format!("{PRIORITY}bpf-guard: {message}\n"));
        }
    }
}

/// Writes in one call, as the kernel's log wants it.
fn write(file: &mut File, text: &str) -> io::Result<()> {
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use guard_record::Head;

    #[test]
    fn an_anchor_goes_to_both_and_a_message_to_the_kernels_log() {
        let folder = tempfile::tempdir().unwrap();
        let [kernel, file] = ["kmsg", "anchors"].map(|name| folder.path().join(name));
        File::create(&kernel).unwrap();
        let mut anchorage = Anchorage::open(&kernel, Some(&file)).unwrap();
        let anchor = Anchor { boot_id: "b".into(), file: 1, line: 2, seq: 3, chain: Head::default() };
        anchorage.drop(&anchor);
        anchorage.say("the disk is full");
        let read = |path| std::fs::read_to_string(path).unwrap();
        assert_eq!(read(&kernel), format!("<29>{anchor}\n<29>bpf-guard: the disk is full\n"));
        assert_eq!(read(&file), format!("{anchor}\n"));
    }
}
