//! `verify`: whether a log is whole.

use std::{
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::Args;
use guard_record::{Anchors, Verified, verify_each};

use crate::log_page::Seen;

/// Check that a log is whole: nothing edited, cut, reordered, repeated, or of another boot
///
/// Each line has the hash of the line before in its own, so a change shows at the line where it was made. Whoever can write the
/// files can also compute all hashes anew, or cut the end of a log that is not closed; `--anchor` shows that, as anchors are
/// kept elsewhere.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bpf-guard verify /var/log/bpf-guard.jsonl.1 /var/log/bpf-guard.jsonl
  journalctl -k -t bpf-guard > anchors
  bpf-guard verify --running --anchor anchors /var/log/bpf-guard.jsonl
  bpf-guard verify --html records.html /var/log/bpf-guard.jsonl

Exit codes: 0 the log is whole; 1 it is not; 3 a file cannot be read or written.")]
pub(crate) struct VerifyArgs {
    /// Files of the log, oldest first
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// A file with anchors, such as the kernel's log: each anchored line must be there as it was
    #[arg(long, value_name = "FILE")]
    anchor: Vec<PathBuf>,

    /// Let the last file have no closing line, as while the daemon runs
    #[arg(long)]
    running: bool,

    /// Also write a page of the records: what was refused, and who asked for what
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &VerifyArgs) -> ExitCode {
    match read(args) {
        Ok(verified) if verified.findings.is_empty() => {
            print!("{}", summary(&verified, args.running));
            ExitCode::SUCCESS
        }
        Ok(verified) => {
            verified.findings.iter().for_each(|finding| println!("{finding}"));
            let more = if verified.more { "; the rest was not read" } else { "" };
            eprintln!("the log is NOT whole: {} findings{more}", verified.findings.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("bpf-guard: {error:#}");
            ExitCode::from(3)
        }
    }
}

fn read(args: &VerifyArgs) -> Result<Verified> {
    let mut anchors = Anchors::default();
    for path in &args.anchor {
        anchors.read(open(path)?).with_context(|| format!("cannot read {}", path.display()))?;
    }
    if anchors.is_empty() && !args.anchor.is_empty() {
        eprintln!("bpf-guard: no anchor is in the files given with --anchor");
    }
    let files = args.files.iter().map(|path| Ok((path.display().to_string(), open(path)?)));
    let files = files.collect::<Result<Vec<_>>>()?;
    let mut seen = Seen::default();
    let verified =
        verify_each(files, anchors, args.running, |logged| seen.see(logged)).context("cannot read the log")?;
    if let Some(path) = &args.html {
        let page = seen.page(&verified, args.running);
        fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(verified)
}

fn open(path: &Path) -> Result<BufReader<File>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    Ok(BufReader::with_capacity(1 << 16, file))
}

fn summary(verified: &Verified, running: bool) -> String {
    let Verified { files, lines, records, anchors, killed, missing, state, .. } = verified;
    let mut text =
        format!("the log is whole: {lines} lines in {files} files, {records} records, {anchors} anchors met\n");
    for (why, count) in missing {
        text.push_str(&format!("the log says itself: {count} records {}\n", why.about()));
    }
    if *killed > 0 {
        text.push_str(&format!(
            "{killed} files have no closing line: the daemon was killed or could not write it, or the machine stopped\n"
        ));
    }
    if running && state.as_ref().is_some_and(|state| !state.closed) {
        text.push_str("the last file is not closed: only an anchor can show whether lines at its end are missing\n");
    }
    text
}
