//! A unit as a guest's systemd starts it: all that it says of its processes, without what cannot hold in a VM.
//!
//! The guest program stands in for the unit's own, so that settings about that program, and about files, users and time that
//! the VM does not have, are left out or replaced. Each such change is told; which there are is one table.

mod table;

use harness_protocol::plan::{Assignment, Unit};
use thiserror::Error;

use crate::{
    configuration::{Configuration, MOST_WRITTEN, Section, Written},
    execution_context::User,
    frontend::ConfiguredObject,
    source::Location,
    unit::SYSTEMD,
};
use table::Treatment;

/// A unit to be started in a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmUnit {
    /// What is started.
    pub unit: Unit,
    /// What differs from the unit as it is written, each once.
    pub changes: Vec<Change>,
    /// Where each assignment of the unit's files comes from: the main file first, then its drop-ins.
    places: Vec<Vec<Location>>,
}

/// Something that is not in the VM as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where it is written.
    pub location: Location,
    /// What: an assignment such as `User=postgres`, or a setting such as `ExecStart=`.
    pub what: String,
    /// What is there instead; nothing if it is left out.
    pub instead: Option<String>,
    /// Why.
    pub why: &'static str,
}

/// Why a configuration cannot be started as a service of the system's manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotStartable {
    /// systemd does not read it.
    #[error("it is no unit of systemd")]
    NoUnit,
    /// It is a unit of another type.
    #[error("only services are started in a VM")]
    NoService,
    /// It is for another manager.
    #[error("it is run by another manager than the system's, and the VM has only that")]
    OtherManager,
    /// It is too long.
    #[error("it has more than {MOST_WRITTEN} assignments")]
    TooLong,
}

/// Translates a unit, or the properties of a `systemd-run`, for a VM.
///
/// # Errors
/// [`NotStartable`] if it is nothing that the system's manager starts as a service.
pub fn rehearse(configuration: &Configuration) -> Result<VmUnit, NotStartable> {
    if configuration.frontend.makes != ConfiguredObject::Unit {
        return Err(NotStartable::NoUnit);
    }
    if configuration.frontend == SYSTEMD && !is_service(&configuration.name) {
        return Err(NotStartable::NoService);
    }
    if configuration.other_manager.is_some() {
        return Err(NotStartable::OtherManager);
    }
    if configuration.written.len() > MOST_WRITTEN {
        return Err(NotStartable::TooLong);
    }
    let mut draft = VmUnitDraft {
        is_dynamic: configuration.execution_context.user.value == User::Dynamic,
        ..VmUnitDraft::default()
    };
    let mut files: Vec<Vec<(Assignment, Location)>> = Vec::new();
    let mut last = None;
    for written in &configuration.written {
        if last.replace(written.location.source) != Some(written.location.source) {
            files.push(Vec::new());
        }
        let kept = draft.treat(written);
        if let (Some(assignment), Some(file)) = (kept, files.last_mut()) {
            file.push((assignment, written.location.clone()));
        }
    }
    if let (Some(last), Some(written)) = (files.last_mut().filter(|_| draft.hides), configuration.written.last()) {
        let (key, value) = (table::SHOWN.0.to_owned(), table::SHOWN.1.to_owned());
        last.push((Assignment { key, value }, written.location.clone()));
    }
    let instance = draft.instance(configuration);
    let (mut texts, mut places) = (Vec::new(), Vec::new());
    for file in files {
        let (assignments, its): (Vec<Assignment>, Vec<Location>) = file.into_iter().unzip();
        texts.push(assignments);
        places.push(its);
    }
    let mut texts = texts.into_iter();
    let (service, drop_ins) = (texts.next().unwrap_or_default(), texts.collect());
    let unit = Unit { service, drop_ins, instance, ..Unit::default() };
    Ok(VmUnit { unit, changes: draft.changes, places })
}

/// Whether a name is that of a service, or tells nothing, as standard input's.
fn is_service(name: &str) -> bool {
    const OTHERS: [&str; 10] =
        ["socket", "mount", "swap", "target", "device", "automount", "timer", "path", "slice", "scope"];
    !name.rsplit_once('.').is_some_and(|(_, suffix)| OTHERS.contains(&suffix)) && !OTHERS.contains(&name)
}

/// A translation while it is made.
#[derive(Default)]
struct VmUnitDraft {
    changes: Vec<Change>,
    /// Whether the guest program has to be shown.
    hides: bool,
    /// Whether systemd makes the user up, so that its name need not be known.
    is_dynamic: bool,
}

impl VmUnitDraft {
    /// What becomes of an assignment; `None` if it is left out.
    fn treat(&mut self, written: &Written) -> Option<Assignment> {
        let Written { key, value, .. } = written;
        if written.section == Section::Other {
            return self.leave_out(
                written,
                "only [Service] is tried; the rest says when it is started, and beside which units",
            );
        }
        if !is_one_line(key, value) {
            return self.leave_out(written, "it cannot be written in a unit file");
        }
        let kept = Some(Assignment { key: key.clone(), value: value.clone() });
        match table::treatment(key) {
            Treatment::Kept => {
                if names_itself(value) {
                    let why = "specifiers of the unit's name, such as %n, stand for another one in the VM";
                    self.tell(written, format!("{key}="), Some(format!("{key}=")), why);
                }
                kept
            }
            Treatment::LeftOut(why) => self.leave_out(written, why),
            Treatment::Hides => {
                let (key, value) = table::SHOWN;
                self.hides = true;
                self.tell(
                    written,
                    format!("{}={}", written.key, written.value),
                    Some(format!("it and {key}={value}")),
                    table::SHOWN_WHY,
                );
                kept
            }
            // What is reset is reset there, too.
            _ if value.is_empty() => kept,
            Treatment::Paths(why) => self.replace(written, key, table::optional(value), why),
            Treatment::Replaced { by: (key, value), why } => self.replace(written, key, value.to_owned(), why),
            Treatment::Ids(_) if self.is_dynamic => kept,
            Treatment::Ids(ids) => match table::known(ids, value) {
                known if known == *value => kept,
                known if known.is_empty() => self.leave_out(written, ids.why()),
                known => self.replace(written, key, known, ids.why()),
            },
        }
    }

    fn leave_out(&mut self, written: &Written, why: &'static str) -> Option<Assignment> {
        self.tell(written, format!("{}=", written.key), None, why);
        None
    }

    fn replace(&mut self, written: &Written, key: &str, value: String, why: &'static str) -> Option<Assignment> {
        if (key, &value) != (written.key.as_str(), &written.value) {
            self.tell(written, format!("{}={}", written.key, written.value), Some(format!("{key}={value}")), why);
        }
        Some(Assignment { key: key.to_owned(), value })
    }

    fn tell(&mut self, written: &Written, what: String, instead: Option<String>, why: &'static str) {
        let known = |change: &Change| change.what == what && change.instead == instead && change.why == why;
        if !self.changes.iter().any(known) {
            self.changes.push(Change { location: written.location.clone(), what, instead, why });
        }
    }

    /// What stands behind `@` in the unit's name; a template alone cannot be started.
    fn instance(&mut self, configuration: &Configuration) -> Option<String> {
        let stem = configuration.name.rsplit_once('.').map_or(configuration.name.as_str(), |(stem, _)| stem);
        let (_, instance) = stem.split_once('@')?;
        if is_instance(instance) {
            return Some(instance.to_owned());
        }
        let location = configuration.written.first()?.location.clone();
        let (what, instead) = (configuration.name.clone(), Some("the instance `instance`".to_owned()));
        self.changes.push(Change { location, what, instead, why: "a template is started as an instance" });
        Some("instance".to_owned())
    }
}

/// What `VALID_CHARS` in systemd's `src/basic/unit-name.c` has, as long as a name of the guest's own may be with it.
fn is_instance(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte))
}

/// Whether a line of these parts is read as the same again. Words of a command line can have anything in them.
fn is_one_line(key: &str, value: &str) -> bool {
    let word = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic() && !b"=[#;\\".contains(&byte));
    let backslashes = value.bytes().rev().take_while(|byte| *byte == b'\\').count();
    word && !value.contains(['\n', '\r', '\0']) && backslashes % 2 == 0
}

/// Whether a value has a specifier for the unit's own name or what follows from it (systemd.unit(5), "Specifiers").
fn names_itself(value: &str) -> bool {
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' && rest.next().is_some_and(|specifier| b"nNpPjJyY".contains(&specifier)) {
            return true;
        }
    }
    false
}

impl VmUnit {
    /// A warning of systemd's that begins with a place in the unit's files of the VM: the place in the files as they were
    /// written, and the rest of it.
    pub fn locate<'w>(&self, warning: &'w str) -> Option<(&Location, &'w str)> {
        let (path, rest) = warning.split_once(':')?;
        let (line, rest) = rest.split_once(':')?;
        let file = match path.rsplit_once('/')? {
            (folder, drop_in) if folder.ends_with(".d") => drop_in.strip_suffix(".conf")?.parse::<usize>().ok()?,
            (_, file) => file.ends_with(".service").then_some(0)?,
        };
        // The first line is the section's header.
        let index = line.parse::<usize>().ok()?.checked_sub(2)?;
        Some((self.places.get(file)?.get(index)?, rest.trim_start()))
    }
}

#[cfg(test)]
mod tests;
