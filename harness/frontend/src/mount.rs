//! Mounts of a bpffs: fstab(5), command lines of mount(8), bare lists of options, and what the kernel or `mount` shows of
//! those there are.
//!
//! A mount on the host belongs to the initial user namespace, in which there are no tokens.

mod line;

use harness_model::{delegation::OPTIONS, vocabulary::Kind};

use crate::{
    allowance,
    configuration::{Bpffs, Configuration, Effect},
    frontend::Frontend,
    names::Names,
    options::{self, Lists},
    source::Sources,
    surroundings::Surroundings,
    text::Text,
    unit::shown,
};
use line::Mount;

/// The most mounts that are read.
const MOST_MOUNTS: usize = 1000;

/// Reads the mounts of a bpffs in these files; other lines are passed over.
pub(crate) fn read(frontend: Frontend, sources: &Sources, names: &Names<'_>) -> Vec<Configuration> {
    let mut all = Vec::new();
    for (at, source) in sources.iter().enumerate() {
        let room = MOST_MOUNTS - all.len();
        for mount in line::mounts(at, source.text()).take(room) {
            all.push(configuration(frontend, &mount, names));
        }
        allow(at, source.text(), &mut all);
    }
    all
}

/// Gives each mount the allowances that are about its line, and what is wrong with them to the first.
fn allow(source: usize, text: &str, all: &mut [Configuration]) {
    let mut read = Configuration::new(Frontend::Mount, "");
    allowance::read(source, text, allowance::Comments::Trailing, &mut read);
    let here = |configuration: &&mut Configuration| {
        configuration.bpffs.as_ref().is_some_and(|bpffs| bpffs.place.source == source)
    };
    for configuration in all.iter_mut().filter(here) {
        let Some(bpffs) = &configuration.bpffs else { continue };
        let line = &bpffs.place.span;
        let about = |span: &std::ops::Range<usize>| span.start < line.end.max(line.start + 1) && line.start < span.end;
        configuration.allowances = read.allowances.iter().filter(|a| about(&a.applies_to.span)).cloned().collect();
        configuration.problems.append(&mut read.problems);
    }
}

fn configuration(frontend: Frontend, mount: &Mount, names: &Names<'_>) -> Configuration {
    let shown_by_kernel = mount.is_shown || frontend == Frontend::Mountinfo;
    let frontend = if shown_by_kernel { Frontend::Mountinfo } else { Frontend::Mount };
    let mut read = Configuration::new(frontend, &mount.target);
    read.bpffs = Some(Bpffs { path: mount.target.clone(), place: mount.place.clone() });
    if shown_by_kernel || mount.target.is_empty() {
        read.surroundings = Surroundings::unknown();
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
            let message = format!("the kernel has no option `{}` and passes it over", shown(key));
            read.problem(option.whole(), Effect::IgnoredSilently, message);
        }
        (None, _) => {}
    }
}

/// Options between commas; those in double quotes do not separate (mount(8)).
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
    // Few of the options of a hostile file are worth the memory of a place.
    let ours = |part: &std::ops::Range<usize>| text[part.clone()].trim_start().starts_with("delegate");
    parts.into_iter().filter(ours).take(MOST_MOUNTS).map(|part| options.slice(part).trimmed(&[' ', '\t'])).collect()
}

fn unquoted(value: &Text) -> Text {
    let text = value.as_str();
    let is_quoted = text.len() >= 2 && text.starts_with('"') && text.ends_with('"');
    if is_quoted { value.slice(1..text.len() - 1) } else { value.clone() }
}

#[cfg(test)]
mod tests;
