//! systemd's unit files and drop-ins.
//!
//! systemd parses the delegated names itself, when it reads the unit, and hands masks to the kernel. A list is cut at commas
//! only, so that blanks belong to names; a name must be spelled exactly as systemd spells it; anything else, `any` within a
//! list and numbers included, is passed over with a warning that names neither file nor line. Each assignment takes the
//! place of the one before it, an empty one delegates nothing, and no specifier is resolved (`src/core/namespace.c`,
//! `bpf_delegate_from_string`; `src/core/load-fragment.c`).

mod assemble;
mod capability;
mod filter;
mod lines;
mod settings;
mod words;

use harness_model::vocabulary::Kind;

pub(crate) use settings::{MOUNT_POINT, Settings, shown};

use crate::{
    allowance,
    configuration::{self, Configuration, Effect},
    frontend::Frontend,
    names::Names,
    source::{Place, Sources},
};
use assemble::Unit;
use lines::{Line, Lines};

/// The setting of a unit that delegates names of this kind.
pub const fn setting_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Cmd => "BPFDelegateCommands",
        Kind::Map => "BPFDelegateMaps",
        Kind::Prog => "BPFDelegatePrograms",
        Kind::Attach => "BPFDelegateAttachments",
    }
}

/// The sections whose settings make processes, by the type of unit.
const EXEC_SECTIONS: [(&str, &str); 4] =
    [("service", "Service"), ("socket", "Socket"), ("mount", "Mount"), ("swap", "Swap")];
/// The sections of every unit.
const OTHER_SECTIONS: [&str; 2] = ["Unit", "Install"];

/// Reads all units among these files, each with the drop-ins that are for it.
pub(crate) fn read(sources: &Sources, names: &Names<'_>) -> Vec<Configuration> {
    assemble::units(sources).iter().map(|unit| configuration(unit, sources, names)).collect()
}

fn configuration(unit: &Unit, sources: &Sources, names: &Names<'_>) -> Configuration {
    let mut settings = Settings::new(Configuration::new(Frontend::Systemd, &unit.name), names);
    for (hidden, by) in &unit.hidden {
        let message = format!("{} is read instead of it, having the same file name", sources.get(*by).label());
        settings.configuration.problem(Place { source: *hidden, span: 0..0 }, Effect::IgnoredSilently, message);
    }
    for source in &unit.files {
        read_file(*source, sources, unit, &mut settings);
    }
    settings.finish()
}

fn read_file(source: usize, sources: &Sources, unit: &Unit, settings: &mut Settings<'_>) {
    let file = sources.get(source);
    let own_line = allowance::Comments::OwnLine;
    allowance::read(source, file.text(), own_line, &mut settings.configuration);
    let mut section = Section::Nowhere;
    for line in Lines::of(source, file) {
        // systemd reads no further in this file.
        let Some(next) = read_line(&line, section, unit, settings) else { break };
        section = next;
    }
}

/// Where a line stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    /// Before the first header.
    Nowhere,
    /// Where our settings belong.
    Exec,
    /// In another section that systemd knows.
    Other,
    /// In one that it passes over.
    Ignored,
}

fn read_line(line: &Line, section: Section, unit: &Unit, settings: &mut Settings<'_>) -> Option<Section> {
    let whole = line.text.whole();
    let configuration = &mut settings.configuration;
    if !line.is_utf8 {
        let message = "this line is no UTF-8: systemd reads no further in this file";
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
        return ignored("no name before `=`");
    }
    let key = line.text.slice(0..equals).trimmed(&words::BLANKS);
    let value = line.text.slice(equals + 1..text.len()).trimmed(&words::BLANKS);
    if section == Section::Exec {
        settings.assign(&key, &value, &whole);
    } else {
        configuration.write_down(configuration::Section::Other, key.as_str(), value.as_str(), &whole);
        if settings::is_ours(key.as_str()) {
            let message = format!("`{}` is no setting of this section", key.as_str());
            configuration.problem(key.whole(), Effect::Ignored, message);
        }
    }
    Some(section)
}

fn header(text: &str, place: &Place, unit: &Unit, configuration: &mut Configuration) -> Option<Section> {
    let Some(name) = text[1..].strip_suffix(']').filter(|name| !name.chars().any(char::is_control)) else {
        let message = "no section header: systemd reads no further in this file";
        configuration.problem(place.clone(), Effect::Refused, message);
        return None;
    };
    let exec = EXEC_SECTIONS.iter().any(|(kind, section)| *section == name && unit.may_be(kind));
    if exec {
        Some(Section::Exec)
    } else if OTHER_SECTIONS.contains(&name) || unit.own_section().as_deref() == Some(name) {
        Some(Section::Other)
    } else {
        if !name.starts_with("X-") {
            let message = format!("systemd knows no section `{name}` in {}", unit.name);
            configuration.problem(place.clone(), Effect::Ignored, message);
        }
        Some(Section::Ignored)
    }
}

#[cfg(test)]
mod tests;
