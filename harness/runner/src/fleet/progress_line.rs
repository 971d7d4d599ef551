//! The progress of one batch: a live line on a terminal, occasional lines elsewhere.

use std::time::Duration;

use harness_builder::progress::{Progress, Task, Unit};
use harness_protocol::outcome::{ScenarioEnd, ScenarioOutcome};

use crate::session::Notice;

/// The progress line of one batch.
pub(super) struct ProgressLine<'a> {
    progress: &'a Progress,
    label: String,
    scenarios: u64,
    /// Shown once there is something to show.
    task: Option<Task>,
    phase: String,
    done: u64,
    crashed: u64,
    splats: u64,
    differing: u64,
}

impl<'a> ProgressLine<'a> {
    /// Creates the line of batch `number` of `count` in an environment, with this number of scenarios.
    pub(super) fn of(
        progress: &'a Progress,
        environment: &str,
        (number, count): (usize, usize),
        scenarios: usize,
    ) -> Self {
        let label =
            if count == 1 { format!("run {environment}") } else { format!("run {environment} ({number} of {count})") };
        let (phase, scenarios) = (String::new(), scenarios as u64);
        Self { progress, label, scenarios, task: None, phase, done: 0, crashed: 0, splats: 0, differing: 0 }
    }

    /// Shows that the VM waits for memory.
    pub(super) fn waiting(&mut self, needs_mib: u64, free_mib: u64) {
        self.set_phase(format!("waiting for memory: needs {needs_mib} MiB, {free_mib} MiB free"));
    }

    /// Shows a notice of the session.
    pub(super) fn show(&mut self, notice: &Notice<'_>) {
        match notice {
            Notice::Booting { vm: 1 } => self.set_phase("booting".to_owned()),
            Notice::Booting { .. } => self.set_phase("booting again for the remaining scenarios".to_owned()),
            Notice::Lost { during, how } => {
                let when =
                    during.map_or("before its guest started".to_owned(), |scenario| format!("during {scenario}"));
                self.progress.note(&format!("{}: the host lost a VM {when} ({how}); booting another one", self.label));
            }
            Notice::Booted { after } => self.set_phase(format!("up after {}", seconds(*after))),
            Notice::Started(scenario) => self.set_phase(scenario.to_string()),
            Notice::Ended(outcome) => self.count(outcome),
        }
    }

    fn count(&mut self, outcome: &ScenarioOutcome) {
        self.done += 1;
        self.crashed += u64::from(matches!(outcome.end, ScenarioEnd::Crashed { .. }));
        self.splats += u64::from(!outcome.splats.is_empty());
        self.refresh();
    }

    /// Records that the last scenario is not as recorded.
    pub(super) fn differs(&mut self) {
        self.differing += 1;
        self.refresh();
    }

    /// Shows that the batch is done.
    pub(super) fn finish(self) {
        let problems = self.problems();
        if let Some(task) = self.task {
            task.finish(&format!("done{problems}"));
        }
    }

    fn set_phase(&mut self, phase: String) {
        self.phase = phase;
        self.refresh();
    }

    fn refresh(&mut self) {
        let text = format!("{}{}", self.phase, self.problems());
        let task = self
            .task
            .get_or_insert_with(|| self.progress.task(&self.label, Unit::Things("scenarios"), Some(self.scenarios)));
        task.detail(&text);
        task.set(self.done);
    }

    fn problems(&self) -> String {
        let counts = [(self.crashed, "crashed"), (self.splats, "with a splat"), (self.differing, "not as recorded")];
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!(", {count} {what}")).collect()
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sample::outcome;

    #[test]
    fn a_log_shows_the_start_the_end_and_problems() {
        let (progress, captured) = Progress::captured();
        let mut line = ProgressLine::of(&progress, "6.12", (1, 2), 2);
        assert_eq!(captured.text(), "", "a batch without news has no line");
        line.show(&Notice::Booting { vm: 1 });
        line.show(&Notice::Lost { during: None, how: "timed out" });
        line.show(&Notice::Ended(&outcome("a/b", ScenarioEnd::Finished { micros: 1 })));
        line.differs();
        line.show(&Notice::Ended(&outcome("a/b", ScenarioEnd::Crashed { how: "panic".into(), console: vec![] })));
        line.finish();
        let expected = "run 6.12 (1 of 2)\nrun 6.12 (1 of 2): the host lost a VM before its guest started (timed out); booting another one\n\
                        run 6.12 (1 of 2): done, 1 crashed, 1 not as recorded (0.0 s)\n";
        assert_eq!(captured.text(), expected);
    }

    #[test]
    fn a_line_shows_its_phase() {
        let progress = Progress::silent();
        let mut line = ProgressLine::of(&progress, "6.12", (1, 1), 2);
        line.waiting(700, 300);
        assert_eq!(line.phase, "waiting for memory: needs 700 MiB, 300 MiB free");
        line.show(&Notice::Started(&"token/info".parse().unwrap()));
        assert_eq!((line.phase.as_str(), line.label.as_str()), ("token/info", "run 6.12"));
    }
}
