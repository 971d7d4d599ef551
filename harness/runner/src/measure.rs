//! Measures VMs for `cargo xtask bench`: sessions with a given amount of memory, the guest program's own measurements,
//! and the same kernel with `vmtest` alone.

mod alone;
mod costs;
mod error;
mod guarded;
mod programs;
mod token_test;

use std::{cell::Cell, fs, io, path::Path, path::PathBuf, time::Duration};

use harness_builder::image::CopyError;
use harness_protocol::plan::{self, ExpectedKernel, Plan};
use harness_scenario::expanded::Expanded;
use serde::Deserialize;

pub use costs::{Growth, GuestCosts};
pub use error::MeasureError;
pub use guarded::{Flood, GuardCosts, Turns};
pub use programs::{MeasuredProgram, ProgramTimes};
pub use token_test::{TokenTest, UnprivilegedBpf};

use crate::{
    accel::Decision,
    batches::batches,
    launch::{self, Host, IdleVm, LaunchError},
    qemu::Qemu,
    session::{self, Deadlines, GuestFolder, Machine, MachineKind, QemuMachine, RunFolder, Running, Session},
    testbed::Testbed,
    vm::{SHARE_IN_GUEST, Vm, VmError, VmEvent, VmSpec},
};

/// How long the guest program may measure. It takes about ten seconds under software emulation.
const COSTS_DEADLINE: Duration = Duration::from_secs(300);

/// How long the guest program may measure the guard. It takes about two minutes under software emulation.
const GUARD_DEADLINE: Duration = Duration::from_secs(900);

/// How long the programs of an image may be measured. It takes about a minute under software emulation.
const PROGRAMS_DEADLINE: Duration = Duration::from_secs(1800);

/// How long a VM may take to boot. One with too little memory may hang silently; others take a tenth of this.
const BOOT_DEADLINE: Duration = Duration::from_secs(30);

/// A testbed whose VMs are measured.
#[derive(Debug)]
pub struct Bench<'a> {
    testbed: &'a Testbed<'a>,
    host: Host,
    expected: ExpectedKernel,
}

impl<'a> Bench<'a> {
    /// Finds QEMU and chooses the accelerator, as any run does.
    ///
    /// # Errors
    /// [`LaunchError`] if there is no QEMU, or no folder for VMs.
    pub fn prepare(testbed: &'a Testbed<'a>) -> Result<Self, LaunchError> {
        Ok(Self { testbed, host: Host::ready(testbed.resources)?, expected: launch::expected(testbed)? })
    }

    /// Returns the QEMU used.
    pub fn qemu(&self) -> &Qemu {
        &self.host.qemu
    }

    /// Returns the accelerator, and why it was chosen.
    pub fn decision(&self) -> &Decision {
        &self.host.decision
    }

    /// Returns the boot image of the kernel.
    pub fn boot_image(&self) -> PathBuf {
        self.testbed.kernel.boot_image()
    }

    /// Returns the kernel's own command line arguments.
    pub fn kernel_args(&self) -> &[String] {
        &self.testbed.kernel.args
    }

    /// Returns the output of `uname -r` in the guest.
    pub fn release(&self) -> &str {
        self.testbed.kernel.release()
    }

    /// Runs scenarios as a run does, one VM after the other, in VMs with this much memory. A VM that dies is an error,
    /// and is not booted again.
    ///
    /// # Errors
    /// [`MeasureError`] if a VM cannot be booted, dies or hangs.
    pub fn sessions(&self, scenarios: &[&Expanded], memory_mib: u32) -> Result<Vec<Session>, MeasureError> {
        let scenarios: Vec<_> = scenarios.iter().map(|&scenario| (scenario, None)).collect();
        batches(&scenarios, |_| 1).iter().map(|batch| self.session(&batch.scenarios, memory_mib)).collect()
    }

    fn session(&self, scenarios: &[plan::Scenario], memory_mib: u32) -> Result<Session, MeasureError> {
        let plan = Plan {
            format: plan::FORMAT,
            kernel: self.expected.clone(),
            marks_console: true,
            guard: None,
            scenarios: scenarios.to_vec(),
        };
        let folder = RunFolder::create(&self.host.runs).map_err(LaunchError::from)?;
        let make_root = |into: &Path| self.make_root(into).map_err(io::Error::other);
        let fill_share = |share: &Path| self.testbed.put_files(scenarios, share);
        let spec = VmSpec { memory_mib, ..self.spec() };
        let (program, machine_kind) = (self.testbed.image.guest_command(), MachineKind::Own);
        let machine = QemuMachine { spec, program, machine_kind, make_root: &make_root, fill_share: &fill_share };
        let deadlines = Deadlines { boot: BOOT_DEADLINE, ..Deadlines::of(self.host.decision.accel) };
        let kernel = self.testbed.kernel.name.to_string();
        session::run(&plan, &OneBoot { machine, booted: Cell::new(false) }, &folder, deadlines, &mut |_| {})
            .map_err(|source| LaunchError::Session { kernel, source }.into())
    }

    fn spec(&self) -> VmSpec {
        launch::spec(self.testbed, &self.host)
    }

    fn make_root(&self, into: &Path) -> Result<(), CopyError> {
        self.testbed.image.private_copy(&self.testbed.guest, into).map(drop)
    }

    /// Measures attempts and containers in a guest with the usual memory.
    ///
    /// # Errors
    /// [`MeasureError`] if no VM can be booted, or if the guest program does not measure.
    pub fn guest_costs(&self) -> Result<GuestCosts, MeasureError> {
        let idle_vm = IdleVm::prepare(
            self.testbed,
            &self.host,
            costs::command(&self.testbed.image.guest_command(), SHARE_IN_GUEST),
        )?;
        let how = finish(&idle_vm, COSTS_DEADLINE)?;
        costs::read(&idle_vm.spec.share, &how)
    }

    /// Measures what the guard costs, in a guest with this much memory.
    ///
    /// # Errors
    /// [`MeasureError`] if no VM can be booted, or if a figure could not be taken.
    pub fn guard_costs(&self, memory_mib: u32) -> Result<GuardCosts, MeasureError> {
        self.guarded("bench-guard", memory_mib)
    }

    /// Measures how long the guard takes in early boot, in milliseconds, in a VM of its own.
    ///
    /// # Errors
    /// [`MeasureError`] if no VM can be booted, or if the guard is not put in force.
    pub fn guard_early(&self, memory_mib: u32) -> Result<f64, MeasureError> {
        self.guarded("bench-early", memory_mib)
    }

    fn guarded<T: for<'de> Deserialize<'de>>(&self, verb: &str, memory_mib: u32) -> Result<T, MeasureError> {
        let command = guarded::command(&self.testbed.image.guest_command(), verb, SHARE_IN_GUEST);
        let mut idle_vm = IdleVm::prepare(self.testbed, &self.host, command)?;
        idle_vm.spec.memory_mib = memory_mib;
        let path = idle_vm.spec.share.join(plan::GUARD_PROGRAM);
        let guard = self.testbed.guard.as_ref().ok_or(MeasureError::NoGuard)?;
        fs::copy(guard.path(), &path).map_err(|source| LaunchError::Create { path, source })?;
        let how = finish(&idle_vm, GUARD_DEADLINE)?;
        guarded::read(&idle_vm.spec.share, &how)
    }

    /// Measures how long `vmtest` alone takes for this kernel and image and the command `true`.
    ///
    /// It uses the kernel's own arguments, and the same memory and processors as scenarios, but neither the harness's
    /// init nor its mount options. It runs within this process.
    ///
    /// # Errors
    /// [`MeasureError`] if the command does not run.
    pub fn vmtest_alone(&self) -> Result<Duration, MeasureError> {
        self.alone(&IdleVm::prepare(self.testbed, &self.host, "true".to_owned())?)
    }

    /// Runs the kernel's own test of tokens by `vmtest` alone, as [`Self::vmtest_alone`] runs `true`. The program is
    /// `test_progs`, linked statically: the image has no libraries.
    ///
    /// # Errors
    /// [`MeasureError`] if the program cannot be copied or does not run. A subtest that fails is no error.
    pub fn token_test(&self, program: &Path, unprivileged: UnprivilegedBpf) -> Result<TokenTest, MeasureError> {
        let command = token_test::command(SHARE_IN_GUEST, unprivileged);
        let idle_vm = IdleVm::prepare(self.testbed, &self.host, command)?;
        let path = idle_vm.spec.share.join(token_test::PROGRAM);
        fs::copy(program, &path).map_err(|source| LaunchError::Create { path, source })?;
        let took = self.alone(&idle_vm)?;
        token_test::read(&idle_vm.spec.share, took)
    }

    /// Runs programs plainly and with their calls recorded, in turns in one VM. `fill` puts what they need into the shared folder.
    ///
    /// # Errors
    /// [`MeasureError`] if no VM can be booted, or if a program fails.
    pub fn programs(
        &self,
        programs: &[MeasuredProgram],
        rounds: u32,
        fill: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<Vec<ProgramTimes>, MeasureError> {
        let command = programs::command(&self.testbed.image.guest_command(), programs.len(), rounds, SHARE_IN_GUEST);
        let idle_vm = IdleVm::prepare(self.testbed, &self.host, command)?;
        let share = &idle_vm.spec.share;
        let filled = programs::prepare(programs, share, SHARE_IN_GUEST).and_then(|()| fill(share));
        filled.map_err(|source| LaunchError::Create { path: share.clone(), source })?;
        let how = finish(&idle_vm, PROGRAMS_DEADLINE)?;
        programs::read(share, programs, rounds, &how)
    }

    fn alone(&self, idle_vm: &IdleVm) -> Result<Duration, MeasureError> {
        let path = idle_vm.spec.root.join("tmp");
        fs::create_dir_all(&path).map_err(|source| LaunchError::Create { path, source })?;
        alone::run(&VmSpec { kernel_args: self.kernel_args().to_vec(), ..idle_vm.spec.clone() })
    }
}

/// Runs a VM to its end, or for as long as it may take. Returns how it ended.
fn finish(idle_vm: &IdleVm, deadline: Duration) -> Result<String, MeasureError> {
    let mut vm = Vm::start(&idle_vm.spec, &idle_vm.own)?;
    let mut due = deadline;
    let mut how = format!("no result within {} s", deadline.as_secs());
    while let Some(event) = vm.next_event(due) {
        due = deadline.saturating_sub(event.at);
        if let VmEvent::Ended(end) = event.event {
            how = end.to_string();
        }
    }
    vm.stop();
    Ok(how)
}

/// A machine that boots only one guest.
struct OneBoot<M> {
    machine: M,
    booted: Cell<bool>,
}

impl<M: Machine> Machine for OneBoot<M> {
    fn boot(&self, guest: &GuestFolder) -> Result<Box<dyn Running>, VmError> {
        if self.booted.replace(true) {
            return Err(VmError::Spawn(io::Error::other("the first VM did not complete the plan")));
        }
        self.machine.boot(guest)
    }
}
