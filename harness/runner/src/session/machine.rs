//! Machines that boot guests: QEMU, or in tests anything that writes a record.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use harness_protocol::plan::{PLAN_FILE, Plan};
use serde::{Deserialize, Serialize};

use super::{error::SessionError, record::RecordFile};
use crate::vm::{SHARE_IN_GUEST, TimedEvent, Vm, VmError, VmSpec};

/// The VM's own files, which the guest does not see.
pub(super) const OWN: &str = "own";
const SHARE: &str = "share";
const ROOT: &str = "root";

/// The folder of one VM.
#[derive(Debug)]
pub struct GuestFolder {
    path: PathBuf,
}

impl GuestFolder {
    /// Creates the folder, with the plan in the shared folder.
    pub(super) fn create(path: &Path, plan: &Plan) -> Result<Self, SessionError> {
        let folder = Self { path: path.to_owned() };
        let plan = serde_json::to_vec(plan).map_err(io::Error::from);
        let made = fs::create_dir_all(folder.share())
            .and_then(|()| fs::create_dir(folder.own()))
            .and_then(|()| fs::write(folder.share().join(PLAN_FILE), plan?));
        made.map(|()| folder).map_err(|source| SessionError::Prepare { path: path.to_owned(), source })
    }

    /// Returns the folder with everything of this VM.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn record(&self) -> RecordFile {
        RecordFile::of(&self.share())
    }

    /// Returns the folder that the guest sees: it contains the plan, and the guest writes its record there.
    pub fn share(&self) -> PathBuf {
        self.path.join(SHARE)
    }

    /// Returns the folder that the guest does not see.
    pub fn own(&self) -> PathBuf {
        self.path.join(OWN)
    }

    /// Returns the path of the guest's root.
    pub fn root(&self) -> PathBuf {
        self.path.join(ROOT)
    }
}

/// A machine that boots guests.
pub trait Machine {
    /// Starts a guest that carries out the plan in the folder's share.
    ///
    /// # Errors
    /// [`VmError`] if it cannot be started. A failure to boot is reported as an event.
    fn boot(&self, guest: &GuestFolder) -> Result<Box<dyn Running>, VmError>;
}

/// A started guest.
pub trait Running {
    /// Returns the next event, waiting at most `wait`.
    fn next_event(&mut self, wait: Duration) -> Option<TimedEvent>;
    /// Returns error messages of the machine itself.
    fn complaints(&self) -> String;
    /// Returns its peak resident memory so far, in KiB, if it can be measured.
    fn peak_kib(&self) -> Option<u64> {
        None
    }
    /// Stops it; none of its processes runs when this returns.
    fn stop(&mut self);
}

impl Running for Vm {
    fn next_event(&mut self, wait: Duration) -> Option<TimedEvent> {
        self.next_event(wait)
    }

    fn complaints(&self) -> String {
        self.complaints()
    }

    fn peak_kib(&self) -> Option<u64> {
        self.peak_kib()
    }

    fn stop(&mut self) {
        self.stop();
    }
}

/// Creates a private root at a path that does not exist yet.
pub type MakeRoot<'a> = dyn Fn(&Path) -> io::Result<()> + 'a;

/// Fills a guest's shared folder with what its plan refers to.
pub type FillShare<'a> = dyn Fn(&Path) -> io::Result<()> + 'a;

/// The kind of machine that a guest program runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MachineKind {
    /// The guest's own machine.
    Own,
    /// A machine that others use: the guest leaves the machine's namespaces first, and refuses attempts with effects
    /// beyond its own ([`harness_protocol::plan::GlobalEffect`]).
    Shared,
    /// As [`Self::Shared`], and it is this machine (host mode).
    #[serde(rename = "here")]
    HostMode,
}

impl MachineKind {
    /// Returns the command that starts the guest program with this folder.
    fn command(self, program: &str, folder: &str) -> String {
        match self {
            Self::Own => format!("{program} {folder}"),
            Self::Shared | Self::HostMode => format!("{program} live {folder}"),
        }
    }
}

/// A machine that boots guests in QEMU.
pub struct QemuMachine<'a> {
    /// The specification of every VM; `root`, `share` and `command` are set for each.
    pub spec: VmSpec,
    /// Creates each guest's root, with the guest program in it.
    pub make_root: &'a MakeRoot<'a>,
    /// The command that starts the guest program there.
    pub program: String,
    /// The kind of machine that the guest program is started for.
    pub machine_kind: MachineKind,
    /// Fills each guest's shared folder.
    pub fill_share: &'a FillShare<'a>,
}

impl Machine for QemuMachine<'_> {
    fn boot(&self, guest: &GuestFolder) -> Result<Box<dyn Running>, VmError> {
        let failed = |source| VmError::Prepare { path: guest.path.clone(), source };
        (self.fill_share)(&guest.share()).and_then(|()| (self.make_root)(&guest.root())).map_err(failed)?;
        let spec = VmSpec {
            root: guest.root(),
            share: guest.share(),
            command: format!("exec {}", self.machine_kind.command(&self.program, SHARE_IN_GUEST)),
            ..self.spec.clone()
        };
        Ok(Box::new(Vm::start(&spec, &guest.own())?))
    }
}
