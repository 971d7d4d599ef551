//! Findings for people: with underlined source text on a terminal, one line each elsewhere.

use std::fmt::{self, Write as _};

use harness_diagnostics::report::without_controls;
use harness_protocol::name::KernelName;
use miette::{Diagnostic, LabeledSpan, NamedSource, Severity, SourceCode, SourceSpan};

use super::{ConfigurationReport, KernelReport, Proved, ProvedUnit, options};
use crate::{code::Level, finding::Finding};

/// Formats each finding as `FILE:LINE:COLUMN: LEVEL[CODE]: message (kernels)`, with why and fix on the next lines.
pub fn plain(report: &ConfigurationReport) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let location = match &finding.location {
            Some(location) => report.sources.shown(location),
            None => report.sources.get(0).label().to_owned(),
        };
        let (level, code, message) = (finding.level, finding.code, &finding.message);
        let _ = writeln!(
            text,
            "{}: {level}[{code}]: {}{}",
            without_controls(&location),
            without_controls(message),
            on(finding, report)
        );
        let _ = writeln!(text, "    why: {}", finding.why);
        if let Some(fix) = &finding.fix {
            let _ = writeln!(text, "    fix: {}", without_controls(&fix.words));
        }
    }
    text + &summary(report)
}

/// Returns the kernels a finding applies to; empty if that is all of them.
pub(super) fn on(finding: &Finding, report: &ConfigurationReport) -> String {
    if finding.kernels.is_empty() || finding.kernels.len() == report.kernels.len() {
        return String::new();
    }
    let names: Vec<&str> = finding.kernels.iter().map(|name| name.as_str()).collect();
    format!(" (on {})", names.join(", "))
}

/// Formats how each kernel treats the configuration, one line for kernels that agree, and the number of findings.
pub fn summary(report: &ConfigurationReport) -> String {
    let mut text = String::new();
    let name = without_controls(report.name());
    let groups = alike(report.kernels.iter().map(|kernel| (&kernel.name, kernel_text(kernel))));
    let width = groups.iter().map(|(kernels, _)| kernels.len()).max().unwrap_or(0);
    for (kernels, kernel_text) in groups {
        let _ = write!(text, "{name} on {kernels:width$}  {kernel_text}");
    }
    if let Some(tried) = &report.tried_unit {
        let lines = tried.lines(&report.sources);
        let except = if lines.is_empty() { "" } else { ", except:" };
        let _ = writeln!(text, "{name} was started as written in image {}{except}", tried.image);
        for line in lines {
            let _ = writeln!(text, "    {}", without_controls(&line));
        }
    }
    let counts = [Level::Error, Level::Warning, Level::Note].map(|level| (report.count(level), level.name()));
    let counts: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, name)| plural(*count, name)).collect();
    let counts = if counts.is_empty() { "nothing found".to_owned() } else { counts.join(", ") };
    let _ = writeln!(text, "{name}: {counts}");
    text
}

/// Groups kernels with the same text. Returns each text once, after its kernels, which are separated by commas; groups are
/// in the order of their first kernels.
pub fn alike<'a>(texts: impl IntoIterator<Item = (&'a KernelName, String)>) -> Vec<(String, String)> {
    let mut groups: Vec<(String, String)> = Vec::new();
    for (kernel, text) in texts {
        match groups.iter_mut().find(|(_, known)| *known == text) {
            Some((kernels, _)) => *kernels += &format!(", {kernel}"),
            None => groups.push((kernel.to_string(), text)),
        }
    }
    groups
}

/// Formats how a kernel treats the configuration, and the result in a VM.
fn kernel_text(kernel: &KernelReport) -> String {
    let mut text = prediction(kernel) + "\n";
    kernel.proved.iter().for_each(|proved| proof(&mut text, proved));
    text
}

/// Appends the result in a VM, in lines below that of its kernel.
fn proof(text: &mut String, proved: &Proved) {
    let _ = writeln!(text, "    in the VM: {}", without_controls(&proved.summary));
    let mount = proved.mount.iter().map(|mount| format!("mount: {mount}"));
    for line in mount.chain(proved.masks.iter().map(|masks| format!("the token has {masks}"))) {
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
        let _ = writeln!(text, "    bug: the kernel disagrees: {}", without_controls(disagreement));
    }
}

/// Appends what systemd reports about a unit.
fn unit(text: &mut String, subject: &str, unit: &ProvedUnit) {
    let _ = writeln!(text, "{subject} {}", without_controls(&unit.in_words()));
    for warning in &unit.warnings {
        let _ = writeln!(text, "        systemd: {}", without_controls(warning));
    }
}

pub(super) fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

fn prediction(kernel: &KernelReport) -> String {
    if !kernel.is_known {
        return "not judged: a value is not in the file".to_owned();
    }
    if kernel.delegation.is_none() {
        return "no token: the kernel refuses or ignores the options".to_owned();
    }
    let names: Vec<String> = kernel.grant.capabilities.iter().map(ToString::to_string).collect();
    let capabilities = if names.is_empty() { "no capabilities".to_owned() } else { names.join(" ") };
    let token = if kernel.makes_token() { "a token" } else { "no token" };
    format!("{token}; delegates {}; {capabilities}", options(&kernel.shown))
}

/// A finding for a miette report handler.
#[derive(Debug)]
pub struct Underlined<'a> {
    finding: &'a Finding,
    message: String,
    source: Option<NamedSource<String>>,
    help: String,
}

/// Returns each finding as a terminal shows it.
pub fn underlined(report: &ConfigurationReport) -> Vec<Underlined<'_>> {
    report.findings.iter().map(|finding| one(finding, report)).collect()
}

fn one<'a>(finding: &'a Finding, report: &'a ConfigurationReport) -> Underlined<'a> {
    let source = finding.location.as_ref().map(|location| report.sources.get(location.source));
    let source =
        source.map(|source| NamedSource::new(without_controls(source.label()), without_controls(source.text())));
    let mut help = finding.why.clone();
    if let Some(fix) = &finding.fix {
        let _ = write!(help, "\nfix: {}", without_controls(&fix.words));
    }
    Underlined {
        finding,
        message: format!("{}{}", without_controls(&finding.message), on(finding, report)),
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
    fn kernels_that_agree_are_grouped() {
        let names: Vec<KernelName> = ["6.1", "6.12", "7.3"].iter().map(|name| name.parse().unwrap()).collect();
        let texts = names.iter().zip(["a", "b", "a"].map(str::to_owned));
        let group = |kernels: &str, text: &str| (kernels.to_owned(), text.to_owned());
        assert_eq!(alike(texts), [group("6.1, 7.3", "a"), group("6.12", "b")]);
    }
}
