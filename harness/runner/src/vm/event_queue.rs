//! A queue of events from the worker to its parent, in bounded memory however fast a guest writes.

use std::{
    collections::VecDeque,
    io::Write,
    sync::{Condvar, Mutex, PoisonError},
    time::Instant,
};

use super::event::{TimedEvent, VmEnd, VmEvent};
use crate::{capacity::lock, console::printable};

/// How many lines may wait; beyond that, the oldest are dropped.
const LINES: usize = 2000;

/// The waiting events.
#[derive(Debug)]
pub(super) struct EventQueue {
    started: Instant,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<TimedEvent>,
    lines: usize,
    dropped: u64,
    closed: bool,
    emptied: bool,
}

impl EventQueue {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), waiting: Mutex::default(), changed: Condvar::new() }
    }

    /// Adds an event, unless the end was added before.
    pub(super) fn put(&self, event: VmEvent) {
        let mut waiting = lock(&self.waiting);
        if waiting.closed {
            return;
        }
        waiting.closed = matches!(event, VmEvent::Ended(_));
        waiting.lines += usize::from(is_line(&event));
        waiting.events.push_back(TimedEvent { at: self.started.elapsed(), event });
        if waiting.lines > LINES {
            waiting.drop_oldest_line();
        }
        self.changed.notify_all();
    }

    /// Adds the end and waits until everything is written.
    pub(super) fn close(&self, end: VmEnd) {
        self.put(VmEvent::Ended(end));
        let mut waiting = lock(&self.waiting);
        while !waiting.emptied {
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Writes events, one JSON line each, until the end is written or the reader is gone.
    pub(super) fn write_to(&self, mut output: impl Write) {
        while let Some(batch) = self.take() {
            let written = batch.into_iter().try_for_each(|event| write_line(&mut output, event));
            if written.and_then(|()| output.flush()).is_err() {
                break;
            }
        }
        lock(&self.waiting).emptied = true;
        self.changed.notify_all();
    }

    /// Takes all waiting events, waiting for at least one; `None` after the end.
    fn take(&self) -> Option<VecDeque<TimedEvent>> {
        let mut waiting = lock(&self.waiting);
        while waiting.events.is_empty() {
            if waiting.closed {
                return None;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.lines = 0;
        let mut batch = std::mem::take(&mut waiting.events);
        let dropped = std::mem::take(&mut waiting.dropped);
        if dropped > 0 {
            let event = VmEvent::LinesDropped(dropped);
            batch.push_front(TimedEvent { at: self.started.elapsed(), event });
        }
        Some(batch)
    }
}

impl Waiting {
    fn drop_oldest_line(&mut self) {
        if let Some(oldest) = self.events.iter().position(|timed| is_line(&timed.event)) {
            self.events.remove(oldest);
            self.lines -= 1;
            self.dropped += 1;
        }
    }
}

fn is_line(event: &VmEvent) -> bool {
    matches!(event, VmEvent::Console(_) | VmEvent::Output(_))
}

fn write_line(output: &mut impl Write, timed: TimedEvent) -> std::io::Result<()> {
    let event = match timed.event {
        VmEvent::Console(line) => VmEvent::Console(printable(&line)),
        VmEvent::Output(line) => VmEvent::Output(printable(&line)),
        other => other,
    };
    let mut line = serde_json::to_vec(&TimedEvent { at: timed.at, event })?;
    line.push(b'\n');
    output.write_all(&line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::Phase;

    fn written(event_queue: &EventQueue) -> Vec<VmEvent> {
        let mut bytes = Vec::new();
        event_queue.write_to(&mut bytes);
        let lines = std::str::from_utf8(&bytes).unwrap().lines();
        lines.map(|line| serde_json::from_str::<TimedEvent>(line).unwrap().event).collect()
    }

    #[test]
    fn a_flood_drops_only_the_oldest_lines() {
        let event_queue = EventQueue::new();
        event_queue.put(VmEvent::Reached(Phase::Started));
        (0..LINES + 3).for_each(|i| event_queue.put(VmEvent::Console(format!("{i}"))));
        event_queue.put(VmEvent::Ended(VmEnd::QemuGone(None)));
        let events = written(&event_queue);
        assert_eq!(events.len(), LINES + 3);
        assert_eq!(events[0], VmEvent::LinesDropped(3));
        assert_eq!(events[1], VmEvent::Reached(Phase::Started));
        assert_eq!(events[2], VmEvent::Console("3".to_owned()));
        assert_eq!(events[LINES + 2], VmEvent::Ended(VmEnd::QemuGone(None)));
    }

    #[test]
    fn nothing_follows_the_end() {
        let event_queue = EventQueue::new();
        event_queue.put(VmEvent::Ended(VmEnd::CommandEnded));
        event_queue.put(VmEvent::Ended(VmEnd::QemuGone(None)));
        event_queue.put(VmEvent::Console("late".to_owned()));
        assert_eq!(written(&event_queue), [VmEvent::Ended(VmEnd::CommandEnded)]);
    }

    #[test]
    fn closing_returns_if_the_reader_is_gone() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let event_queue = EventQueue::new();
        std::thread::scope(|scope| {
            scope.spawn(|| event_queue.write_to(Broken));
            event_queue.close(VmEnd::CommandEnded);
        });
        assert!(lock(&event_queue.waiting).emptied);
    }
}
