//! Mounts of a bpffs: fstab(5), command lines of mount(8), bare lists of options, and existing mounts as the kernel or
//! `mount` shows them.
//!
//! A mount on the host belongs to the initial user namespace, where no token can be created.

mod line;

use harness_diagnostics::report::Report;
use harness_protocol::mount_option::OPTIONS;
use harness_uapi::{delegation::options_of, vocabulary::Kind};

use crate::{
    configuration::{Bpffs, Configuration, Effect, MOUNT_POINT},
    entry::{Confidence, Entry, File},
    execution_context::ExecutionContext,
    frontend::{ConfiguredObject, Frontend, OptionDelivery, Spelling},
    names::Names,
    options::{self, Lists},
    shell::quoted,
    source::Sources,
    suppression,
    text::{Text, shown},
    write::{ConversionInput, Spelled, spelled},
};
use line::Mount;

/// `mount(8)`: command lines, and fstab(5).
pub const MOUNT: Frontend = Frontend {
    name: "mount",
    makes: ConfiguredObject::Mount,
    spelling: Spelling::Kernel,
    separator: ":",
    delivery: OptionDelivery::Options,
    ask_for_bpffs: "mount a file system of type bpf with these options",
    ask_for_namespace: "let the bpffs belong to a user namespace of the container",
};

/// The kernel's list of mounts: `/proc/self/mountinfo`, or what `mount` prints.
pub const MOUNTINFO: Frontend = Frontend { name: "mountinfo", delivery: OptionDelivery::Shown, ..MOUNT };

pub(crate) const ENTRY: Entry = Entry {
    frontend: MOUNT,
    reads: "fstab, or a mount command",
    has_name: |file| file.suffix() == "fstab",
    has_contents: |file| line::mounts(0, file.text).next().map(|_| Confidence::Hint),
    read,
    write: Some(("A mount command", |wanted, names| (command(wanted, names), Vec::new()))),
};

pub(crate) const ENTRY_OF_MOUNTINFO: Entry = Entry {
    frontend: MOUNTINFO,
    reads: "/proc/PID/mountinfo, or the output of mount",
    has_name: |file| matches!(file.suffix(), "mountinfo" | "mounts"),
    has_contents: |file| has_line(file, &[" - bpf ", " type bpf ("], Confidence::Line),
    read,
    write: None,
};

fn has_line(file: &File<'_>, parts: &[&str], sign: Confidence) -> Option<Confidence> {
    file.lines().any(|line| parts.iter().any(|part| line.contains(part))).then_some(sign)
}

/// The maximum number of mounts that are read.
const MOST_MOUNTS: usize = 1000;

/// Reads the mounts of a bpffs in these files, and ignores other lines.
fn read(frontend: Frontend, sources: &Sources, names: &Names<'_>) -> Result<Vec<Configuration>, Report> {
    let mut all = Vec::new();
    for (at, source) in sources.iter().enumerate() {
        let room = MOST_MOUNTS - all.len();
        for mount in line::mounts(at, source.text()).take(room) {
            all.push(configuration(frontend, &mount, names));
        }
        add_suppressions(at, source.text(), &mut all);
    }
    Ok(all)
}

/// Adds to each mount the suppressions that apply to its line; problems with them go to the first mount.
fn add_suppressions(source: usize, text: &str, all: &mut [Configuration]) {
    let mut read = Configuration::new(MOUNT, "");
    suppression::read(source, text, suppression::Comments::Trailing, &mut read);
    let here = |configuration: &&mut Configuration| {
        configuration.bpffs.as_ref().is_some_and(|bpffs| bpffs.location.source == source)
    };
    for configuration in all.iter_mut().filter(here) {
        let Some(bpffs) = &configuration.bpffs else { continue };
        let line = &bpffs.location.span;
        let overlaps =
            |span: &std::ops::Range<usize>| span.start < line.end.max(line.start + 1) && line.start < span.end;
        configuration.suppressions =
            read.suppressions.iter().filter(|a| overlaps(&a.applies_to.span)).cloned().collect();
        configuration.problems.append(&mut read.problems);
    }
}

fn configuration(frontend: Frontend, mount: &Mount, names: &Names<'_>) -> Configuration {
    let shown_by_kernel = mount.is_shown || frontend == MOUNTINFO;
    let frontend = if shown_by_kernel { MOUNTINFO } else { MOUNT };
    let mut read = Configuration::new(frontend, &mount.target);
    read.bpffs = Some(Bpffs { path: mount.target.clone(), location: mount.location.clone() });
    if shown_by_kernel || mount.target.is_empty() {
        read.execution_context = ExecutionContext::unknown();
    }
    let lists = if shown_by_kernel { Lists::Shown } else { Lists::Colons };
    for option in mount.options.iter().flat_map(split) {
        take(&option, lists, &mut read, names);
    }
    read
}

fn take(option: &Text, lists: Lists, read: &mut Configuration, names: &Names<'_>) {
    let text = option.as_str();
    let (key, value) = match text.find('=') {
        Some(equals) => (&text[..equals], Some(option.slice(equals + 1..text.len()))),
        None => (text, None),
    };
    let kind = Kind::ALL.into_iter().find(|kind| OPTIONS[*kind as usize] == key);
    match (kind, value) {
        (Some(kind), Some(value)) => options::assign(read, kind, &unquoted(&value), option.whole(), lists, names),
        (Some(_), None) => {
            let message = format!("the kernel refuses {key} without a value");
            read.problem(option.whole(), Effect::Refused, message);
        }
        (None, _) if key.starts_with("delegate") => {
            let message = format!("the kernel ignores the unknown option `{}`", shown(key));
            read.problem(option.whole(), Effect::IgnoredSilently, message);
        }
        (None, _) => {}
    }
}

/// Splits options at commas, except in double quotes (mount(8)).
fn split(options: &Text) -> Vec<Text> {
    let text = options.as_str();
    let mut parts = Vec::new();
    let (mut start, mut is_quoted) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => {
                parts.push(start..at);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(start..text.len());
    // Only options that delegate are kept, so that an untrusted file takes little memory.
    let ours = |part: &std::ops::Range<usize>| text[part.clone()].trim_start().starts_with("delegate");
    parts.into_iter().filter(ours).take(MOST_MOUNTS).map(|part| options.slice(part).trimmed(&[' ', '\t'])).collect()
}

fn unquoted(value: &Text) -> Text {
    let text = value.as_str();
    let is_quoted = text.len() >= 2 && text.starts_with('"') && text.ends_with('"');
    if is_quoted { value.slice(1..text.len() - 1) } else { value.clone() }
}

/// Returns a mount command.
fn command(wanted: &ConversionInput<'_>, names: &Names<'_>) -> String {
    let mut options = Vec::new();
    for (kind, mask) in Kind::ALL.into_iter().zip(wanted.delegation.masks()) {
        let key = OPTIONS[kind as usize];
        match spelled(mask, |bit| names.kernel(kind, bit).map(str::to_owned)) {
            Spelled::Nothing => {}
            Spelled::Any => options.push(format!("{key}=any")),
            Spelled::Names(list, rest) => {
                let number = (rest != 0).then(|| format!("{key}={rest:#x}"));
                let named = options_of(key, list.iter().map(String::as_str));
                options.extend(
                    number.into_iter().chain(named.into_iter().map(|option| format!("{key}={}", option.value))),
                );
            }
        }
    }
    let path = quoted(if wanted.path.is_empty() { MOUNT_POINT } else { wanted.path });
    match options.as_slice() {
        [] => format!("mount -t bpf none {path}\n"),
        some => format!("mount -t bpf -o {} none {path}\n", quoted(&some.join(","))),
    }
}

#[cfg(test)]
mod tests;
