//! The result of trying a configuration in a VM.

use harness_frontend::{Sources, vm_unit::Change};
use schemars::JsonSchema;
use serde::Serialize;

/// How systemd started a unit in a VM.
#[derive(Clone, Debug)]
pub struct TriedUnit {
    /// The image whose systemd started it.
    pub image: String,
    /// What differs from the unit as it is written.
    pub changes: Vec<Change>,
}

/// How a kernel treated a configuration in a VM.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "OneProof")]
pub struct Proved {
    /// What the kernel did with the bpffs and the token.
    #[serde(rename = "stand")]
    pub summary: String,
    /// The mount that processes of a unit see, as mount(8) shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mount: Option<String>,
    /// The masks of the unit's token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masks: Option<String>,
    /// Whether the process ended before it made a call.
    #[serde(skip)]
    pub is_idle: bool,
    /// What systemd reports about it, if it is a unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<ProvedUnit>,
    /// The result of each object.
    pub objects: Vec<ProvedObject>,
    /// Where the kernel disagrees with the prediction, which is a bug.
    pub disagreements: Vec<String>,
}

/// What systemd reports about a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "OneUnit")]
pub struct ProvedUnit {
    /// Whether its process was executed.
    pub ran: bool,
    /// `Result=`, such as `success` or `exit-code`, or what is wrong with its files.
    pub result: String,
    /// The exit code or signal of its process.
    pub status: String,
    /// The warnings of systemd.
    pub warnings: Vec<String>,
}

/// The result of loading an object in a VM.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "OneObject")]
pub struct ProvedObject {
    /// Its name.
    pub name: String,
    /// Whether all of it is loaded.
    pub loads: bool,
    /// The verdict of the whole object, with its cause.
    pub verdict: String,
    /// Each call that was made for it, with its result.
    pub calls: Vec<String>,
    /// What systemd reports about the unit it was loaded in, if that differs from the unit without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<ProvedUnit>,
}

impl ProvedUnit {
    /// Describes it in a few words, without warnings.
    pub(super) fn in_words(&self) -> String {
        let ran = if self.ran { "ran" } else { "did not run" };
        format!("{ran}: {}, status {}", self.result, self.status)
    }
}

impl Proved {
    /// Returns it as lines, for formats that have no fields for it.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.summary.clone()];
        lines.extend(self.mount.iter().map(|mount| format!("mount: {mount}")));
        lines.extend(self.masks.iter().map(|masks| format!("the token has {masks}")));
        if let Some(unit) = &self.unit {
            lines.push(format!("the unit {}", unit.in_words()));
            lines.extend(unit.warnings.iter().map(|warning| format!("systemd: {warning}")));
        }
        for object in &self.objects {
            lines.push(format!("{}: {}", object.name, object.verdict));
            lines.extend(object.unit.iter().map(|unit| format!("the unit with {} {}", object.name, unit.in_words())));
        }
        lines
    }
}

impl TriedUnit {
    /// Describes what differs from the unit as it is written, one line per reason.
    pub(super) fn lines(&self, sources: &Sources) -> Vec<String> {
        let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
        for change in &self.changes {
            let location = match change.location.source {
                0 => format!("line {}", sources.position(&change.location).0),
                _ => sources.shown(&change.location),
            };
            let text = match &change.instead {
                Some(instead) if *instead == change.what => format!("{} unchanged ({location})", change.what),
                Some(instead) => format!("{instead} instead of {} ({location})", change.what),
                None => format!("no {} ({location})", change.what),
            };
            match reasons.iter_mut().find(|(why, _)| *why == change.why) {
                Some((_, texts)) => texts.push(text),
                None => reasons.push((change.why, vec![text])),
            }
        }
        reasons.into_iter().map(|(why, texts)| format!("{}: {why}", texts.join(", "))).collect()
    }
}
