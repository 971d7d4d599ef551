//! Shows the progress of long work: bars on a terminal, occasional lines elsewhere, nothing where JSON is wanted.
//!
//! All of it goes to standard error, so standard output has only results.

use std::{
    env, fmt,
    io::{self, IsTerminal, Write},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// How often a running task writes a line to a plain log.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Whether [`Progress::detect`] shows nothing.
static SILENT: AtomicBool = AtomicBool::new(false);

/// What a task counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, shown as MiB.
    Bytes,
    /// Things, with their plural noun.
    Things(&'static str),
}

/// Where progress is shown. Cheap to clone; clones share the terminal.
#[derive(Clone)]
pub struct Progress {
    output: Output,
}

#[derive(Clone)]
enum Output {
    Silent,
    Lines(Arc<Mutex<dyn Write + Send>>),
    Bars(MultiProgress),
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.output {
            Output::Silent => "Progress(silent)",
            Output::Lines(_) => "Progress(lines)",
            Output::Bars(_) => "Progress(bars)",
        })
    }
}

impl Progress {
    /// Makes [`Self::detect`] show nothing for the rest of this process: a user has asked for it, whatever is done.
    pub fn silence() {
        SILENT.store(true, Ordering::Relaxed);
    }

    /// Shows bars if standard error is a terminal that can move its cursor (`TERM` is not `dumb`), otherwise plain
    /// lines.
    pub fn detect() -> Self {
        if SILENT.load(Ordering::Relaxed) {
            return Self::silent();
        }
        let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        if io::stderr().is_terminal() && !is_dumb {
            Self { output: Output::Bars(MultiProgress::new()) }
        } else {
            Self::lines(io::stderr())
        }
    }

    /// Shows nothing.
    pub fn silent() -> Self {
        Self { output: Output::Silent }
    }

    /// Writes plain lines to a writer.
    pub fn lines(writer: impl Write + Send + 'static) -> Self {
        Self { output: Output::Lines(Arc::new(Mutex::new(writer))) }
    }

    /// Keeps plain lines in memory, for tests of what a user sees.
    pub fn captured() -> (Self, Captured) {
        let captured = Captured::default();
        (Self::lines(captured.clone()), captured)
    }

    /// Prints a line that stays on the screen.
    pub fn note(&self, text: &str) {
        match &self.output {
            Output::Silent => {}
            Output::Lines(writer) => write_line(writer, text),
            // Without a terminal this would print nothing: fall back to the stream itself.
            Output::Bars(bars) => bars.println(text).unwrap_or_else(|_| eprintln!("{text}")),
        }
    }

    /// Prints something else to the terminal, without the bars in its way.
    pub fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.output {
            Output::Bars(bars) => bars.suspend(print),
            Output::Silent | Output::Lines(_) => print(),
        }
    }

    /// Starts a task. Without a `total`, only the count is shown.
    pub fn task(&self, label: &str, unit: Unit, total: Option<u64>) -> Task {
        let bar = match &self.output {
            Output::Bars(bars) => Some(bars.add(bar(label, unit, total))),
            _ => None,
        };
        let state = State { done: 0, total, detail: String::new(), reported: Instant::now() };
        let task = Task {
            progress: self.clone(),
            label: label.to_owned(),
            unit,
            started: Instant::now(),
            bar,
            state: state.into(),
        };
        if task.bar.is_none() {
            self.note(&task.label);
        }
        task
    }
}

/// The plain lines written to a [`Progress::captured`].
#[derive(Clone, Debug, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// Returns all lines so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&lock(&self.0)).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Locks a mutex even if it is poisoned: a thread that panicked while reporting does not stop the others from
/// reporting.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_line(writer: &Mutex<dyn Write + Send>, text: &str) {
    // If standard error is gone, nobody can read an error about it.
    let _ = writeln!(lock(writer), "{text}");
}

fn bar(label: &str, unit: Unit, total: Option<u64>) -> ProgressBar {
    let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar.with_style(style(unit, total)).with_prefix(label.to_owned())
}

fn style(unit: Unit, total: Option<u64>) -> ProgressStyle {
    let count = match (unit, total) {
        (Unit::Bytes, Some(_)) => "{bar:30} {binary_bytes}/{binary_total_bytes}",
        (Unit::Bytes, None) => "{spinner} {binary_bytes}",
        (Unit::Things(_), Some(_)) => "{bar:30} {pos}/{len}",
        (Unit::Things(_), None) => "{spinner} {pos}",
    };
    let noun = match unit {
        Unit::Bytes => "",
        Unit::Things(noun) => noun,
    };
    let template = format!("{{prefix}} {count} {noun} {{elapsed}} {{wide_msg}}");
    ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Work under way. Dropping it unfinished removes its bar silently: the error that stopped it is reported elsewhere.
#[derive(Debug)]
pub struct Task {
    progress: Progress,
    label: String,
    unit: Unit,
    started: Instant,
    bar: Option<ProgressBar>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    done: u64,
    total: Option<u64>,
    detail: String,
    reported: Instant,
}

impl Task {
    /// Counts `more` as done.
    pub fn advance(&self, more: u64) {
        let done = lock(&self.state).done + more;
        self.set(done);
    }

    /// Sets the amount that is done.
    pub fn set(&self, done: u64) {
        let mut state = lock(&self.state);
        state.done = done;
        match &self.bar {
            Some(bar) => bar.set_position(done),
            None if state.reported.elapsed() >= LINE_INTERVAL => {
                state.reported = Instant::now();
                self.progress.note(&self.describe(&state));
            }
            None => {}
        }
    }

    /// Sets the total amount, if it is known only after the start.
    pub fn total(&self, total: u64) {
        lock(&self.state).total = Some(total);
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_style(style(self.unit, Some(total)));
        }
    }

    /// Sets the current item; shown beside the bar and in the next line.
    pub fn detail(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
        }
        text.clone_into(&mut lock(&self.state).detail);
    }

    /// Ends the task with a line that stays on the screen.
    pub fn finish(self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.progress.note(&format!("{}: {text} ({})", self.label, seconds(self.started.elapsed())));
    }

    fn describe(&self, state: &State) -> String {
        let show = |amount: u64| match self.unit {
            Unit::Bytes => format!("{:.1} MiB", amount as f64 / f64::from(1 << 20)),
            Unit::Things(_) => amount.to_string(),
        };
        let noun = match self.unit {
            Unit::Bytes => String::new(),
            Unit::Things(noun) => format!(" {noun}"),
        };
        let of = state.total.map(|total| format!(" of {}", show(total))).unwrap_or_default();
        let detail = if state.detail.is_empty() { String::new() } else { format!(", {}", state.detail) };
        format!("{}: {}{of}{noun}{detail} ({})", self.label, show(state.done), seconds(self.started.elapsed()))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Formats a size in bytes for people: `0 B`, `4.0 KiB`, `1.6 GiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut amount = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while amount >= 1023.95 && units.len() > 0 {
        amount /= 1024.0;
        unit = units.next();
    }
    match unit {
        Some(unit) if bytes >= 1024 => format!("{amount:.1} {unit}"),
        _ => format!("{bytes} B"),
    }
}

/// Formats a duration for people: `0.4 s`, `12.0 s`, `10 min 4 s`.
pub fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs();
    if whole < 60 { format!("{:.1} s", duration.as_secs_f64()) } else { format!("{} min {} s", whole / 60, whole % 60) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_largest_unit_that_leaves_a_whole() {
        assert_eq!([0, 1023, 1024, 1 << 20].map(size), ["0 B", "1023 B", "1.0 KiB", "1.0 MiB"]);
        assert_eq!([(1 << 30) - 1, 5 << 40].map(size), ["1.0 GiB", "5.0 TiB"]);
        assert_eq!(size(u64::MAX), "16777216.0 TiB");
    }

    #[test]
    fn a_log_gets_the_start_the_end_and_notes_but_not_every_step() {
        let (progress, captured) = Progress::captured();
        let task = progress.task("kernel 6.12", Unit::Things("objects"), Some(3));
        for _ in 0..3 {
            task.advance(1);
        }
        progress.note("something else");
        task.finish("built");
        assert_eq!(captured.text(), "kernel 6.12\nsomething else\nkernel 6.12: built (0.0 s)\n");
    }

    #[test]
    fn a_log_shows_long_work_with_its_count() {
        let (progress, captured) = Progress::captured();
        let task = progress.task("download", Unit::Bytes, Some(4 << 20));
        task.detail("linux.tar.xz");
        lock(&task.state).reported -= LINE_INTERVAL;
        task.set(1 << 20);
        assert_eq!(captured.text(), "download\ndownload: 1.0 MiB of 4.0 MiB, linux.tar.xz (0.0 s)\n");
    }

    #[test]
    fn unfinished_and_silent_tasks_print_nothing() {
        let (progress, captured) = Progress::captured();
        drop(progress.task("a", Unit::Bytes, None));
        assert_eq!(captured.text(), "a\n");
        let silent = Progress::silent();
        silent.note("unheard");
        silent.task("unheard", Unit::Bytes, None).finish("unheard");
    }

    #[test]
    fn durations_are_readable() {
        assert_eq!(seconds(Duration::from_millis(400)), "0.4 s");
        assert_eq!(seconds(Duration::from_secs(604)), "10 min 4 s");
    }
}
