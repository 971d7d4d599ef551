//! Mounts of a bpffs: fstab(5), command lines of mount(8), bare lists of options, and existing mounts as the kernel or
//! `mount` shows them.
//!
//! A mount that mount(8) makes is never one from which a token can be created. It belongs to the user namespace of whoever
//! opens the file system, and the options that delegate are for those who have CAP_SYS_ADMIN in the initial user namespace
//! (`bpf_parse_param` in `kernel/bpf/inode.c`): mount(8) does both in one process, so either it is refused, or the bpffs
//! belongs to the initial user namespace. A plain bpffs, which delegates nothing, is no configuration.

mod line;

use std::ops::Range;

use harness_diagnostics::report::Report;
use harness_protocol::mount_option::OPTIONS;
use harness_uapi::{delegation::options_of, vocabulary::Kind};

use crate::{
    configuration::{Bpffs, Configuration, CutOff, Effect, MOUNT_POINT},
    entry::{Confidence, Entry, File},
    execution_context::{ExecutionContext, Setting, UserNamespace},
    frontend::{ConfiguredObject, Frontend, OptionDelivery, Spelling},
    names::Names,
    options::{self, Lists},
    shell::quoted,
    source::{Location, Sources},
    suppression,
    text::{Text, has_variable, shown},
    write::{ConversionInput, ConversionLoss, Spelled, spelled},
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
    write: Some(("A mount command", |wanted, names| (command(wanted, names), of_the_host(wanted)))),
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
/// The maximum number of options of a mount that are read.
const MOST_OPTIONS: usize = 10_000;

/// Reads the mounts of a bpffs in these files that delegate something, and ignores other lines.
fn read(frontend: Frontend, sources: &Sources, names: &Names<'_>) -> Result<Vec<Configuration>, Report> {
    let mut all = Vec::new();
    for (at, source) in sources.iter().enumerate() {
        let room = MOST_MOUNTS - all.len();
        let mounts: Vec<Mount> = line::mounts(at, source.text()).take(room).collect();
        let as_shown = |mount: &Mount| mount.is_shown || frontend == MOUNTINFO;
        // Where the host's own bpffs is, all are the host's.
        let host = mounts.iter().find(|mount| as_shown(mount) && is_of_host(mount)).map(|mount| mount.location.clone());
        for mount in &mounts {
            let read = configuration(as_shown(mount), mount, host.as_ref(), names);
            all.extend(Some(read).filter(Configuration::says_something));
        }
        add_suppressions(at, source.text(), &mut all);
    }
    Ok(all)
}

/// Whether a mount that the kernel shows is the host's own: at the usual path, without a delegation, owned by the host's
/// root.
fn is_of_host(mount: &Mount) -> bool {
    let has = |part: &str| mount.options.iter().any(|options| options.as_str().contains(part));
    mount.target == MOUNT_POINT && !has("delegate_") && !has("uid=")
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

/// Reads a mount; `host` is the host's own bpffs, if the same list shows it.
fn configuration(is_shown: bool, mount: &Mount, host: Option<&Location>, names: &Names<'_>) -> Configuration {
    let mut read = Configuration::new(if is_shown { MOUNTINFO } else { MOUNT }, &mount.target);
    read.bpffs = Some(Bpffs { path: mount.target.clone(), location: mount.location.clone() });
    if is_shown || mount.target.is_empty() {
        read.execution_context = ExecutionContext::unknown();
    }
    if is_shown {
        read.execution_context.user_namespace = owner(mount, host);
    }
    let lists = if is_shown { Lists::Shown } else { Lists::Colons };
    for options in &mount.options {
        take_all(options, lists, &mut read, names);
    }
    read
}

/// Reads a command line of mount(8); `None` if it is another command or mounts something else.
pub(crate) fn of_command(words: &[Text], names: &Names<'_>) -> Option<Configuration> {
    line::command(words).map(|mount| configuration(false, &mount, None, names))
}

/// Reads the fields of a line of fstab(5) that are the words of a list.
pub(crate) fn of_fields(fields: &[Text], names: &Names<'_>) -> Option<Configuration> {
    match fields {
        [_, target, fstype, options, ..] if fstype.as_str() == "bpf" && target.as_str().starts_with('/') => {
            Some(of_options(options, target.as_str().to_owned(), names))
        }
        _ => None,
    }
}

/// Reads the lines of an fstab that are a part of another file, each with its place.
pub(crate) fn of_lines(
    source: usize,
    file: &str,
    part: Range<usize>,
    names: &Names<'_>,
) -> impl Iterator<Item = (Configuration, Range<usize>)> {
    let mounts = line::in_part(source, file, part).filter(|mount| !mount.target.is_empty()).take(MOST_MOUNTS);
    let read = mounts.map(|mount| (configuration(mount.is_shown, &mount, None, names), mount.location.span));
    read.filter(|(read, _)| read.says_something())
}

/// Reads the options of a mount of a bpffs by the host.
pub(crate) fn of_options(options: &Text, target: String, names: &Names<'_>) -> Configuration {
    let mount = Mount { target, options: vec![options.clone()], location: options.whole(), is_shown: false };
    let mut read = configuration(false, &mount, None, names);
    read.execution_context = ExecutionContext::default();
    read
}

/// Reads the mount options of another front-end's file into a configuration.
pub(crate) fn take_options(options: &Text, read: &mut Configuration, names: &Names<'_>) {
    take_all(options, Lists::Colons, read, names);
}

/// Returns the user namespace that owns a bpffs that the kernel shows, as far as the list says: `uid=` is the user of the
/// host that its root belongs to, and is left out for the host's root (`bpf_show_options` in `kernel/bpf/inode.c`).
fn owner(mount: &Mount, host: Option<&Location>) -> Setting<UserNamespace> {
    const FIRST_MAPPED: u32 = 65536;
    let options = mount.options.iter().flat_map(|options| options.as_str().split(','));
    match options.filter_map(|option| option.trim().strip_prefix("uid=")).find_map(|uid| uid.parse::<u32>().ok()) {
        Some(uid) if uid >= FIRST_MAPPED => Setting::default_of(UserNamespace::Own),
        Some(_) => Setting::assigned(UserNamespace::Host, mount.location.clone()),
        None => match host {
            Some(_) => Setting::assigned(UserNamespace::Host, mount.location.clone()),
            None => Setting::default_of(UserNamespace::Unknown),
        },
    }
}

/// Reads options one by one. Only those that delegate are kept, so that an untrusted file takes little memory.
fn take_all(options: &Text, lists: Lists, read: &mut Configuration, names: &Names<'_>) {
    // The option that a comma has just ended.
    let mut ended: Option<Kind> = None;
    for part in parts(options.as_str()).take(MOST_OPTIONS) {
        let option = options.slice(part).trimmed(&[' ', '\t']);
        let text = option.as_str();
        if text.starts_with("delegate") {
            take(&option, lists, read, names);
            let kind = Kind::ALL
                .into_iter()
                .find(|kind| text.strip_prefix(OPTIONS[*kind as usize]).is_some_and(|rest| rest.starts_with('=')));
            ended = kind.filter(|_| lists != Lists::Shown);
        } else if has_variable(text) && lists != Lists::Shown {
            read.unknown_value(option.whole(), text, None);
            ended = None;
        } else if let Some(kind) = ended.filter(|_| is_cut_off(text)) {
            cut_off(kind, &option, read, names);
        } else {
            ended = None;
        }
    }
}

/// Options of mount(8) that every file system has and that are one word.
const GENERIC: [&str; 36] = [
    "ro",
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "sync",
    "async",
    "dirsync",
    "remount",
    "mand",
    "nomand",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "lazytime",
    "nolazytime",
    "defaults",
    "auto",
    "noauto",
    "user",
    "nouser",
    "users",
    "group",
    "owner",
    "nofail",
    "silent",
    "loud",
    "nosymfollow",
];

/// Whether a part of the options is a name for which there was a comma instead of a colon.
fn is_cut_off(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !text.is_empty()
        && !text.starts_with('_')
        && !GENERIC.contains(&text)
        && text.split(':').all(|name| name.chars().all(word))
}

/// Records a name after a comma, together with those before it.
fn cut_off(kind: Kind, name: &Text, read: &mut Configuration, names: &Names<'_>) {
    let location = name.whole();
    let known = name.as_str().split(':').all(|name| names.kernel_reading(kind, name).is_some());
    let comma = Location { source: location.source, span: location.span.start.saturating_sub(1)..location.span.start };
    let is_full = read.cut_off.len() == MOST_MOUNTS;
    let continued =
        read.cut_off.last_mut().filter(|last| last.option == kind && last.location.span.end <= comma.span.start + 1);
    match continued {
        Some(last) => {
            last.location.span.end = location.span.end;
            if last.text.len() < 100 {
                last.text = shown(&format!("{},{}", last.text, name.as_str()));
            }
            let fixable = known && !last.commas.is_empty();
            if fixable { last.commas.push(comma) } else { last.commas.clear() }
        }
        None if !is_full => {
            let commas = if known { vec![comma] } else { Vec::new() };
            read.cut_off.push(CutOff { location, option: kind, text: shown(name.as_str()), commas });
        }
        None => {}
    }
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
fn parts(text: &str) -> impl Iterator<Item = Range<usize>> {
    let (mut start, mut is_quoted) = (0, false);
    let ends = text.char_indices().chain([(text.len(), ',')]).filter(move |(at, c)| {
        is_quoted ^= *c == '"';
        *c == ',' && (!is_quoted || *at == text.len())
    });
    ends.map(move |(end, _)| {
        let part = start..end;
        start = end + 1;
        part
    })
}

fn unquoted(value: &Text) -> Text {
    let text = value.as_str();
    let is_quoted = text.len() >= 2 && text.starts_with('"') && text.ends_with('"');
    if is_quoted { value.slice(1..text.len() - 1) } else { value.clone() }
}

/// Returns what a mount command lacks.
fn of_the_host(wanted: &ConversionInput<'_>) -> Vec<ConversionLoss> {
    let why = "the container's user namespace: from a bpffs of mount(8) no token can be created; for one, the container calls \
               fsopen(2), and a process with CAP_SYS_ADMIN on the host sets these options by fsconfig(2)";
    let delegates = wanted.delegation.masks() != [0; 4];
    delegates.then(|| ConversionLoss(why.to_owned())).into_iter().collect()
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
