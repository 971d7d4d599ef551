use std::{
    cell::{Cell, RefCell},
    fs,
    io::{self, BufReader, Write as _},
    path::Path,
    rc::Rc,
};

use guard_record::{Anchors, GapReason, Hook, Invalid, KernelCounters, NoNames, Record, Verified, verify};
use tempfile::TempDir;

use super::*;
use crate::{
    log::{Origin, Place},
    source::Sums,
};

/// A guard with rings of a fixed size.
#[derive(Default)]
struct Kernel {
    ring: VecDeque<Record>,
    sums: Sums,
    now: Duration,
    beats: u64,
    /// What is no record.
    malformed: Vec<Malformed>,
    /// What is numbered, and in no ring yet.
    held: Vec<Record>,
}

/// The most records of the rings.
const RING: usize = 50;

#[derive(Clone, Default)]
struct Fake(Rc<RefCell<Kernel>>);

impl Fake {
    /// A call is made.
    fn call(&self, verdict: Verdict) {
        let mut kernel = self.0.borrow_mut();
        let seq = kernel.sums.seq;
        kernel.sums.seq += 1;
        if kernel.ring.len() >= RING {
            kernel.sums.lost[1] += 1;
            return;
        }
        let lost = u32::try_from(kernel.sums.lost[1]).unwrap();
        kernel.ring.push_back(Record { verdict, lost, ..Record::of(seq, Hook::Bpf) });
    }

    fn calls(&self, count: u64) {
        (0..count).for_each(|_| self.call(Verdict::Allowed));
    }
}

impl Source for Fake {
    fn wait(&self, timeout: Duration) {
        self.0.borrow_mut().now += timeout;
    }

    fn take(&mut self) -> Result<Taken> {
        let mut kernel = self.0.borrow_mut();
        let (records, malformed) = (kernel.ring.drain(..).collect(), std::mem::take(&mut kernel.malformed));
        Ok(Taken { records, malformed, is_all: [true; 2] })
    }

    fn beat(&self) {
        self.0.borrow_mut().beats += 1;
    }

    fn sums(&self) -> Sums {
        self.0.borrow().sums
    }

    fn counters(&self) -> Result<KernelCounters> {
        let sums = self.sums();
        Ok(KernelCounters { recorded: sums.seq, counted: 0, lost: sums.lost[1] })
    }

    fn now(&self) -> Duration {
        self.0.borrow().now
    }
}

struct Bench {
    folder: TempDir,
    kernel: Fake,
    room: Rc<Cell<u64>>,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), kernel: Fake::default(), room: Rc::new(Cell::new(u64::MAX)) }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn recorder(&self) -> Recorder<Fake, NoNames> {
        let room = Rc::clone(&self.room);
        let write = Rc::new(move |file: &mut fs::File, bytes: &[u8]| {
            let most = usize::try_from(room.get()).unwrap_or(usize::MAX).min(bytes.len());
            if most == 0 {
                return Err(io::Error::from_raw_os_error(28));
            }
            room.set(room.get() - most as u64);
            file.write(&bytes[..most])
        });
        let place = Place { path: self.path("log"), rotate: 1 << 20, keep: 0 };
        let origin = Origin { boot_id: "0123abcd-1".into(), kernel: "7.3.4".into(), guard: 1 };
        let opened = Log::open(place, origin, Time { boot_ns: 0, utc: None }, write).unwrap();
        fs::write(self.path("kmsg"), "").unwrap();
        let anchorage = Anchorage::open(&self.path("kmsg"), Some(&self.path("anchors"))).unwrap();
        let outputs = Outputs { anchorage, anchor_every: 20, status: self.path("status.json") };
        Recorder::new(self.kernel.clone(), NoNames, opened, outputs)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The check of the whole log against its anchors.
    fn verified(&self, files: &[&str]) -> Verified {
        let mut anchors = Anchors::default();
        anchors.read(self.read("anchors").as_bytes()).unwrap();
        let open = |path: &Path| BufReader::new(fs::File::open(path).unwrap());
        let files = files.iter().map(|name| ((*name).to_owned(), open(&self.path(name))));
        verify(files, anchors, false).unwrap()
    }
}

#[test]
fn what_is_recorded_is_logged_closed_and_anchored() {
    let bench = Bench::new();
    let mut recorder = bench.recorder();
    let mut rounds = 0;
    let kernel = bench.kernel.clone();
    recorder
        .run(|| {
            rounds += 1;
            kernel.0.borrow_mut().now += SECOND;
            kernel.calls(9);
            kernel.call(Verdict::Denied);
            rounds > 10
        })
        .unwrap();
    let verified = bench.verified(&["log"]);
    assert_eq!(verified.findings, []);
    assert_eq!((verified.records, verified.missing.len()), (110, 0));
    // First and last line, and at least each 30th.
    assert!(verified.anchors >= 2 + 110 / 30, "{}", verified.anchors);
    assert_eq!(bench.read("kmsg").matches("<29>bpf-guard: anchor ").count() as u64, verified.anchors);
    assert!(bench.read("log").lines().last().unwrap().contains("\"end\":{\"why\":\"stopped\""));
    let status: Status = serde_json::from_str(&bench.read("status.json")).unwrap();
    assert_eq!((status.read, status.lost, status.seq, status.kernel_seq, status.stopped), (110, 0, 110, 110, true));
}

#[test]
fn losses_of_the_kernel_add_up() {
    let bench = Bench::new();
    let mut recorder = bench.recorder();
    for _ in 0..5 {
        bench.kernel.calls(RING as u64 + 30);
        recorder.round().unwrap();
    }
    recorder.finish().unwrap();
    let verified = bench.verified(&["log"]);
    assert_eq!(verified.findings, []);
    assert_eq!((verified.records, verified.missing.get(&GapReason::Lost)), (250, Some(&150)));
}

#[test]
fn a_full_disk_stops_reading_and_what_was_read_is_not_lost() {
    let bench = Bench::new();
    let mut recorder = bench.recorder();
    bench.kernel.calls(10);
    recorder.round().unwrap();
    bench.room.set(1000);
    bench.kernel.calls(40);
    recorder.round().unwrap();
    let beats = bench.kernel.0.borrow().beats;
    for _ in 0..4 {
        bench.kernel.calls(20);
        recorder.round().unwrap();
    }
    assert_eq!(bench.kernel.0.borrow().ring.len(), RING, "nothing is taken while nothing can be written");
    assert_eq!(bench.kernel.0.borrow().beats, beats, "and no heartbeat is given");
    assert!(bench.read("log").ends_with("}\n"));
    let said = bench.read("kmsg");
    assert_eq!(said.matches("cannot write").count(), 1, "it is said once: {said}");
    let told: Status = {
        recorder.write_status(false);
        serde_json::from_str(&bench.read("status.json")).unwrap()
    };
    assert!(told.trouble.unwrap().contains("No space left"));
    bench.room.set(u64::MAX);
    recorder.round().unwrap();
    assert!(bench.read("kmsg").contains("can be written again; 30 records did not fit the rings meanwhile"));
    bench.kernel.calls(5);
    recorder.finish().unwrap();
    let verified = bench.verified(&["log"]);
    assert_eq!(verified.findings, []);
    assert_eq!((verified.records, verified.missing.get(&GapReason::Lost)), (105, Some(&30)));
}

#[test]
fn an_end_on_a_full_disk_says_what_is_missing() {
    let bench = Bench::new();
    let mut recorder = bench.recorder();
    bench.room.set(0);
    bench.kernel.calls(3);
    let error = recorder.finish().unwrap_err().to_string();
    assert!(error.contains("No space left"), "{error}");
    assert!(error.ends_with("3 records that were read are not in the log, from 0 to 2"), "{error}");
    bench.room.set(u64::MAX);
    drop(recorder);
    let mut next = bench.recorder();
    bench.kernel.calls(1);
    next.finish().unwrap();
    let verified = bench.verified(&["log.1", "log"]);
    assert_eq!(verified.findings, []);
    assert_eq!((verified.killed, verified.missing.get(&GapReason::Restart)), (1, Some(&3)));
}

#[test]
fn a_record_that_comes_late_is_put_in_order() {
    let bench = Bench::new();
    let mut recorder = bench.recorder();
    bench.kernel.calls(6);
    let late = bench.kernel.0.borrow_mut().ring.remove(2).unwrap();
    bench.kernel.0.borrow_mut().held.push(late);
    recorder.round().unwrap();
    assert_eq!(recorder.log.counters(None).seq, 2);
    let held = bench.kernel.0.borrow_mut().held.pop().unwrap();
    bench.kernel.0.borrow_mut().ring.push_back(held);
    recorder.round().unwrap();
    assert_eq!(recorder.log.counters(None).seq, 6);
    recorder.finish().unwrap();
    let verified = bench.verified(&["log"]);
    assert_eq!((verified.findings.len(), verified.records, verified.missing.len()), (0, 6, 0));
}

#[test]
fn a_status_that_cannot_be_written_stops_nothing() {
    let bench = Bench::new();
    let mut recorder = bench.recorder();
    fs::write(bench.path("file"), "").unwrap();
    recorder.outputs.status = bench.path("file/status.json");
    bench.kernel.calls(3);
    recorder.finish().unwrap();
    assert_eq!(bench.verified(&["log"]).records, 3);
}

#[test]
fn a_malformed_record_is_reported_and_costs_no_other() {
    let bench = Bench::new();
    let mut recorder = bench.recorder();
    bench.kernel.calls(4);
    let error = Invalid::Number { field: "hook", number: 99 };
    {
        let mut kernel = bench.kernel.0.borrow_mut();
        kernel.ring.retain(|record| record.seq != 1);
        let malformed = |seq| Malformed { seq, error: error.clone() };
        kernel.malformed.extend([malformed(Some(1)), malformed(Some(1 << 40)), malformed(None)]);
    }
    recorder.finish().unwrap();
    let verified = bench.verified(&["log"]);
    assert_eq!(verified.findings, []);
    assert_eq!((verified.records, verified.missing.get(&GapReason::Malformed)), (3, Some(&1)));
    let said = bench.read("kmsg");
    assert_eq!(said.matches("a record cannot be read, and is a gap in the log").count(), 1, "{said}");
    assert!(said.contains("hook is 99"), "{said}");
}
