//! Configurations of LXC (lxc.container.conf(5)), and what Incus and LXD pass to it by `raw.lxc`.

use std::ops::Range;

use harness_diagnostics::report::Report;
use harness_uapi::capability;

use crate::{
    configuration::{Bpffs, Configuration, Effect},
    entry::{Confidence, Entry, File},
    execution_context::{CapabilitySet, ExecutionContext, Setting, TOKEN_PATH, UserNamespace},
    frontend::{ConfiguredObject, Frontend, OptionDelivery},
    mount::{MOUNT, take_options},
    names::Names,
    source::{Location, Source, Sources},
    suppression,
    text::Text,
};

/// LXC: its mounts are made in the container.
pub const LXC: Frontend = Frontend {
    name: "lxc",
    makes: ConfiguredObject::Container,
    delivery: OptionDelivery::Options,
    ask_for_bpffs: "let a process on the host set the options of a bpffs that the container opened",
    ask_for_namespace: "set `lxc.idmap`",
    ..MOUNT
};

pub(crate) const ENTRY: Entry = Entry {
    frontend: LXC,
    reads: "a configuration of an LXC container",
    has_name: |_| false,
    has_contents: |file| is_lxc(file).then_some(Confidence::Line),
    read,
    write: None,
};

fn is_lxc(file: &File<'_>) -> bool {
    file.first_line().strip_prefix("lxc.").is_some_and(|rest| rest.contains('='))
}

/// Reads each file as one container.
fn read(_: Frontend, sources: &Sources, names: &Names<'_>) -> Result<Vec<Configuration>, Report> {
    Ok(sources.iter().enumerate().map(|(at, source)| configuration(at, source, names)).collect())
}

fn configuration(at: usize, source: &Source, names: &Names<'_>) -> Configuration {
    let text = Text::verbatim(at, source.text(), 0..source.text().len());
    let mut read = Configuration::new(LXC, "");
    suppression::read(at, source.text(), suppression::Comments::Trailing, &mut read);
    read.execution_context = ExecutionContext {
        user_namespace: Setting::default_of(UserNamespace::Host),
        ..ExecutionContext::of_container()
    };
    for Line { key, value, location } in lines(&text) {
        match key {
            "lxc.name" | "lxc.uts.name" => value.as_str().clone_into(&mut read.name),
            "lxc.idmap" | "lxc.id_map" => {
                read.execution_context.user_namespace = Setting::assigned(UserNamespace::Own, location);
            }
            "lxc.mount.entry" => mount(&value, location, &mut read, names),
            _ => {}
        }
    }
    apply(&text, &mut read);
    read
}

/// Reads an entry of an fstab whose mount the container makes.
fn mount(entry: &Text, location: Location, read: &mut Configuration, names: &Names<'_>) {
    let fields = fields(entry.as_str());
    let [_, target, fstype, options, ..] = fields.as_slice() else { return };
    let text = entry.as_str();
    if &text[fstype.clone()] != "bpf" || !text[options.clone()].contains("delegate_") {
        return;
    }
    let path = format!("/{}", text[target.clone()].trim_start_matches('/'));
    take_options(&entry.slice(options.clone()), read, names);
    let message = "the container makes this mount itself, and only CAP_SYS_ADMIN in the initial user namespace may set options \
                   that delegate: the kernel refuses it with EPERM (bpf_parse_param in kernel/bpf/inode.c)";
    read.problem(entry.location(options.clone()), Effect::Refused, message);
    read.bpffs = Some(Bpffs { path, location });
}

fn fields(text: &str) -> Vec<Range<usize>> {
    let start = |field: &str| field.as_ptr() as usize - text.as_ptr() as usize;
    text.split_whitespace().take(6).map(|field| start(field)..start(field) + field.len()).collect()
}

/// Applies the settings about capabilities and the environment.
pub(crate) fn apply(text: &Text, read: &mut Configuration) {
    let mut dropped = 0;
    for Line { key, value, location } in lines(text) {
        let context = &mut read.execution_context;
        match key {
            // An empty value removes those before it, of which Incus and LXD have some of their own.
            "lxc.cap.drop" if value.as_str().is_empty() => {
                dropped = 0;
                context.bounding_set = Setting::assigned(CapabilitySet::ALL, location);
            }
            "lxc.cap.drop" => {
                dropped |= capabilities(value.as_str());
                let left = CapabilitySet(context.bounding_set.value.0 & !dropped);
                context.bounding_set = Setting::assigned(left, location);
            }
            "lxc.cap.keep" => {
                context.bounding_set = Setting::assigned(CapabilitySet(capabilities(value.as_str())), location);
            }
            "lxc.environment" | "lxc.environment.runtime" => {
                if let Some(path) = value.as_str().strip_prefix(TOKEN_PATH) {
                    context.token_path = Some(Setting::assigned(path.to_owned(), location));
                }
            }
            _ => {}
        }
    }
}

/// Returns the set of these names, which have no `cap_`.
fn capabilities(names: &str) -> u64 {
    let numbers = names.split_whitespace().filter_map(|name| capability::number(&format!("cap_{name}")));
    numbers.fold(0, |set, number| set | 1 << number)
}

/// A line of the form `KEY = VALUE`.
struct Line<'a> {
    key: &'a str,
    value: Text,
    location: Location,
}

fn lines(text: &Text) -> impl Iterator<Item = Line<'_>> {
    let whole = text.as_str();
    let mut start = 0;
    whole.split_inclusive('\n').filter_map(move |line| {
        let at = start;
        start += line.len();
        let content = line.trim_end();
        let equals = content.find('=').filter(|_| content.trim_start().starts_with("lxc."))?;
        let value = text.slice(at + equals + 1..at + content.len()).trimmed(&[' ', '\t', '"']);
        let indent = content.len() - content.trim_start().len();
        Some(Line { key: content[..equals].trim(), value, location: text.location(at + indent..at + content.len()) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{names::SystemdRelease, testing::known};

    fn one(text: &str) -> Configuration {
        let known = known();
        let sources = Sources::of("config", text.as_bytes()).unwrap();
        read(LXC, &sources, &Names::new(&known, SystemdRelease::V262)).unwrap().remove(0)
    }

    #[test]
    fn a_mount_of_the_container_is_refused() {
        let text = "lxc.uts.name = web\nlxc.idmap = u 0 100000 65536\n\
                    lxc.mount.entry = none sys/fs/bpf bpf rw,delegate_cmds=map_create 0 0\n";
        let read = one(text);
        assert_eq!((read.name.as_str(), read.bpffs.as_ref().unwrap().path.as_str()), ("web", "/sys/fs/bpf"));
        assert_eq!(read.delegation().unwrap().masks(), [1, 0, 0, 0]);
        assert_eq!((read.problems.len(), read.problems[0].effect), (1, Effect::Refused));
        assert_eq!(&text[read.problems[0].location.span.clone()], "rw,delegate_cmds=map_create");
        let plain = one("lxc.mount.entry = none sys/fs/bpf bpf rw 0 0\nlxc.mount.entry = x\n");
        assert_eq!((plain.bpffs, plain.problems.len()), (None, 0));
    }

    #[test]
    fn capabilities_are_dropped_or_kept() {
        let has_bpf = |text: &str| one(text).execution_context.bounding_set.value.contains(39);
        assert!(
            has_bpf("lxc.cap.drop = sys_admin\n") && !has_bpf("lxc.cap.drop = sys_admin\nlxc.cap.drop = bpf mknod\n")
        );
        assert!(has_bpf("lxc.cap.drop = bpf\nlxc.cap.drop =\n") && !has_bpf("lxc.cap.keep = sys_admin\n"));
    }
}
