//! The names of this machine: what a record has as numbers.

use std::{
    cell::{Cell, RefCell},
    fs,
    os::unix::fs::MetadataExt,
};

use guard_loader::Kernel;
use guard_policy::{Family, Policy};
use guard_record::{Hook, Kind, Names, Record, Verdict};
use rustix::time::{ClockId, clock_gettime};

/// Names from the project's table, the policy in force, and the running kernel.
pub(crate) struct Machine {
    kernel: Kernel,
    profiles: Vec<String>,
    loaders: Vec<String>,
    epoch_ns: Option<u64>,
    /// Whether another policy is in force than the one whose names are known.
    is_reloaded: Cell<bool>,
    /// The last executable that was asked for: one process often makes many calls.
    last: RefCell<Option<(Identity, Option<String>)>>,
}

/// Which file which process executes: process, its start, device, inode.
type Identity = (u32, u64, u32, u64);

/// Returns the path of that file, if the process is still there and executes it.
fn executable((tgid, _, dev, ino): Identity) -> Option<String> {
    let link = format!("/proc/{tgid}/exe");
    let file = fs::metadata(&link).ok()?;
    let (major, minor) = (rustix::fs::major(file.dev()), rustix::fs::minor(file.dev()));
    // As the kernel numbers devices (`include/linux/kdev_t.h`).
    let is_same = file.ino() == ino && (major << 20 | minor) == dev;
    is_same.then(|| fs::read_link(&link).ok()).flatten().map(|path| path.to_string_lossy().into_owned())
}

impl Machine {
    /// Takes the names of the running kernel, and those of a policy.
    pub(crate) fn new(kernel: Kernel, policy: Option<&Policy>) -> Self {
        let profiles = policy.into_iter().flat_map(|policy| &policy.profiles).map(|profile| profile.name.clone());
        let loaders = policy.into_iter().flat_map(|policy| &policy.loaders).map(|loader| loader.name.clone());
        let (profiles, loaders) = (profiles.collect(), loaders.collect());
        let nanoseconds = |clock| {
            let time = clock_gettime(clock);
            Some(u64::try_from(time.tv_sec).ok()? * 1_000_000_000 + u64::try_from(time.tv_nsec).ok()?)
        };
        let epoch_ns = nanoseconds(ClockId::Realtime)
            .zip(nanoseconds(ClockId::Boottime))
            .and_then(|(now, since_boot)| now.checked_sub(since_boot));
        Self { kernel, profiles, loaders, epoch_ns, is_reloaded: Cell::default(), last: RefCell::default() }
    }
}

impl Names for Machine {
    fn name(&self, kind: Kind, number: u64) -> Option<String> {
        let number = u32::try_from(number).ok()?;
        let family = match kind {
            Kind::Command => Family::Cmd,
            Kind::MapType => Family::Map,
            Kind::ProgramType => Family::Prog,
            Kind::AttachType => Family::Attach,
            Kind::Helper => Family::Helper,
            Kind::Capability => Family::Capability,
            Kind::Profile | Kind::Loader if self.is_reloaded.get() => return None,
            Kind::Profile => return self.profiles.get(number as usize).cloned(),
            Kind::Loader => return self.loaders.get(number as usize).cloned(),
        };
        // A number without a name is shown as the number.
        Some(family.shown(number)).filter(|name| name.parse::<u32>().is_err())
    }

    fn function(&self, btf: Option<u32>, id: u32) -> Option<String> {
        // Only the kernel's own functions are known here: the same number means another in a module or a program.
        if btf.is_some() { None } else { self.kernel.name(id).map(str::to_owned) }
    }

    fn executable(&self, record: &Record) -> Option<String> {
        let asked = (record.tgid, record.start_ns, record.exe_dev, record.exe_ino);
        let mut last = self.last.borrow_mut();
        if let Some((identity, path)) = &*last
            && *identity == asked
        {
            return path.clone();
        }
        let path = executable(asked);
        *last = Some((asked, path.clone()));
        path
    }

    fn see(&self, record: &Record) {
        if (record.hook, record.verdict) == (Hook::Reload, Verdict::Allowed) {
            self.is_reloaded.set(true);
        }
    }

    fn epoch_ns(&self) -> Option<u64> {
        self.epoch_ns
    }
}
