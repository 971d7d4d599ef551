//! What came of a configuration in a VM.

use harness_frontend::{Sources, vm_unit::Change};
use schemars::JsonSchema;
use serde::Serialize;

/// How a unit was tried: by the program that reads it.
#[derive(Clone, Debug)]
pub struct TriedUnit {
    /// The image whose systemd started it.
    pub image: String,
    /// What of the unit is not there as it is written.
    pub changes: Vec<Change>,
}

/// What a kernel made of a configuration in a VM.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "OneProof")]
pub struct Proved {
    /// What became of the bpffs and of the token.
    pub stand: String,
    /// The mount that processes of a unit see, as mount(8) shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mount: Option<String>,
    /// What the token of a unit holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masks: Option<String>,
    /// Whether its process was ended before it made a call.
    #[serde(skip)]
    pub is_idle: bool,
    /// What systemd says of it, if it is a unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<ProvedUnit>,
    /// What became of each object.
    pub objects: Vec<ProvedObject>,
    /// Where that is not what was judged without a kernel: a bug.
    pub disagreements: Vec<String>,
}

/// What systemd says of a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "OneUnit")]
pub struct ProvedUnit {
    /// Whether its process was executed.
    pub ran: bool,
    /// `Result=`, such as `success` or `exit-code`, or what was wrong with its files.
    pub result: String,
    /// The exit code or signal of its process.
    pub status: String,
    /// What systemd warned of.
    pub warnings: Vec<String>,
}

/// What became of an object in a VM.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "OneObject")]
pub struct ProvedObject {
    /// What it is called.
    pub name: String,
    /// Whether all of it is loaded.
    pub loads: bool,
    /// What became of it as a whole, with the cause.
    pub verdict: String,
    /// Each call made for it, with its result.
    pub calls: Vec<String>,
    /// What systemd says of the unit it was loaded in, if that is not what it says of the unit without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<ProvedUnit>,
}

impl ProvedUnit {
    /// In a few words, the warnings left out.
    pub(super) fn in_words(&self) -> String {
        let ran = if self.ran { "ran" } else { "did not run" };
        format!("{ran}: {}, status {}", self.result, self.status)
    }
}

impl Proved {
    /// All of it in lines, for forms that have no fields for it.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.stand.clone()];
        lines.extend(self.mount.iter().map(|mount| format!("mount: {mount}")));
        lines.extend(self.masks.iter().map(|masks| format!("the token holds {masks}")));
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
    /// What is not as it is written, those with one reason in one line.
    pub(super) fn lines(&self, sources: &Sources) -> Vec<String> {
        let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
        for change in &self.changes {
            let location = match change.location.source {
                0 => format!("line {}", sources.position(&change.location).0),
                _ => sources.shown(&change.location),
            };
            let text = match &change.instead {
                Some(instead) if *instead == change.what => format!("{} as it is ({location})", change.what),
                Some(instead) => format!("{instead} for {} ({location})", change.what),
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
