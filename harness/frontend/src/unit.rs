//! systemd's unit files and drop-ins.
//!
//! systemd parses the delegated names itself when it reads the unit, and passes masks to the kernel. It splits a list only at
//! commas, so whitespace is part of a name; a name must have exactly systemd's spelling; anything else, including numbers and
//! `any` within a list, is ignored with a warning that has neither file nor line. Each assignment replaces the previous one,
//! an empty one delegates nothing, and specifiers are not resolved (`src/core/namespace.c`, `bpf_delegate_from_string`;
//! `src/core/load-fragment.c`).

mod assemble;
mod capability;
mod filter;
mod lines;
mod settings;
mod words;

use std::ops::Range;

use harness_diagnostics::report::Report;
use harness_uapi::vocabulary::Kind;

use settings::UnitMount;
pub use settings::setting_of;
pub(crate) use settings::{Settings, is_checked};

use crate::{
    configuration::{self, Bpffs, Configuration, Effect},
    entry::{Confidence, Entry, File},
    frontend::{ConfiguredObject, Frontend, OptionDelivery, Spelling},
    mount::{MOUNT, take_options},
    names::Names,
    source::{Location, Source, Sources},
    suppression,
    write::{ConversionInput, ConversionLoss, Spelled, elsewhere, spelled},
};
use assemble::Unit;
pub use assemble::{FOLDERS, drop_in_folders};
use lines::{Line, Lines};

/// systemd: unit files and drop-ins. It passes numbers to the kernel (`src/core/exec-invoke.c`, `bpffs_helper`).
pub const SYSTEMD: Frontend = Frontend {
    name: "systemd",
    makes: ConfiguredObject::Unit,
    spelling: Spelling::Systemd,
    separator: ",",
    delivery: OptionDelivery::Masks,
    ask_for_bpffs: "add `PrivateBPF=yes`",
    ask_for_namespace: "add `PrivateUsers=yes` and `DelegateNamespaces=mnt`",
};

pub(crate) const ENTRY: Entry = Entry {
    frontend: SYSTEMD,
    reads: "a unit or a drop-in",
    has_name,
    has_contents,
    read,
    write: Some(("A drop-in of a service", drop_in)),
};

/// The types of units, besides `mount`: a file with just this name belongs to another front-end.
const TYPES: [&str; 9] = ["service", "socket", "swap", "slice", "timer", "target", "scope", "path", "automount"];

fn has_name(file: &File<'_>) -> bool {
    match file.suffix() {
        "mount" => file.name() != "mount",
        "conf" => file.path.contains(".d/") && !file.first_line().starts_with("lxc."),
        suffix => TYPES.contains(&suffix),
    }
}

fn has_contents(file: &File<'_>) -> Option<Confidence> {
    let section = |line: &'_ str| Some(line.strip_prefix('[')?.strip_suffix(']')?.to_owned());
    let is_known = |section: String| SECTIONS.contains(&section.as_str());
    // Many other files begin with the header of a section.
    let is_unit = section(file.first_line()).is_some() && file.lines().filter_map(section).any(is_known);
    is_unit.then_some(Confidence::Beginning)
}

/// The sections by which units are recognized, of all types.
const SECTIONS: [&str; 11] =
    ["Unit", "Install", "Service", "Socket", "Mount", "Swap", "Automount", "Path", "Timer", "Slice", "Scope"];

/// The sections whose settings start processes, by the type of unit.
const EXEC_SECTIONS: [(&str, &str); 4] =
    [("service", "Service"), ("socket", "Socket"), ("mount", "Mount"), ("swap", "Swap")];
/// The sections of every unit.
const OTHER_SECTIONS: [&str; 2] = ["Unit", "Install"];

/// Reads all units among these files, each with its drop-ins.
fn read(_: Frontend, sources: &Sources, names: &Names<'_>) -> Result<Vec<Configuration>, Report> {
    Ok(assemble::units(sources).iter().flat_map(|unit| configurations(unit, sources, names)).collect())
}

/// Reads a unit; of a mount unit, also what it mounts.
fn configurations(unit: &Unit, sources: &Sources, names: &Names<'_>) -> Vec<Configuration> {
    let mut settings = Settings::new(Configuration::new(SYSTEMD, &unit.name), names);
    for (hidden, by) in &unit.hidden {
        let message = format!("{} overrides this file, which has the same name", sources.get(*by).label());
        settings.configuration.problem(Location { source: *hidden, span: 0..0 }, Effect::IgnoredSilently, message);
    }
    for source in &unit.files {
        let file = sources.get(*source);
        suppression::read(*source, file.text(), suppression::Comments::OwnLine, &mut settings.configuration);
        read_lines(Lines::of(*source, file), unit, &mut settings);
    }
    finished(unit, settings, names)
}

/// Reads a unit that is a part of another file, such as a script that writes it. `is_unknown` recognizes values that are not
/// in the file.
pub(crate) fn of_part(
    (source, file): (usize, &Source),
    part: Range<usize>,
    name: &str,
    is_unknown: fn(&str) -> bool,
    names: &Names<'_>,
) -> Vec<Configuration> {
    let unit = Unit { name: name.to_owned(), files: Vec::new(), hidden: Vec::new() };
    let mut settings = Settings::of_part(Configuration::new(SYSTEMD, name), is_unknown, names);
    read_lines(Lines::of_part(source, file, part), &unit, &mut settings);
    finished(&unit, settings, names)
}

/// Whether a text begins with the header of a section of a unit.
pub(crate) fn is_unit(text: &str) -> bool {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    let name = first.and_then(|line| line.strip_prefix('[')?.strip_suffix(']'));
    name.is_some_and(|name| SECTIONS.contains(&name))
}

fn finished(unit: &Unit, settings: Settings<'_>, names: &Names<'_>) -> Vec<Configuration> {
    let mount = mounted(unit, &settings, names);
    [Some(settings.finish()), mount].into_iter().flatten().collect()
}

/// Returns the bpffs that a mount unit mounts, if it delegates something.
fn mounted(unit: &Unit, settings: &Settings<'_>, names: &Names<'_>) -> Option<Configuration> {
    let UnitMount { target, options, .. } =
        Some(&settings.mount).filter(|mount| mount.is_bpf && unit.may_be("mount"))?;
    let options = options.as_ref()?;
    let mut read = Configuration::new(MOUNT, &unit.name);
    take_options(options, &mut read, names);
    read.bpffs = Some(Bpffs { path: target.clone(), location: options.whole() });
    Some(read).filter(Configuration::says_something)
}

fn read_lines(lines: Lines<'_>, unit: &Unit, settings: &mut Settings<'_>) {
    let mut section = Section::Nowhere;
    for line in lines {
        // systemd ignores the rest of this file.
        let Some(next) = read_line(&line, section, unit, settings) else { break };
        section = next;
    }
}

/// The kind of section that a line is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    /// Before the first header.
    Nowhere,
    /// A section for the settings that are checked here.
    Exec,
    /// Another section that systemd knows.
    Other,
    /// A section that systemd ignores.
    Ignored,
}

fn read_line(line: &Line, section: Section, unit: &Unit, settings: &mut Settings<'_>) -> Option<Section> {
    let whole = line.text.whole();
    let configuration = &mut settings.configuration;
    if !line.is_utf8 {
        let message = "this line is not UTF-8: systemd ignores the rest of the file";
        configuration.problem(whole, Effect::Refused, message);
        return None;
    }
    let mut ignored = |why: &str| {
        configuration.problem(whole.clone(), Effect::Ignored, why);
        Some(section)
    };
    let text = line.text.as_str();
    if text.starts_with('[') {
        return header(text, &whole, unit, configuration);
    }
    if section == Section::Nowhere {
        return ignored("an assignment outside of a section");
    }
    let Some(equals) = text.find('=').filter(|_| section != Section::Ignored) else {
        return if section == Section::Ignored { Some(section) } else { ignored("a line without `=`") };
    };
    if equals == 0 {
        return ignored("a line without a name before `=`");
    }
    let key = line.text.slice(0..equals).trimmed(&words::BLANKS);
    let value = line.text.slice(equals + 1..text.len()).trimmed(&words::BLANKS);
    if section == Section::Exec {
        settings.assign(&key, &value, &whole);
    } else {
        configuration.record(configuration::Section::Other, key.as_str(), value.as_str(), &whole);
        if settings::is_checked(key.as_str()) {
            let message = format!("`{}` has no effect in this section", key.as_str());
            configuration.problem(key.whole(), Effect::Ignored, message);
        }
    }
    Some(section)
}

fn header(text: &str, location: &Location, unit: &Unit, configuration: &mut Configuration) -> Option<Section> {
    let Some(name) = text[1..].strip_suffix(']').filter(|name| !name.chars().any(char::is_control)) else {
        let message = "not a section header: systemd ignores the rest of the file";
        configuration.problem(location.clone(), Effect::Refused, message);
        return None;
    };
    let exec = EXEC_SECTIONS.iter().any(|(kind, section)| *section == name && unit.may_be(kind));
    if exec {
        Some(Section::Exec)
    } else if OTHER_SECTIONS.contains(&name) || unit.own_section().as_deref() == Some(name) {
        Some(Section::Other)
    } else {
        if !name.starts_with("X-") {
            let message = format!("systemd ignores the unknown section [{name}] in {}", unit.name);
            configuration.problem(location.clone(), Effect::Ignored, message);
        }
        Some(Section::Ignored)
    }
}

fn drop_in(wanted: &ConversionInput<'_>, names: &Names<'_>) -> (String, Vec<ConversionLoss>) {
    let mut lost = elsewhere(wanted, "systemd");
    let mut text =
        "[Service]\nPrivateBPF=yes\nPrivateUsers=yes\nPrivateMounts=yes\nDelegateNamespaces=mnt\n".to_owned();
    for (kind, mask) in Kind::ALL.into_iter().zip(wanted.delegation.masks()) {
        let setting = setting_of(kind);
        match spelled(mask, |bit| names.systemd(kind, bit)) {
            Spelled::Nothing => {}
            Spelled::Any => text += &format!("{setting}=any\n"),
            Spelled::Names(list, rest) => {
                if rest != 0 {
                    let release = names.systemd_release().number;
                    lost.push(ConversionLoss(format!(
                        "{setting}=: systemd {release} has no names for the bits {rest:#x}"
                    )));
                }
                // A later line would replace the first, so all names are in one.
                text += &format!("{setting}={}\n", list.join(","));
            }
        }
    }
    (text, lost)
}

#[cfg(test)]
mod tests;
