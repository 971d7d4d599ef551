use std::{cell::Cell, io::Write as _, rc::Rc};

use guard_record::{Finding, Hook, Line, NoNames, Record, verify};
use tempfile::TempDir;

use super::*;

/// A disk with this much room, in bytes.
#[derive(Clone)]
struct Disk(Rc<Cell<u64>>);

impl Disk {
    fn with(room: u64) -> Self {
        Self(Rc::new(Cell::new(room)))
    }

    fn write(&self) -> WriteTo {
        let room = Rc::clone(&self.0);
        Rc::new(move |file, bytes| {
            let most = room.get().min(bytes.len() as u64);
            if most == 0 {
                return Err(io::Error::from_raw_os_error(28));
            }
            room.set(room.get() - most);
            file.write(&bytes[..usize::try_from(most).unwrap()])
        })
    }
}

fn time() -> Time {
    Time { boot_ns: 5, utc: None }
}

fn place(folder: &TempDir, rotate: u64, keep: u64) -> Place {
    Place { path: folder.path().join("log"), rotate, keep }
}

fn origin(boot_id: &str, guard: u64) -> Origin {
    Origin { boot_id: boot_id.into(), kernel: "7.3.4".into(), guard }
}

fn open(place: &Place, disk: &Disk) -> Opened {
    Log::open(place.clone(), origin("0123abcd-1", 3), time(), disk.write()).unwrap()
}

fn records(seqs: std::ops::Range<u64>) -> VecDeque<Logged> {
    seqs.map(|seq| Logged::Record(Line::of(&Record::of(seq, Hook::Bpf), &NoNames))).collect()
}

/// What is wrong with all files of a log, oldest first.
fn findings(place: &Place, may_be_open: bool) -> Vec<Finding> {
    let numbers = place.numbers().unwrap();
    let paths = numbers.iter().map(|number| place.numbered(*number)).chain([place.path.clone()]);
    let files = paths.map(|path| (path.display().to_string(), BufReader::new(File::open(path).unwrap())));
    verify(files, Anchors::default(), may_be_open).unwrap().findings
}

#[test]
fn a_log_is_continued_by_the_next_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder, 1 << 20, 0);
    let disk = Disk::with(u64::MAX);
    let mut first = open(&place, &disk);
    assert_eq!((first.begin, first.notes.len()), (GapReason::Begin, 0));
    first.log.append(&mut records(0..5), &time()).unwrap();
    first.log.end(time(), None).unwrap();
    drop(first);
    let mut second = open(&place, &disk);
    assert_eq!((second.begin, second.notes.len()), (GapReason::Restart, 0));
    assert_eq!(second.log.counters(None), Counters { seq: 5, read: 5, lost: 0, kernel: None });
    second.log.append(&mut records(5..7), &time()).unwrap();
    // Killed: no closing line, and half a line.
    File::options().append(true).open(&place.path).unwrap().write_all(b"{\"chain\":\"").unwrap();
    drop(second);
    let mut third = open(&place, &disk);
    assert!(third.notes[0].contains("not finished") && third.notes[0].ends_with("cut off"), "{:?}", third.notes);
    third.log.append(&mut records(7..9), &time()).unwrap();
    assert_eq!(findings(&place, true), []);
    third.log.end(time(), None).unwrap();
    assert_eq!(findings(&place, false), []);
    drop(third);
    let other = Log::open(place.clone(), origin("0123abcd-1", 4), time(), disk.write()).unwrap();
    assert_eq!((other.begin, other.log.counters(None).seq), (GapReason::Begin, 0), "another guard begins from 0");
    drop(other);
    let killed = open(&place, &disk);
    assert!(killed.notes[0].contains("has no closing line"), "{:?}", killed.notes);
    assert_eq!(findings(&place, true), []);
}

#[test]
fn files_are_rotated_by_size_and_old_ones_removed() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder, 8192, 3);
    let mut log = open(&place, &Disk::with(u64::MAX)).log;
    for seq in 0..200 {
        log.append(&mut records(seq..seq + 1), &time()).unwrap();
        assert!(log.bytes() < 8192 + 512);
    }
    log.end(time(), None).unwrap();
    let numbers = place.numbers().unwrap();
    assert_eq!(numbers.len(), 2);
    assert!(numbers[0] > 3, "{numbers:?}");
    assert_eq!(findings(&place, false), [], "what is left is whole");
    let anchors = log.take_anchors();
    // Of each file the first line and the last.
    assert_eq!(anchors.len() as u64, 2 * (numbers[1] + 1));
}

#[test]
fn a_full_disk_loses_no_line_and_leaves_no_half_of_one() {
    let mut random = fastrand::Rng::with_seed(6);
    for room in (500..9000).step_by(97) {
        let folder = tempfile::tempdir().unwrap();
        let place = place(&folder, 4096, 0);
        let disk = Disk::with(room);
        let mut log = open(&place, &disk).log;
        let mut lines = records(0..40);
        let mut failures = 0;
        while let Err(error) = log.append(&mut lines, &time()) {
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            failures += 1;
            let text = fs::read_to_string(&place.path).unwrap();
            assert!(text.ends_with("}\n"), "half a line is left with room for {room}");
            assert_eq!(findings(&place, true), [], "with room for {room}");
            disk.0.set(random.u64(..900));
        }
        disk.0.set(u64::MAX);
        log.end(time(), None).unwrap();
        assert!(failures > 0 && findings(&place, false).is_empty(), "with room for {room}");
        assert_eq!(log.counters(None), Counters { seq: 40, read: 40, lost: 0, kernel: None });
    }
}

#[test]
fn a_file_that_is_no_log_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder, 4096, 0);
    fs::write(&place.path, "my diary\n").unwrap();
    let error = Log::open(place.clone(), origin("b", 1), time(), Disk::with(9).write()).err().unwrap().to_string();
    assert!(error.contains("is no log of bpf-guard: move it away"), "{error}");
    assert_eq!(fs::read_to_string(&place.path).unwrap(), "my diary\n");
}

#[test]
fn an_edited_log_is_continued_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder, 1 << 20, 0);
    let disk = Disk::with(u64::MAX);
    let mut log = open(&place, &disk).log;
    log.append(&mut records(0..5), &time()).unwrap();
    drop(log);
    let text = fs::read_to_string(&place.path).unwrap();
    fs::write(&place.path, text.replace("\"seq\":2", "\"seq\":9")).unwrap();
    let notes = open(&place, &disk).notes;
    assert!(notes[0].starts_with("the log so far is not whole:") && notes[0].contains("line 4"), "{notes:?}");
}

#[test]
fn one_process_writes_a_log() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder, 1 << 20, 0);
    let disk = Disk::with(u64::MAX);
    let first = open(&place, &disk);
    let error = Log::open(place.clone(), origin("0123abcd-1", 3), time(), disk.write()).err().unwrap().to_string();
    assert!(error.contains("another process writes"), "{error}");
    drop(first);
    open(&place, &disk);
}
