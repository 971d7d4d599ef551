//! Watches how much of the host's disk a VM takes: a guest writes its root and its share through QEMU, and could fill the
//! disk or use up its inodes.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use harness_builder::folder::{self, Usage};

/// The most bytes that the folder of a VM may take. The largest root takes 46 MiB (systemd-262), a share of the suite
/// 1 MiB; this leaves room for the objects and the journal of a user's unit, and a host survives it for every VM at once.
const MOST_BYTES: u64 = 1 << 30;

/// The most files and folders that the folder of a VM may have. The largest root has 1025.
const MOST_INODES: u64 = 50_000;

/// The most folders whose contents are hidden from this user. A guest could fill a folder and then close it.
const MOST_UNREADABLE: u64 = 8;

/// How often in a row a guest may move folders while they are measured, which ends the measuring.
const MOST_DISTURBED: u32 = 10;

/// The time between two measurements.
const INTERVAL: Duration = Duration::from_secs(1);

/// How many times longer than a measurement the time until the next one is at least: they may take 5 % of a processor.
const REST: u32 = 20;

/// Watches the folder of one VM.
#[derive(Debug)]
pub(super) struct UsageWatch {
    folder: PathBuf,
    limits: Limits,
    due: Instant,
    disturbed: u32,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    bytes: u64,
    inodes: u64,
    unreadable: u64,
}

impl UsageWatch {
    /// Watches a VM's folder, with everything that the guest and QEMU write.
    pub(super) fn of(folder: &Path) -> Self {
        let limits = Limits { bytes: MOST_BYTES, inodes: MOST_INODES, unreadable: MOST_UNREADABLE };
        Self { folder: folder.to_owned(), limits, due: Instant::now() + INTERVAL, disturbed: 0 }
    }

    /// Measures the folder if it is time to; returns which limit is exceeded, if one is. That is a fault, never a
    /// verdict. Cheap if it is not time yet, and otherwise it looks at no more files than the limit allows.
    pub(super) fn check(&mut self) -> Option<String> {
        let started = Instant::now();
        if started < self.due {
            return None;
        }
        let exceeded = self.measure();
        let ended = Instant::now();
        self.due = ended + INTERVAL.max((ended - started) * REST);
        exceeded
    }

    fn measure(&mut self) -> Option<String> {
        let limits = self.limits;
        let is_enough = |usage: &Usage| limits.exceeded_by(usage).is_some();
        match folder::measure(&self.folder, &mut HashSet::new(), is_enough) {
            Ok(usage) => {
                let exceeded = limits.exceeded_by(&usage);
                self.disturbed = if usage.is_partial && exceeded.is_none() { self.disturbed + 1 } else { 0 };
                let disturbed = || "moves its folders faster than they can be measured".to_owned();
                let exceeded = exceeded.or_else(|| (self.disturbed >= MOST_DISTURBED).then(disturbed));
                exceeded.map(|what| format!("the guest {what}, in {}", self.folder.display()))
            }
            // The folder is made before the VM starts, and stays until it is gone.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(format!("cannot measure {}: {error}", self.folder.display())),
        }
    }
}

impl Limits {
    fn exceeded_by(self, usage: &Usage) -> Option<String> {
        if usage.bytes > self.bytes {
            Some(format!("takes more than {} MiB of the host's disk", self.bytes >> 20))
        } else if usage.inodes > self.inodes {
            Some(format!("has more than {} files and folders on the host's disk", self.inodes))
        } else if usage.unreadable > self.unreadable {
            Some(format!("has more than {} folders that nobody but root can look into", self.unreadable))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A watch that measures at once.
    fn watch(folder: &Path) -> UsageWatch {
        UsageWatch { due: Instant::now(), ..UsageWatch::of(folder) }
    }

    fn exceeded(folder: &tempfile::TempDir) -> Option<String> {
        let message = watch(folder.path()).check()?;
        Some(message.replace(folder.path().to_str().unwrap(), "FOLDER"))
    }

    #[test]
    fn an_ordinary_folder_and_one_with_a_sparse_file_exceed_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        fs::File::create(folder.path().join("root/sparse")).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(exceeded(&folder), None);
        assert_eq!(watch(&folder.path().join("gone")).check(), None);
    }

    #[test]
    fn a_guest_that_fills_the_disk_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("share")).unwrap();
        let file = fs::File::create(folder.path().join("share/large")).unwrap();
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, MOST_BYTES + 4096).unwrap();
        assert_eq!(exceeded(&folder).unwrap(), "the guest takes more than 1024 MiB of the host's disk, in FOLDER");
    }

    #[test]
    fn a_guest_that_uses_up_the_inodes_is_noticed_without_looking_at_all_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let share = folder.path().join("share");
        (0..200).for_each(|outer| fs::create_dir_all(share.join(outer.to_string())).unwrap());
        (0..60_000).for_each(|file| drop(fs::File::create(share.join(format!("{}/{file}", file % 200))).unwrap()));
        let started = Instant::now();
        let message = exceeded(&folder).unwrap();
        println!("{:?}", started.elapsed());
        assert_eq!(message, "the guest has more than 50000 files and folders on the host's disk, in FOLDER");
    }

    #[test]
    fn measuring_is_repeated_no_sooner_than_after_a_second_and_rests() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch =
            UsageWatch { limits: Limits { bytes: 0, inodes: 0, unreadable: 0 }, ..UsageWatch::of(folder.path()) };
        assert_eq!(watch.check(), None, "it is not time yet");
        watch.due = Instant::now();
        assert!(watch.check().is_some());
        assert_eq!(watch.check(), None);
        let wait = watch.due - Instant::now();
        assert!(wait > INTERVAL / 2, "{wait:?}");
    }

    #[test]
    fn a_guest_that_hides_folders_or_moves_them_all_the_time_is_noticed() {
        let limits = watch(Path::new("/")).limits;
        let hidden = Usage { unreadable: MOST_UNREADABLE + 1, ..Usage::default() };
        assert!(limits.exceeded_by(&hidden).unwrap().contains("folders that nobody but root can look into"));
        let folder = tempfile::tempdir().unwrap();
        let mut watch = UsageWatch { disturbed: MOST_DISTURBED, ..watch(folder.path()) };
        assert_eq!(watch.check(), None, "one undisturbed measurement is enough");
        assert_eq!(watch.disturbed, 0);
    }
}
