//! The report of `doctor` as text.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use harness_builder::progress::size;

use super::facts::Facts;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();

/// Returns the report with ANSI styles.
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
    /// Adds a line under its subject, which is shown only once.
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
        None => page.line("QEMU", "not found"),
    }
    if let Some(confinement) = &facts.confinement {
        page.line("QEMU", confinement);
    }
    let limits = &facts.limits;
    page.line("processors", &format!("{} of {} usable", limits.usable_processors, limits.processors));
    let limit = limits.memory_limit.map_or(String::new(), |limit| format!("; cgroups allow {}", size(limit)));
    page.line("memory", &format!("{} of {} available{limit}", size(limits.available_memory), size(limits.memory)));
}

fn tools(page: &mut Page, facts: &Facts) {
    for readiness in &facts.purposes {
        let words = match readiness.lacks[..] {
            [] => format!("{}: all installed", readiness.purpose),
            _ => format!("{}: missing {}", readiness.purpose, readiness.lacks.join(", ")),
        };
        page.line("tools for", &words);
    }
    let width = facts.tools.iter().map(|tool| tool.name.len()).max().unwrap_or(0);
    for tool in &facts.tools {
        let version = tool.version.as_deref().unwrap_or("version unknown");
        page.line("versions", &format!("{:<width$}  {version}", tool.name));
    }
}

fn cache(page: &mut Page, facts: &Facts) {
    for built in &facts.kernels {
        page.line(
            "built",
            &format!("{}: {}", built.name, if built.is_built { "yes" } else { "no; the next run builds it" }),
        );
    }
    let all: u64 = facts.cache.areas.iter().map(|(_, bytes)| bytes).sum();
    let free = facts.cache.free.map_or(String::new(), |free| format!(", {} free", size(free)));
    page.line("cache", &format!("{}: {}{free}", facts.cache.folder, size(all)));
    for (area, bytes) in facts.cache.areas.iter().filter(|(_, bytes)| *bytes > 0) {
        page.line("cache", &format!("{area:<10}{:>12}", size(*bytes)));
    }
    match &facts.mirror {
        Some(mirror) => page.line("mirror", &format!("{} (by {})", mirror.url, mirror.known_by)),
        None => page.line("mirror", "unknown"),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            facts::{Built, CacheFacts, MirrorFacts, Problem, Readiness, Tool, Variable},
            limits::Limits,
        },
        *,
    };

    fn compare(name: &str, facts: &Facts) {
        let text = anstream::adapter::strip_str(&render(facts)).to_string();
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(format!("doctor__{name}"), text);
        });
    }

    fn sound() -> Facts {
        let limits = Limits {
            processors: 8,
            usable_processors: 4,
            memory: 16 << 30,
            available_memory: 8 << 30,
            memory_limit: Some(4 << 30),
        };
        Facts {
            scenarios_can_run: true,
            acceleration: Some("tcg: /dev/kvm does not open".to_owned()),
            qemu: Some(Tool { name: "/usr/bin/qemu-system-x86_64".to_owned(), version: Some("7.2".to_owned()) }),
            confinement: Some("confined by seccomp and Landlock".to_owned()),
            purposes: vec![Readiness { purpose: "VMs", lacks: Vec::new() }],
            tools: vec![Tool { name: "rustc".to_owned(), version: None }],
            kernels: vec![
                Built { name: "6.12".to_owned(), is_built: true },
                Built { name: "7.3".to_owned(), is_built: false },
            ],
            cache: CacheFacts {
                folder: "/home/a/.cache/bpf-token-harness".to_owned(),
                areas: vec![("kernels", 30 << 20), ("store", 0)],
                free: Some(50 << 30),
            },
            mirror: Some(MirrorFacts {
                url: "http://deb.example.org/debian".to_owned(),
                known_by: "this machine's apt".to_owned(),
            }),
            limits,
            ..Facts::default()
        }
    }

    #[test]
    fn a_host_that_can_run_scenarios() {
        compare("good", &sound());
    }

    #[test]
    fn each_problem_is_shown_with_its_advice_before_the_verdict() {
        let problem = |what: &str, advice: &str, blocks| Problem { what: what.into(), advice: advice.into(), blocks };
        let facts = Facts {
            scenarios_can_run: false,
            qemu: None,
            confinement: None,
            acceleration: None,
            mirror: None,
            purposes: vec![Readiness { purpose: "VMs", lacks: vec!["qemu-system-x86_64"] }],
            variables: vec![Variable { name: "HARNESS_ACEL".into(), value: "tcg".into(), is_known: false }],
            problems: vec![
                problem("no QEMU", "cargo xtask setup", true),
                problem("unknown variable HARNESS_ACEL", "known variables: HARNESS_ACCEL", false),
            ],
            ..sound()
        };
        compare("problems", &facts);
    }
}
