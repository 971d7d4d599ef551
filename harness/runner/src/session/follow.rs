//! Follows one VM from its start to its end.

use std::time::{Duration, Instant};

use harness_protocol::outcome::Event;

use super::{
    deadline::Deadlines,
    error::SessionError,
    machine::{GuestFolder, Machine, Running},
    notice::{Notice, VmTimes},
    record::Damage,
    record_checker::{ProtocolViolation, RecordChecker, Step},
};
use crate::{
    console::ConsoleTail,
    vm::{Phase, VmEnd, VmEvent},
};

/// How often the record is read when nothing else happens.
const TICK: Duration = Duration::from_millis(10);

/// How many events are taken from the VM before the record is read again, so that a flood of events cannot delay it.
const EVENTS_AT_ONCE: usize = 500;

/// How long to wait for the rest of a record after the guest is gone.
const RECORD_GRACE: Duration = Duration::from_millis(50);

/// How a VM ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// The guest completed the plan.
    Complete,
    /// The guest refuses to begin.
    Refused(String),
    /// The guest reports, within a scenario, that it cannot go on.
    GaveUp(String),
    /// The record contradicts the plan.
    Violation(ProtocolViolation),
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
    watch: &mut dyn FnMut(Notice<'_>),
) -> Result<(Ending, VmTimes), SessionError> {
    let mut record = guest.record();
    let started = Instant::now();
    let vm = machine.boot(guest)?;
    let clock = Clock { started, due: started + deadlines.boot, allowed: deadlines.boot };
    let mut watcher =
        Watcher { vm, checker, deadlines, watch, clock, console: ConsoleTail::default(), times: VmTimes::default() };
    let ending = loop {
        let end = watcher.listen(TICK);
        if end.is_some() {
            std::thread::sleep(RECORD_GRACE);
        }
        if let Some(ending) = watcher.read_all(|| record.read()) {
            break ending;
        }
        if let Some(end) = end {
            break watcher.dead(&end);
        }
        if Instant::now() >= watcher.clock.due {
            break watcher.hung();
        }
    };
    watcher.times.peak_kib = watcher.vm.peak_kib();
    watcher.vm.stop();
    watcher.times.end = started.elapsed();
    Ok((ending, watcher.times))
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
    watch: &'a mut dyn FnMut(Notice<'_>),
    clock: Clock,
    console: ConsoleTail,
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
                VmEvent::Console(line) => self.console.push(&line),
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
            Ok(Step::Ended(outcome)) => {
                (self.watch)(Notice::Ended(&outcome));
                self.allow(self.deadlines.between);
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
            VmEnd::QemuGone | VmEnd::Failed(_) if panicked => ("the kernel panicked".to_owned(), Death::Guest),
            VmEnd::CommandEnded => ("the guest program exited before the plan was done".to_owned(), Death::Guest),
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
