//! Findings for people: each with its place underlined on a terminal, one line each elsewhere.

use std::fmt::{self, Write as _};

use harness_diagnostics::report::without_controls;
use harness_protocol::name::KernelName;
use miette::{Diagnostic, LabeledSpan, NamedSource, Severity, SourceCode, SourceSpan};

use super::{ConfigurationReport, KernelReport, Proved, ProvedUnit, options};
use crate::{code::Level, finding::Finding};

/// One line a finding, `FILE:LINE:COLUMN: LEVEL[CODE]: what (kernels)`, with why and what to do below.
pub fn plain(judgement: &ConfigurationReport) -> String {
    let mut text = String::new();
    for finding in &judgement.findings {
        let location = match &finding.location {
            Some(location) => judgement.sources.shown(location),
            None => judgement.sources.get(0).label().to_owned(),
        };
        let (level, code, message) = (finding.level, finding.code, &finding.message);
        let _ = writeln!(
            text,
            "{}: {level}[{code}]: {}{}",
            without_controls(&location),
            without_controls(message),
            on(finding, judgement)
        );
        let _ = writeln!(text, "    why: {}", finding.why);
        if let Some(fix) = &finding.fix {
            let _ = writeln!(text, "    fix: {}", without_controls(&fix.words));
        }
    }
    text + &summary(judgement)
}

/// The kernels a finding is about; nothing if that is all of them.
fn on(finding: &Finding, judgement: &ConfigurationReport) -> String {
    if finding.kernels.is_empty() || finding.kernels.len() == judgement.kernels.len() {
        return String::new();
    }
    let names: Vec<&str> = finding.kernels.iter().map(|name| name.as_str()).collect();
    format!(" (on {})", names.join(", "))
}

/// What each kernel makes of it, those that agree in one line, and how many findings there are.
pub fn summary(judgement: &ConfigurationReport) -> String {
    let mut text = String::new();
    let name = without_controls(judgement.name());
    let groups = alike(judgement.kernels.iter().map(|kernel| (&kernel.name, told(kernel))));
    let width = groups.iter().map(|(kernels, _)| kernels.len()).max().unwrap_or(0);
    for (kernels, told) in groups {
        let _ = write!(text, "{name} on {kernels:width$}  {told}");
    }
    if let Some(rehearsed) = &judgement.rehearsed {
        let lines = rehearsed.lines(&judgement.sources);
        let but = if lines.is_empty() { "" } else { ", but:" };
        let _ = writeln!(text, "{name} in the VM is the unit as written, started in {}{but}", rehearsed.image);
        for line in lines {
            let _ = writeln!(text, "    {}", without_controls(&line));
        }
    }
    let counts = [Level::Error, Level::Warning, Level::Note].map(|level| (judgement.count(level), level.name()));
    let told: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, name)| plural(*count, name)).collect();
    let told = if told.is_empty() { "nothing found".to_owned() } else { told.join(", ") };
    let _ = writeln!(text, "{name}: {told}");
    text
}

/// Texts about kernels, each once: with the kernels it is about, separated by commas, in the order of the first of them.
pub fn alike<'a>(told: impl IntoIterator<Item = (&'a KernelName, String)>) -> Vec<(String, String)> {
    let mut groups: Vec<(String, String)> = Vec::new();
    for (kernel, text) in told {
        match groups.iter_mut().find(|(_, known)| *known == text) {
            Some((kernels, _)) => *kernels += &format!(", {kernel}"),
            None => groups.push((kernel.to_string(), text)),
        }
    }
    groups
}

/// What a kernel makes of it, and what a VM showed.
fn told(kernel: &KernelReport) -> String {
    let mut text = standing(kernel) + "\n";
    kernel.proved.iter().for_each(|proved| proof(&mut text, proved));
    text
}

/// What a VM showed, each line below that of its kernel.
fn proof(text: &mut String, proved: &Proved) {
    let _ = writeln!(text, "    in the VM: {}", without_controls(&proved.stand));
    let mount = proved.mount.iter().map(|mount| format!("mount: {mount}"));
    for line in mount.chain(proved.masks.iter().map(|masks| format!("the token holds {masks}"))) {
        let _ = writeln!(text, "        {}", without_controls(&line));
    }
    proved.unit.iter().for_each(|one| unit(text, "        the unit", one));
    for object in &proved.objects {
        let _ = writeln!(text, "    {}: {}", without_controls(&object.name), without_controls(&object.verdict));
        object.unit.iter().for_each(|one| unit(text, "        the unit with it", one));
        for call in &object.calls {
            let _ = writeln!(text, "        {}", without_controls(call));
        }
    }
    for disagreement in &proved.disagreements {
        let _ = writeln!(text, "    a bug, the kernel disagrees: {}", without_controls(disagreement));
    }
}

/// What systemd says of a unit.
fn unit(text: &mut String, who: &str, unit: &ProvedUnit) {
    let _ = writeln!(text, "{who} {}", without_controls(&unit.in_words()));
    for warning in &unit.warnings {
        let _ = writeln!(text, "        systemd: {}", without_controls(warning));
    }
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

fn standing(kernel: &KernelReport) -> String {
    if kernel.delegation.is_none() {
        return "no token: the kernel refuses or ignores the options".to_owned();
    }
    let capabilities: Vec<String> = kernel.grant.capabilities.iter().map(ToString::to_string).collect();
    let token = if kernel.makes_token() { "a token" } else { "no token" };
    format!("{token}; delegates {}; inside {}", options(&kernel.shown), none_or(&capabilities))
}

fn none_or(texts: &[String]) -> String {
    if texts.is_empty() { "no capability".to_owned() } else { texts.join(" ") }
}

/// A finding as miette shows it: hand it to a report handler.
#[derive(Debug)]
pub struct Underlined<'a> {
    finding: &'a Finding,
    message: String,
    source: Option<NamedSource<String>>,
    help: String,
}

/// Each finding as a terminal shows it.
pub fn underlined(judgement: &ConfigurationReport) -> Vec<Underlined<'_>> {
    judgement.findings.iter().map(|finding| one(finding, judgement)).collect()
}

fn one<'a>(finding: &'a Finding, judgement: &'a ConfigurationReport) -> Underlined<'a> {
    let source = finding.location.as_ref().map(|location| judgement.sources.get(location.source));
    let source =
        source.map(|source| NamedSource::new(without_controls(source.label()), without_controls(source.text())));
    let mut help = finding.why.clone();
    if let Some(fix) = &finding.fix {
        let _ = write!(help, "\nfix: {}", without_controls(&fix.words));
    }
    Underlined {
        finding,
        message: format!("{}{}", without_controls(&finding.message), on(finding, judgement)),
        source,
        help,
    }
}

impl fmt::Display for Underlined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Underlined<'_> {}

impl Diagnostic for Underlined<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.finding.code))
    }

    fn severity(&self) -> Option<Severity> {
        Some(match self.finding.level {
            Level::Error => Severity::Error,
            Level::Warning => Severity::Warning,
            Level::Note => Severity::Advice,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = SourceSpan::from(self.finding.location.as_ref()?.span.clone());
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(Some("here".to_owned()), span))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_agree_are_told_together() {
        let names: Vec<KernelName> = ["6.1", "6.12", "7.3"].iter().map(|name| name.parse().unwrap()).collect();
        let told = names.iter().zip(["a", "b", "a"].map(str::to_owned));
        let group = |kernels: &str, text: &str| (kernels.to_owned(), text.to_owned());
        assert_eq!(alike(told), [group("6.1, 7.3", "a"), group("6.12", "b")]);
    }
}
