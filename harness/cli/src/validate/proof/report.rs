//! Reports the result of a trial, and where it differs from the prediction.

use harness_findings::{
    input,
    report::{KernelReport, Proved, ProvedObject, ProvedUnit},
    trial::FIRST_SYSTEMD,
};
use harness_frontend::{Configuration, Sources, VmUnit};
use harness_objects::{Object, loading};
use harness_proof::object::ObjectDefect;
use harness_protocol::{
    mount_option::{MountOption, OPTIONS},
    outcome::UnitFact,
};
use harness_runner::proof::{self, Mount, Proof};
use harness_uapi::{delegation::numbers, names, permission::Grant, vocabulary::Kind};
use harness_verdict::verdict::Class;

/// The inputs for reading a result.
pub(super) struct Reader<'a> {
    pub(super) configuration: &'a Configuration,
    pub(super) sources: &'a Sources,
    pub(super) objects: &'a [(&'a str, &'a Object)],
    /// The unit, and the version of the systemd that started it.
    pub(super) unit: Option<(&'a VmUnit, u32)>,
}

impl Reader<'_> {
    /// Returns the result of a trial on one kernel.
    pub(super) fn proved(&self, proof: &Proof, on: &KernelReport) -> Proved {
        let mut proved = Proved::default();
        match &proof.mount {
            Err(error) => {
                proved.summary = format!("not known: {error}");
                proved.disagreements.push(error.to_string());
                return proved;
            }
            Ok(Mount::Refused(refusal)) => {
                proved.summary = format!("the kernel refuses an option: {refusal}");
                if on.delegation.is_some() {
                    proved
                        .disagreements
                        .push("predicted that the kernel accepts all options, but it refuses one".to_owned());
                }
                return proved;
            }
            Ok(Mount::Mounted(probe)) => self.mounted(probe, on, &mut proved),
        }
        for (object, (_, read)) in proof.objects.iter().zip(self.objects) {
            let loaded = self.loaded(object, read, on, &mut proved);
            proved.objects.push(loaded);
        }
        proved
    }

    fn mounted(&self, probe: &harness_proof::question::ContainerProbe, on: &KernelReport, proved: &mut Proved) {
        let verdict = &probe.token.verdict;
        let cause = probe.token.cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
        proved.summary = match verdict.class() {
            Class::NotMade => format!("token {verdict}"),
            _ => format!("token {verdict}{cause}; the kernel shows {}", shown(&probe.shown)),
        };
        proved.disagreements.extend(probe.disagreements.iter().cloned());
        proved.masks = probe.masks.as_ref().map(masks);
        proved.mount = probe.unit.as_ref().and_then(|unit| unit.mount.clone());
        proved.unit = probe.unit.as_ref().map(|unit| self.unit(unit));
        proved.is_idle = verdict.class() == Class::NotMade;
        let has_token = verdict.class() == Class::Allowed;
        let predicted = on.makes_token() && self.knows_delegation();
        // A unit that does not run does not contradict the prediction.
        if has_token != predicted && verdict.class() != Class::NotMade {
            let predicted = if predicted { "a token" } else { "no token" };
            proved.disagreements.push(format!("predicted {predicted}, but the kernel's verdict is {verdict}"));
        }
    }

    /// Whether the systemd that starts it has delegation, or none is involved.
    fn knows_delegation(&self) -> bool {
        self.unit.is_none_or(|(_, systemd)| systemd >= FIRST_SYSTEMD)
    }

    /// Returns what systemd reports, with locations in the original files.
    fn unit(&self, fact: &UnitFact) -> ProvedUnit {
        let located = |warning: &String| match self.unit.and_then(|(vm_unit, _)| vm_unit.locate(warning)) {
            Some((location, rest)) => format!("{}: {rest}", self.sources.shown(location)),
            None => warning.clone(),
        };
        let warnings = fact.warnings.iter().map(located).collect();
        ProvedUnit { ran: fact.ran, result: fact.result.clone(), status: fact.status.clone(), warnings }
    }

    fn loaded(
        &self,
        object: &proof::ProvedObject,
        read: &Object,
        on: &KernelReport,
        proved: &mut Proved,
    ) -> ProvedObject {
        let name = object.object.clone();
        let unit = object.unit.as_ref().map(|unit| self.unit(unit)).filter(|unit| Some(unit) != proved.unit.as_ref());
        let proof = match &object.proof {
            Ok(proof) => proof,
            Err(error) => {
                proved.disagreements.push(error.to_string());
                let (verdict, calls) = (format!("not known: {error}"), Vec::new());
                return ProvedObject { name, loads: false, verdict, calls, unit };
            }
        };
        let defect = proof.defect();
        let untested = matches!(defect, Some(ObjectDefect::Broken { .. } | ObjectDefect::NotTried(_)));
        let predicted = self.is_predicted_to_load(read, on);
        if let Some(predicted) = predicted.filter(|predicted| *predicted != defect.is_none() && !untested) {
            let word = |loads| if loads { "loads" } else { "is refused" };
            let (predicted, is) = (word(predicted), word(defect.is_none()));
            proved.disagreements.push(format!("{name}: predicted that it {predicted}, but it {is}"));
        }
        let cause = proof.cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
        let lost = proof.lost.iter().map(|feature| format!("{}: lost", feature.name));
        ProvedObject {
            name,
            loads: defect.is_none(),
            verdict: format!("{}{cause}", proof.verdict),
            calls: proof.calls.iter().map(ToString::to_string).chain(lost).collect(),
            unit,
        }
    }

    /// Whether an object is predicted to load; `None` if that depends on capabilities in the host's own namespace.
    fn is_predicted_to_load(&self, read: &Object, on: &KernelReport) -> Option<bool> {
        let Some(delegation) = on.delegation else { return Some(false) };
        let outside = input::is_outside(self.configuration);
        let grant = match self.knows_delegation() || outside {
            true => input::powers(self.configuration, delegation),
            false => Grant::default(),
        };
        let loading = loading(read, on.release.into(), &grant);
        let blocked = loading.refused().any(|answer| !answer.obstacles.is_empty());
        (!(outside && blocked)).then_some(loading.stops_at.is_none())
    }
}

fn shown(options: &[MountOption]) -> String {
    let each = OPTIONS.iter().filter_map(|key| options.iter().find(|option| option.key == *key));
    let texts: Vec<String> = each.map(|option| format!("{}={}", option.key, option.value)).collect();
    if texts.is_empty() { "nothing delegated".to_owned() } else { texts.join(" ") }
}

/// Formats the masks of a token by name, bits without a name as numbers.
fn masks(fdinfo: &[String; 4]) -> String {
    let named = |kind: Kind, mask: &String| match mask.strip_prefix("0x").map(|hex| u64::from_str_radix(hex, 16)) {
        Some(Ok(0)) => "nothing".to_owned(),
        Some(Ok(mask)) => numbers(mask).map(|number| bit(kind, number)).collect::<Vec<_>>().join(":"),
        _ => mask.clone(),
    };
    let each = Kind::ALL.iter().zip(fdinfo).map(|(kind, mask)| format!("{}={}", kind.plural(), named(*kind, mask)));
    each.collect::<Vec<_>>().join(" ")
}

fn bit(kind: Kind, number: u32) -> String {
    match names::name(kind, number) {
        Some(_) => names::shown(kind, number),
        None => format!("{:#x}", 1u64 << number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_shown_by_names() {
        let fdinfo = ["0x21", "any", "0x0", "0x8000000000000000"].map(str::to_owned);
        assert_eq!(masks(&fdinfo), "cmds=map_create:prog_load maps=any progs=nothing attachs=0x8000000000000000");
    }
}
