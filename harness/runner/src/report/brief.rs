//! Results for a terminal in brief: a line for each scenario, with a mark for each environment.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use harness_protocol::name::Environment;

use super::{Mark, ScenarioResult};

const DIM: Style = Style::new().dimmed();

/// The characters that a name has room in, so that most summaries are below each other.
const NAME: usize = 36;

fn style_of(mark: Mark) -> Style {
    match mark {
        Mark::AsRecorded => AnsiColor::Green.on_default(),
        Mark::Skipped | Mark::NotRun => DIM,
        Mark::Differs | Mark::Splat | Mark::Crashed | Mark::Fault => AnsiColor::Red.on_default().bold(),
    }
}

/// Returns the line above all others: what the marks are for, in their order, and what they mean.
pub fn heading(columns: &[String]) -> String {
    let signs: Vec<String> =
        ["✓ as recorded", "✗ not, shown in full", "- skipped", "? not run"].map(str::to_owned).into();
    format!("{DIM}{}: {}{DIM:#}\n", columns.join(", "), signs.join(", "))
}

/// Returns the line of a scenario, with ANSI styles: the marks of its results in the order of the environments, its name, and as
/// much of its summary as fits into `width` characters.
pub fn line(environments: &[Environment], group: &[ScenarioResult], width: Option<usize>) -> String {
    let of = |environment: &Environment| group.iter().find(|result| &result.environment == environment);
    let marks: Vec<Mark> = environments.iter().filter_map(of).map(Mark::of).collect();
    let Some(ScenarioResult { scenario, summary, .. }) = group.first() else { return String::new() };
    let mut text = String::new();
    for &mark in &marks {
        let style = style_of(mark);
        let _ = write!(text, "{style}{}{style:#}", mark.sign());
    }
    let name = format!("  {:<NAME$}  ", scenario.as_str());
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(marks.len() + name.chars().count()));
    let _ = writeln!(text, "{name}{DIM}{}{DIM:#}", cut(summary, room));
    text
}

/// Returns a text, or its beginning if it is longer than `room` characters.
fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let begin: String = text.chars().take(room.saturating_sub(1)).collect();
    if room == 0 { String::new() } else { format!("{}…", begin.trim_end()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Status, sample};

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn a_scenario_is_a_line_with_a_mark_for_each_environment_it_runs_in() {
        let results = sample::results();
        let environments: Vec<Environment> =
            results.environments.iter().map(|label| label.environment.clone()).collect();
        let groups = results.results.chunk_by(|a, b| a.scenario == b.scenario);
        let text: String = groups.map(|group| line(&environments, group, Some(60))).collect();
        assert!(text.lines().all(|line| plain(line).chars().count() <= 60), "{text}");
        insta::assert_snapshot!(plain(&text), @"
        ✓✓  maps/one                              Says | so
        -✗  token/new                             Says | so
        ✗✗  vm/broken                             Says | so
        ✓✗  vm/killer                             Says | so
        ");
    }

    #[test]
    fn every_mark_has_a_sign_that_the_heading_explains() {
        let heading = plain(&heading(&["6.12".to_owned(), "7.3".to_owned()]));
        assert_eq!(heading, "6.12, 7.3: ✓ as recorded, ✗ not, shown in full, - skipped, ? not run\n");
        assert!(Mark::ALL.iter().all(|mark| heading.contains(mark.sign())));
    }

    #[test]
    fn a_summary_is_cut_where_the_screen_ends() {
        let mut result = sample::results().results.remove(0);
        result.status = Status::Skipped { reason: "r".to_owned() };
        result.summary = "Ein größerer Satz".to_owned();
        let of = |width| plain(&line(&[result.environment.clone()], std::slice::from_ref(&result), width));
        assert!(of(None).ends_with("Satz\n"));
        assert!(of(Some(51)).ends_with("  Ein größe…\n"), "{}", of(Some(51)));
        assert!(of(Some(10)).starts_with("-  "));
        assert_eq!(cut("abc", 0), "");
    }
}
