//! Rewrites a unit so that a guest's systemd can start it, keeping everything about its processes that can hold in a VM.
//!
//! The guest program replaces the unit's own. Settings about that program, and about files, users and time that the VM does
//! not have, are left out or replaced. Each such change is reported; one table lists them all.

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

/// A unit to start in a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmUnit {
    /// The unit.
    pub unit: Unit,
    /// What differs from the unit as it is written, without duplicates.
    pub changes: Vec<Change>,
    /// The source of each assignment of the unit's files: the main file first, then its drop-ins.
    locations: Vec<Vec<Location>>,
}

/// Something that differs in the VM from what is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where it is written.
    pub location: Location,
    /// The assignment, such as `User=postgres`, or the setting, such as `ExecStart=`.
    pub what: String,
    /// What replaces it; `None` if it is left out.
    pub instead: Option<String>,
    /// The reason.
    pub why: &'static str,
}

/// Why the system manager cannot start a configuration as a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotStartable {
    /// It belongs to another front-end.
    #[error("it is not a systemd unit")]
    NoUnit,
    /// It is a unit of another type.
    #[error("only services can be started in a VM")]
    NoService,
    /// It belongs to another manager.
    #[error("it does not run under the system manager, which is the only one in the VM")]
    OtherManager,
    /// It is too long.
    #[error("it has more than {MOST_WRITTEN} assignments")]
    TooLong,
}

/// Translates a unit, or the properties of a `systemd-run`, for a VM.
fn translate(configuration: &Configuration) -> Result<VmUnit, NotStartable> {
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
    let (mut texts, mut locations) = (Vec::new(), Vec::new());
    for file in files {
        let (assignments, sources): (Vec<Assignment>, Vec<Location>) = file.into_iter().unzip();
        texts.push(assignments);
        locations.push(sources);
    }
    let mut texts = texts.into_iter();
    let (service, drop_ins) = (texts.next().unwrap_or_default(), texts.collect());
    let unit = Unit { service, drop_ins, instance, ..Unit::default() };
    Ok(VmUnit { unit, changes: draft.changes, locations })
}

/// Whether a name is that of a service, or has no known suffix, such as that of standard input.
fn is_service(name: &str) -> bool {
    const OTHERS: [&str; 10] =
        ["socket", "mount", "swap", "target", "device", "automount", "timer", "path", "slice", "scope"];
    !name.rsplit_once('.').is_some_and(|(_, suffix)| OTHERS.contains(&suffix)) && !OTHERS.contains(&name)
}

/// A translation in progress.
#[derive(Default)]
struct VmUnitDraft {
    changes: Vec<Change>,
    /// Whether a setting hides the guest program.
    hides: bool,
    /// Whether systemd allocates the user, so that its name need not exist.
    is_dynamic: bool,
}

impl VmUnitDraft {
    /// Translates an assignment; `None` if it is left out.
    fn treat(&mut self, written: &Written) -> Option<Assignment> {
        let Written { key, value, .. } = written;
        if written.section == Section::Other {
            return self.leave_out(
                written,
                "only [Service] is tried; other sections decide when the unit starts, and with which others",
            );
        }
        if !is_one_line(key, value) {
            return self.leave_out(written, "it cannot be written in a unit file");
        }
        let kept = Some(Assignment { key: key.clone(), value: value.clone() });
        match table::treatment(key) {
            Treatment::Kept => {
                if names_itself(value) {
                    let why = "specifiers of the unit's name, such as %n, expand differently in the VM";
                    self.report(written, format!("{key}="), Some(format!("{key}=")), why);
                }
                kept
            }
            Treatment::LeftOut(why) => self.leave_out(written, why),
            Treatment::Hides => {
                let (key, value) = table::SHOWN;
                self.hides = true;
                self.report(
                    written,
                    format!("{}={}", written.key, written.value),
                    Some(format!("{}={} and {key}={value}", written.key, written.value)),
                    table::SHOWN_WHY,
                );
                kept
            }
            // An empty assignment resets the setting there, too.
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
        self.report(written, format!("{}=", written.key), None, why);
        None
    }

    fn replace(&mut self, written: &Written, key: &str, value: String, why: &'static str) -> Option<Assignment> {
        if (key, &value) != (written.key.as_str(), &written.value) {
            self.report(written, format!("{}={}", written.key, written.value), Some(format!("{key}={value}")), why);
        }
        Some(Assignment { key: key.to_owned(), value })
    }

    fn report(&mut self, written: &Written, what: String, instead: Option<String>, why: &'static str) {
        let known = |change: &Change| change.what == what && change.instead == instead && change.why == why;
        if !self.changes.iter().any(known) {
            self.changes.push(Change { location: written.location.clone(), what, instead, why });
        }
    }

    /// Returns the instance in the unit's name; a template without one gets one, because it cannot be started by itself.
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

/// Whether all characters are in `VALID_CHARS` of systemd's `src/basic/unit-name.c`, and the guest's unit name stays short enough.
fn is_instance(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte))
}

/// Whether a line of these parts is read back as the same; words of a command line can have any characters.
fn is_one_line(key: &str, value: &str) -> bool {
    let word = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic() && !b"=[#;\\".contains(&byte));
    let backslashes = value.bytes().rev().take_while(|byte| *byte == b'\\').count();
    word && !value.contains(['\n', '\r', '\0']) && backslashes % 2 == 0
}

/// Whether a value has a specifier that depends on the unit's name (systemd.unit(5), "Specifiers").
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
    /// Translates a unit, or the properties of a `systemd-run`, for a VM.
    ///
    /// # Errors
    /// [`NotStartable`] if the system manager cannot start it as a service.
    pub fn of(configuration: &Configuration) -> Result<Self, NotStartable> {
        translate(configuration)
    }

    /// Locates a warning of systemd that begins with a location in the unit's files of the VM. Returns the location in the
    /// original files, and the rest of the warning.
    pub fn locate<'w>(&self, warning: &'w str) -> Option<(&Location, &'w str)> {
        let (path, rest) = warning.split_once(':')?;
        let (line, rest) = rest.split_once(':')?;
        let file = match path.rsplit_once('/')? {
            (folder, drop_in) if folder.ends_with(".d") => drop_in.strip_suffix(".conf")?.parse::<usize>().ok()?,
            (_, file) => file.ends_with(".service").then_some(0)?,
        };
        // The first line is the section's header.
        let index = line.parse::<usize>().ok()?.checked_sub(2)?;
        Some((self.locations.get(file)?.get(index)?, rest.trim_start()))
    }
}

#[cfg(test)]
mod tests;
