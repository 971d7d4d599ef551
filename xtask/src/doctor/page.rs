//! What doctor found, for people.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use harness_builder::progress::size;

use super::facts::Facts;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();

/// The lines, with ANSI styles.
pub(super) fn render(facts: &Facts) -> String {
    let mut page = Page::default();
    machine(&mut page, facts);
    tools(&mut page, facts);
    cache(&mut page, facts);
    for variable in &facts.variables {
        page.line("variable", &format!("{}={}", variable.name, variable.value));
    }
    for problem in &facts.problems {
        let style = if problem.blocks { BAD } else { DIM };
        let _ = writeln!(page.text, "\n{style}problem{style:#}  {}\n         {}", problem.what, problem.advice);
    }
    let (style, verdict) =
        if facts.scenarios_can_run { (GOOD, "scenarios can run here") } else { (BAD, "scenarios cannot run here") };
    let _ = writeln!(page.text, "\n{style}{verdict}{style:#}");
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
    last: String,
}

impl Page {
    /// A line under its subject, which is said once.
    fn line(&mut self, subject: &str, words: &str) {
        let shown = if self.last == subject { "" } else { subject };
        let _ = writeln!(self.text, "{BOLD}{shown:<14}{BOLD:#}{words}");
        subject.clone_into(&mut self.last);
    }
}

fn machine(page: &mut Page, facts: &Facts) {
    page.line("acceleration", facts.acceleration.as_deref().unwrap_or("unknown"));
    match &facts.qemu {
        Some(qemu) => page.line("QEMU", &format!("{} {}", qemu.name, qemu.version.as_deref().unwrap_or_default())),
        None => page.line("QEMU", "none"),
    }
    let limits = &facts.limits;
    page.line("processors", &format!("{} of {} may be used", limits.usable_processors, limits.processors));
    let limit = limits.memory_limit.map_or(String::new(), |limit| format!("; control groups allow {}", size(limit)));
    page.line("memory", &format!("{} of {} can be had{limit}", size(limits.available_memory), size(limits.memory)));
}

fn tools(page: &mut Page, facts: &Facts) {
    for readiness in &facts.purposes {
        let words = match readiness.lacks[..] {
            [] => format!("{}: everything is there", readiness.purpose),
            _ => format!("{}: lacks {}", readiness.purpose, readiness.lacks.join(", ")),
        };
        page.line("tools for", &words);
    }
    let width = facts.tools.iter().map(|tool| tool.name.len()).max().unwrap_or(0);
    for tool in &facts.tools {
        let version = tool.version.as_deref().unwrap_or("does not tell its version");
        page.line("versions", &format!("{:<width$}  {version}", tool.name));
    }
}

fn cache(page: &mut Page, facts: &Facts) {
    for built in &facts.kernels {
        page.line(
            "built",
            &format!("{}: {}", built.name, if built.is_built { "yes" } else { "no, the next run does it" }),
        );
    }
    let all: u64 = facts.cache.areas.iter().map(|(_, bytes)| bytes).sum();
    let free = facts.cache.free.map_or(String::new(), |free| format!(", {} free there", size(free)));
    page.line("cache", &format!("{}: {}{free}", facts.cache.folder, size(all)));
    for (area, bytes) in facts.cache.areas.iter().filter(|(_, bytes)| *bytes > 0) {
        page.line("cache", &format!("{area:<10}{:>12}", size(*bytes)));
    }
    match &facts.mirror {
        Some(mirror) => page.line("mirror", &format!("{} (by {})", mirror.url, mirror.known_by)),
        None => page.line("mirror", "none is known"),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::facts::Problem, *};

    #[test]
    fn the_last_line_says_whether_scenarios_can_run_and_problems_stand_before_it() {
        let mut facts = Facts::default();
        facts.problems.push(Problem { what: "no QEMU".into(), advice: "cargo xtask setup".into(), blocks: true });
        let text = anstream::adapter::strip_str(&render(&facts)).to_string();
        assert!(
            text.ends_with("\nproblem  no QEMU\n         cargo xtask setup\n\nscenarios cannot run here\n"),
            "{text}"
        );
        facts.problems.clear();
        facts.scenarios_can_run = true;
        let text = anstream::adapter::strip_str(&render(&facts)).to_string();
        assert!(text.ends_with("\nscenarios can run here\n") && !text.contains("problem"), "{text}");
    }
}
