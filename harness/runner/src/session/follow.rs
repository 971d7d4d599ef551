//! Follows one VM from its start to its end.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use harness_protocol::{
    name::ScenarioName,
    outcome::{Event, RECORD_LOST, Splat},
};

use super::{
    deadline::Deadlines,
    error::SessionError,
    machine::{GuestFolder, Machine, Running},
    notice::{Notice, VmTimes},
    record::Damage,
    record_checker::{ProtocolViolation, RecordChecker, Step},
    splats::{IsAllowed, SplatReader},
    usage::UsageWatch,
};
use crate::{
    console::ConsoleTail,
    vm::{Phase, QemuExit, VmEnd, VmEvent},
};

/// How often the record is read when nothing else happens.
const TICK: Duration = Duration::from_millis(10);

/// How many events are taken from the VM before the record is read again, so that a flood of events cannot delay it.
const EVENTS_AT_ONCE: usize = 500;

/// How long to wait for the rest of a record after the guest is gone.
const RECORD_GRACE: Duration = Duration::from_millis(50);

/// Why a splat could be missed.
const SILENT: &str = "the console did not show the guest program's next mark in time; the kernel's arguments must leave the console on \
     and `loglevel` at 5 or more";

/// Likewise.
const LOSSY: &str = "the guest wrote to its console faster than this host could read, and lines were dropped";

/// How a VM ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// The guest completed the plan.
    Complete,
    /// The kernel printed a splat during the last completed scenario. It prints some only once, and lockdep stops after one, so the
    /// next scenario needs another VM.
    Splat,
    /// What the console should show of the first scenario without an outcome was lost.
    Blind(&'static str),
    /// The guest refuses to begin.
    Refused(String),
    /// The guest reports, within a scenario, that it cannot go on.
    GaveUp(String),
    /// The record contradicts the plan.
    Violation(ProtocolViolation),
    /// The guest takes more of the host than it may.
    Exceeded(String),
    /// The guest died or hung.
    Dead { how: String, console: Vec<String>, by: Death },
}

/// What ended a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Death {
    /// The guest: it panicked, exited or hung.
    Guest,
    /// As far as known the host: QEMU, `vmtest` or the worker ended.
    Host,
}

/// Boots a guest and follows its record until nothing more can follow. The VM is gone when this returns.
pub(super) fn follow(
    machine: &dyn Machine,
    guest: &GuestFolder,
    checker: &mut RecordChecker<'_>,
    deadlines: Deadlines,
    is_allowed: IsAllowed<'_>,
    watch: &mut dyn FnMut(Notice<'_>),
) -> Result<Followed, SessionError> {
    let mut record = guest.record();
    let started = Instant::now();
    let vm = machine.boot(guest)?;
    let clock = Clock { started, due: started + deadlines.boot, allowed: deadlines.boot };
    let mut watcher = Watcher {
        vm,
        checker,
        deadlines,
        is_allowed,
        watch,
        clock,
        console: ConsoleTail::default(),
        splats: SplatReader::default(),
        waiting: VecDeque::new(),
        times: VmTimes::default(),
    };
    let mut usage = UsageWatch::of(guest.path());
    let mut ending = None;
    let ending = loop {
        let end = watcher.listen(TICK);
        if end.is_some() {
            std::thread::sleep(RECORD_GRACE);
        }
        if ending.is_none() {
            ending = watcher.read_all(|| record.read());
        }
        if ending.is_none() {
            ending = usage.check().map(Ending::Exceeded);
        }
        if ending.is_none() && Instant::now() >= watcher.clock.due {
            ending = Some(watcher.hung());
        }
        if let Some(end) = &end {
            ending = ending.or_else(|| Some(watcher.dead(end)));
        }
        // The console may be behind the record of a guest that is still there.
        let is_whole =
            !watcher.checker.marks_console() || end.is_some() || !matches!(ending, None | Some(Ending::Complete));
        if let Some(splat) = watcher.settle(is_whole) {
            break splat;
        }
        if let Some(ending) = ending.take_if(|_| watcher.waiting.is_empty()) {
            break ending;
        }
    };
    let splats = watcher.checker.running().map(|running| watcher.splats.of(running)).unwrap_or_default();
    watcher.times.peak_kib = watcher.vm.peak_kib();
    watcher.vm.stop();
    watcher.times.end = started.elapsed();
    Ok(Followed { ending, splats, times: watcher.times })
}

/// What became of a VM.
pub(super) struct Followed {
    pub(super) ending: Ending,
    /// The splats during the scenario that it did not complete.
    pub(super) splats: Vec<Splat>,
    pub(super) times: VmTimes,
}

/// A scenario that has an outcome, but whose last line on the console may still come.
struct Waiting {
    scenario: ScenarioName,
    due: Instant,
}

/// The current deadline.
struct Clock {
    started: Instant,
    due: Instant,
    allowed: Duration,
}

struct Watcher<'a, 'p> {
    vm: Box<dyn Running>,
    checker: &'a mut RecordChecker<'p>,
    deadlines: Deadlines,
    is_allowed: IsAllowed<'a>,
    watch: &'a mut dyn FnMut(Notice<'_>),
    clock: Clock,
    console: ConsoleTail,
    splats: SplatReader,
    waiting: VecDeque<Waiting>,
    times: VmTimes,
}

impl Watcher<'_, '_> {
    /// Takes the VM's events, waiting for the first one; returns the VM's end, if it is among them.
    fn listen(&mut self, wait: Duration) -> Option<VmEnd> {
        let mut wait = wait;
        for _ in 0..EVENTS_AT_ONCE {
            let event = self.vm.next_event(wait)?;
            wait = Duration::ZERO;
            match event.event {
                VmEvent::Console(line) => {
                    self.splats.read(&line);
                    self.console.push(&line);
                }
                VmEvent::LinesDropped(count) => {
                    self.splats.lose();
                    self.console.push(&format!("[{count} lines dropped: they came too fast]"));
                }
                VmEvent::Output(line) => self.console.push(&format!("guest: {line}")),
                VmEvent::Reached(Phase::Started) => {}
                VmEvent::Reached(Phase::AgentAnswered) => self.times.agent = Some(self.clock.started.elapsed()),
                VmEvent::Reached(Phase::SharesMounted) => self.times.mounted = Some(self.clock.started.elapsed()),
                VmEvent::Ended(end) => return Some(end),
            }
        }
        None
    }

    /// Reads the record until nothing is left or the VM has to end.
    fn read_all(&mut self, mut read: impl FnMut() -> (Vec<Event>, Result<(), Damage>)) -> Option<Ending> {
        loop {
            let (events, damage) = read();
            let nothing = events.is_empty();
            for event in events {
                if let Some(ending) = self.take(event) {
                    return Some(ending);
                }
            }
            match damage {
                Err(damage) => return Some(Ending::Violation(damage.into())),
                Ok(()) if nothing => return None,
                Ok(()) => {}
            }
        }
    }

    fn take(&mut self, event: Event) -> Option<Ending> {
        match self.checker.apply(event) {
            Err(violation) => return Some(Ending::Violation(violation)),
            Ok(Step::Complete) => return Some(Ending::Complete),
            Ok(Step::Refused(message)) => return Some(Ending::Refused(message)),
            Ok(Step::GaveUp(message)) => return Some(Ending::GaveUp(message)),
            Ok(Step::Within) => {}
            Ok(Step::Hello) => {
                let after = self.clock.started.elapsed();
                self.times.hello = Some(after);
                (self.watch)(Notice::Booted { after });
                self.allow(self.deadlines.between);
            }
            Ok(Step::Started { name, deadline_ms }) => {
                self.times.first_scenario.get_or_insert(self.clock.started.elapsed());
                (self.watch)(Notice::Started(&name));
                self.allow(self.deadlines.scenario(deadline_ms));
            }
            Ok(Step::Ended(scenario)) => {
                self.allow(self.deadlines.between);
                self.waiting.push_back(Waiting { scenario, due: self.clock.due });
            }
        }
        None
    }

    /// Gives the outcomes that the console is past their splats, or all if it is whole, and reports them. Returns the end of the VM
    /// if there was a splat after which it cannot go on.
    fn settle(&mut self, console_is_whole: bool) -> Option<Ending> {
        while let Some(Waiting { scenario, due }) = self.waiting.front() {
            let index = self.checker.completed() - self.waiting.len();
            let is_past = console_is_whole || self.splats.is_past(scenario);
            let blind = if is_past && self.splats.is_lossy(scenario) {
                Some(LOSSY)
            } else if !is_past && Instant::now() >= *due {
                Some(SILENT)
            } else {
                None
            };
            if let Some(how) = blind {
                self.checker.keep(index);
                self.waiting.clear();
                return Some(Ending::Blind(how));
            } else if !is_past {
                return None;
            }
            let explain_taint = self.splats.explain_taint(scenario);
            let is_taint_silent = self.checker.is_tainted(index) && !explain_taint;
            if let Some(outcome) = self.checker.add_splats(index, self.splats.of(scenario), explain_taint) {
                (self.watch)(Notice::Ended(outcome));
            }
            let rest = self.checker.after(index);
            let is_allowed = |text: &str| rest.iter().all(|scenario| (self.is_allowed)(text, &scenario.name));
            let goes_on = !is_taint_silent && self.splats.bequeath(scenario, is_allowed);
            self.waiting.pop_front();
            if !goes_on {
                self.checker.keep(index + 1);
                self.waiting.clear();
                return Some(Ending::Splat);
            }
        }
        None
    }

    fn allow(&mut self, time: Duration) {
        let now = Instant::now();
        self.clock.allowed = time;
        // A deadline beyond the clock's range becomes a day.
        self.clock.due = now.checked_add(time).unwrap_or(now + Duration::from_secs(86400));
    }

    fn dead(&self, end: &VmEnd) -> Ending {
        let panicked = self.console.contains("Kernel panic");
        let (how, by) = match end {
            VmEnd::QemuGone(_) | VmEnd::Failed(_) if panicked => ("the kernel panicked".to_owned(), Death::Guest),
            VmEnd::CommandEnded if self.console.contains(RECORD_LOST) => {
                ("the guest program could not write its record".to_owned(), Death::Host)
            }
            VmEnd::CommandEnded => ("the guest program exited before the plan was done".to_owned(), Death::Guest),
            VmEnd::QemuGone(Some(QemuExit::BY_GUEST)) => (end.to_string(), Death::Guest),
            other => (other.to_string(), Death::Host),
        };
        let complaints = self.vm.complaints();
        let how = if complaints.is_empty() { how } else { format!("{how}; QEMU printed: {complaints}") };
        Ending::Dead { how, console: self.console.lines(), by }
    }

    fn hung(&self) -> Ending {
        let what = if self.times.hello.is_none() {
            "the guest program did not start within"
        } else {
            "the guest exceeded its deadline of"
        };
        let how = format!("{what} {:.1} s", self.clock.allowed.as_secs_f64());
        let complaints = self.vm.complaints();
        let how = if complaints.is_empty() { how } else { format!("{how}; QEMU printed: {complaints}") };
        Ending::Dead { how, console: self.console.lines(), by: Death::Guest }
    }
}
