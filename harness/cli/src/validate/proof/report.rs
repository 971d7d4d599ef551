//! What came of a trial, and where that is not what was judged without a kernel.

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

/// What something is read by.
pub(super) struct Reader<'a> {
    pub(super) configuration: &'a Configuration,
    pub(super) sources: &'a Sources,
    pub(super) objects: &'a [(&'a str, &'a Object)],
    /// The unit, and the version of the systemd that started it.
    pub(super) unit: Option<(&'a VmUnit, u32)>,
}

impl Reader<'_> {
    /// What came of a trial on one kernel.
    pub(super) fn told(&self, proof: &Proof, on: &KernelReport) -> Proved {
        let mut proved = Proved::default();
        match &proof.stand {
            Err(error) => {
                proved.stand = format!("not known: {error}");
                proved.disagreements.push(error.to_string());
                return proved;
            }
            Ok(Mount::Refused(refusal)) => {
                proved.stand = format!("the kernel refuses an option: {refusal}");
                if on.delegation.is_some() {
                    proved.disagreements.push("the kernel refuses an option that was judged sound".to_owned());
                }
                return proved;
            }
            Ok(Mount::Stands(stand)) => self.stands(stand, on, &mut proved),
        }
        for (object, (_, read)) in proof.objects.iter().zip(self.objects) {
            let loaded = self.loaded(object, read, on, &mut proved);
            proved.objects.push(loaded);
        }
        proved
    }

    fn stands(&self, stand: &harness_proof::question::ContainerProbe, on: &KernelReport, proved: &mut Proved) {
        let verdict = &stand.token.verdict;
        let cause = stand.token.cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
        proved.stand = match verdict.class() {
            Class::NotMade => format!("token {verdict}"),
            _ => format!("token {verdict}{cause}; the kernel shows {}", shown(&stand.shown)),
        };
        proved.disagreements.extend(stand.disagreements.iter().cloned());
        proved.masks = stand.masks.as_ref().map(masks);
        proved.mount = stand.unit.as_ref().and_then(|unit| unit.mount.clone());
        proved.unit = stand.unit.as_ref().map(|unit| self.unit(unit));
        proved.is_idle = verdict.class() == Class::NotMade;
        let has_token = verdict.class() == Class::Allowed;
        let judged = on.makes_token() && self.knows_delegation();
        // A unit that does not run contradicts nobody.
        if has_token != judged && verdict.class() != Class::NotMade {
            let judged = if judged { "a token" } else { "no token" };
            proved.disagreements.push(format!("judged {judged}, and the kernel says {verdict}"));
        }
    }

    /// Whether what starts it knows of delegation at all.
    fn knows_delegation(&self) -> bool {
        self.unit.is_none_or(|(_, systemd)| systemd >= FIRST_SYSTEMD)
    }

    /// What systemd says of it, at the places of the unit's own files.
    fn unit(&self, fact: &UnitFact) -> ProvedUnit {
        let located = |warning: &String| match self.unit.and_then(|(vm_unit, _)| vm_unit.locate(warning)) {
            Some((place, rest)) => format!("{}: {rest}", self.sources.shown(place)),
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
        let lack = proof.lack();
        let unjudged = matches!(lack, Some(ObjectDefect::Broken(_) | ObjectDefect::NotTried(_)));
        if let Some(judged) = self.is_judged_to_load(read, on).filter(|judged| *judged != lack.is_none() && !unjudged) {
            let word = |loads| if loads { "loads" } else { "is refused" };
            let (judged, is) = (word(judged), word(lack.is_none()));
            proved.disagreements.push(format!("{name}: judged that it {judged}, and it {is}"));
        }
        let cause = proof.cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
        let lost = proof.lost.iter().map(|feature| format!("{}: lost", feature.name));
        ProvedObject {
            name,
            loads: lack.is_none(),
            verdict: format!("{}{cause}", proof.verdict),
            calls: proof.calls.iter().map(ToString::to_string).chain(lost).collect(),
            unit,
        }
    }

    /// What was judged of an object; nothing of what the host's own namespace may or may not allow.
    fn is_judged_to_load(&self, read: &Object, on: &KernelReport) -> Option<bool> {
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

/// The masks of a token by name, bits without a name as numbers.
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
    fn a_token_is_told_by_names() {
        let fdinfo = ["0x21", "any", "0x0", "0x8000000000000000"].map(str::to_owned);
        assert_eq!(masks(&fdinfo), "cmds=map_create:prog_load maps=any progs=nothing attachs=0x8000000000000000");
    }
}
