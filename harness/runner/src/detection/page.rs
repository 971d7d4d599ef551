//! `docs/detection.md`: the score, and what became of each mutant.

use std::{collections::BTreeSet, fmt::Write as _};

use harness_builder::kernel::mutant::Mutant;
use harness_protocol::name::KernelName;

use super::{
    Detection, Evidence, Notice,
    score::{Result, Score, Thoroughness, is_noticed},
};

const HEAD: &str = "\
A mutant is a small permission bug put into a copy of the kernel on purpose (`kernels/mutants/`). The whole suite runs on
each; a mutant that changes no verdict of any scenario survives, and is a hole in the suite. A kernel that does not even boot
counts as noticed and is told apart.
";

/// How many names of scenarios stand beside a mutant.
const NAMES: usize = 4;

/// The page.
pub fn render(scores: &[Score], mutants: &[&Mutant]) -> String {
    let name = harness_program::NAME;
    let mut text =
        format!("# Detection\n\nWritten by `{name} mutate --write-docs`; measure again rather than edit.\n\n{HEAD}");
    text.push_str(
        "\n| kernel | mutants | noticed | of them at boot | survived | scenarios, attempts without a bug |\n",
    );
    text.push_str("| --- | --- | --- | --- | --- | --- |\n");
    for score in scores {
        let _ = writeln!(
            text,
            "| {} ({}) | {} | {} | {} | {} | {}, {} |",
            score.kernel,
            score.release,
            score.results.len(),
            score.count(is_noticed),
            score.count(|detection| matches!(detection, Detection::NoBoot(_))),
            score.count(|detection| matches!(detection, Detection::Survived)),
            score.counts.judged,
            score.counts.attempts.iter().sum::<usize>(),
        );
    }
    scores.iter().for_each(|score| section(&mut text, score, mutants));
    text
}

fn section(text: &mut String, score: &Score, mutants: &[&Mutant]) {
    let _ = writeln!(text, "\n{}\n", heading(&score.kernel));
    if !score.unsound.is_empty() {
        let names: Vec<String> = score.unsound.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(text, "Left out because they fail without any bug: {}.\n", names.join(", "));
    }
    if score.thoroughness == Thoroughness::UntilNoticed {
        let _ = writeln!(
            text,
            "The slow scenarios, which take three quarters of the time, ran only where no quick one noticed.\n"
        );
    }
    text.push_str("| mutant | the bug | noticed by |\n| --- | --- | --- |\n");
    for (mutant, result) in paired(score, mutants) {
        let _ = writeln!(text, "{}{} |", row_head(mutant), fate(result));
    }
    let survivors = paired(score, mutants).filter(|(_, result)| !is_noticed(&result.detection));
    let survivors: Vec<String> = survivors.map(|(mutant, _)| meaning(mutant)).collect();
    if !survivors.is_empty() {
        let _ = writeln!(text, "\nNot noticed on {}:\n\n{}", score.kernel, survivors.join("\n"));
    }
}

fn paired<'a>(score: &'a Score, mutants: &'a [&Mutant]) -> impl Iterator<Item = (&'a Mutant, &'a Result)> {
    let of = |result: &'a Result| mutants.iter().find(|mutant| mutant.name == result.mutant).map(|m| (*m, result));
    score.results.iter().filter_map(of)
}

fn heading(kernel: &KernelName) -> String {
    format!("## Kernel {kernel}")
}

fn row_head(mutant: &Mutant) -> String {
    format!("| `{}` | {} | ", mutant.name, mutant.bug.replace('|', "\\|"))
}

fn fate(result: &Result) -> String {
    match &result.detection {
        Detection::Noticed(notices) => {
            let names: Vec<String> = notices.iter().take(NAMES).map(shown).collect();
            let more = notices.len().saturating_sub(NAMES);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{}: {}{more}", notices.len(), names.join(", "))
        }
        Detection::NoBoot(_) => "does not boot".to_owned(),
        Detection::NoKernel(_) => "**does not compile**".to_owned(),
        Detection::Survived => "**nobody**".to_owned(),
    }
}

/// A scenario, and how it noticed if that was not by a verdict.
fn shown(notice: &Notice) -> String {
    let how = match notice.sign {
        Evidence::Verdict => "",
        Evidence::Crash => " (crashed)",
        Evidence::Fault => " (could not be judged)",
    };
    format!("`{}`{how}", notice.scenario)
}

fn meaning(mutant: &Mutant) -> String {
    let meaning = mutant.unnoticed.as_deref().unwrap_or("No scenario asks for it yet.");
    format!("- `{}`: {meaning}", mutant.name)
}

/// What the page says that is not so, or does not say, as far as that can be told without building anything.
pub fn complaints<'a>(page: &str, mutants: impl Iterator<Item = &'a Mutant>) -> Vec<String> {
    let known: Vec<&Mutant> = mutants.collect();
    let mut complaints: Vec<String> = Vec::new();
    let sections: Vec<(&str, &str)> =
        page.split("\n## Kernel ").skip(1).filter_map(|section| section.split_once('\n')).collect();
    if sections.is_empty() {
        complaints.push("it tells of no kernel".to_owned());
    }
    for (kernel, section) in sections {
        let Ok(name) = kernel.trim().parse::<KernelName>() else { continue };
        let found: BTreeSet<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
        let wanted: Vec<String> =
            known.iter().filter(|mutant| mutant.edit(&name).is_some()).map(|mutant| row_head(mutant)).collect();
        let missing = wanted.iter().filter(|head| !found.iter().any(|line| line.starts_with(head.as_str())));
        complaints.extend(missing.map(|head| format!("kernel {name} has no row that begins with {}", head.trim_end())));
        let extra = found.iter().filter(|line| !wanted.iter().any(|head| line.starts_with(head.as_str())));
        complaints.extend(extra.map(|line| format!("kernel {name} has a row of no mutant: {line}")));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use std::fs;

    use harness_builder::kernel::mutant::Mutants;

    use super::*;
    use crate::detection::score::tests::{noticed, score};

    fn mutants(text: &str) -> Vec<Mutant> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.toml"), format!("file = 'a.c'\n{text}")).unwrap();
        let kernels = ["6.12".parse().unwrap()];
        Mutants::of_folder(folder.path(), &kernels).unwrap().iter().cloned().collect()
    }

    fn entry(name: &str, more: &str) -> String {
        format!("[[mutant]]\nname = '{name}'\nbug = 'Bug {name}.'\npattern = 'x'\nreplacement = 'y'\n{more}")
    }

    #[test]
    fn the_page_tells_who_noticed_what_and_what_survived() {
        let all = mutants(&(entry("a", "") + &entry("b", "unnoticed = 'Nobody can.'\n")));
        let names: Vec<&Mutant> = all.iter().collect();
        let five = noticed(&["t/1", "t/2", "t/3", "t/4", "t/5"]);
        let page = render(&[score(&[("a", five), ("b", Detection::Survived)])], &names);
        for line in [
            "| 6.12 (6.12.107) | 2 | 1 | 0 | 1 | 0, 0 |",
            "| `a` | Bug a. | 5: `t/1`, `t/2`, `t/3`, `t/4` and 1 more |",
            "| `b` | Bug b. | **nobody** |",
            "- `b`: Nobody can.",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
        assert!(complaints(&page, all.iter()).is_empty());
    }

    #[test]
    fn what_was_noticed_without_a_verdict_is_told_as_such() {
        let notice = |sign| Notice { scenario: "t/1".parse().unwrap(), sign, first: String::new() };
        let shown = [Evidence::Verdict, Evidence::Crash, Evidence::Fault].map(|sign| shown(&notice(sign)));
        assert_eq!(shown, ["`t/1`", "`t/1` (crashed)", "`t/1` (could not be judged)"]);
    }

    #[test]
    fn a_page_of_other_mutants_is_complained_about() {
        let (old, new) = (mutants(&(entry("a", "") + &entry("b", ""))), mutants(&(entry("a", "") + &entry("c", ""))));
        let names: Vec<&Mutant> = old.iter().collect();
        let page = render(&[score(&[("a", noticed(&["t/1"])), ("b", Detection::Survived)])], &names);
        let complaints = complaints(&page, new.iter());
        assert_eq!(complaints.len(), 2, "{complaints:?}");
        assert!(complaints[0].contains("no row that begins with | `c`"), "{complaints:?}");
        assert!(complaints[1].contains("a row of no mutant: | `b`"), "{complaints:?}");
        assert_eq!(super::complaints("# Detection\n", new.iter()), ["it tells of no kernel"]);
    }
}
