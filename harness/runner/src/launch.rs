//! Boots a testbed's VMs.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use harness_builder::{
    cache::{Area, CacheError},
    guest_program::guard::GuardProgram,
    image::CopyError,
    initramfs,
};
use harness_protocol::{
    name::{KernelName, ScenarioName},
    outcome::{ScenarioEnd, ScenarioOutcome},
    plan::{self, ExpectedKernel, Guard, Plan},
};
use harness_snapshot::allowed_splats::AllowedSplats;
use thiserror::Error;

pub use crate::testbed::MEMORY_MIB;
use crate::{
    accel::{self, Accel, AccelError, Decision},
    confinement::Confinement,
    guard::RunGuard,
    qemu::{Qemu, QemuError},
    resources::{Resources, ResourcesError},
    session::{
        self, Deadlines, FolderError, HostMachine, Machine, Notice, QemuMachine, RunFolder, Session, SessionError,
    },
    store::StoreError,
    testbed::Testbed,
    vm::VmSpec,
};

/// Why VMs could not be run. No verdict follows from it.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// QEMU is missing or too old.
    #[error(transparent)]
    Qemu(#[from] QemuError),
    /// The requested accelerator is unknown.
    #[error(transparent)]
    Accel(#[from] AccelError),
    /// A damaged kernel or image cannot be built again.
    #[error(transparent)]
    Resources(#[from] ResourcesError),
    /// A file of a built kernel is missing.
    #[error("cannot read {}; build the kernel again with `{} kernel build`", path.display(), harness_program::NAME)]
    Kernel {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// There is no folder to run a VM in.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A folder for a VM cannot be created.
    #[error("cannot create {}", path.display())]
    Create {
        /// The folder.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The image could not be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A session failed.
    #[error("kernel {kernel}: {source}")]
    Session {
        /// The kernel.
        kernel: String,
        /// The reason.
        source: SessionError,
    },
    /// An outcome cannot be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A VM does not fit into the host's memory.
    #[error(
        "kernel {kernel}: a VM needs {needs_mib} MiB, but only {free_mib} MiB are free; free memory, or lower \
         `memory_mib` in the kernel's manifest or the scenario"
    )]
    Memory {
        /// The kernel.
        kernel: KernelName,
        /// The memory that it needs including QEMU, in MiB.
        needs_mib: u64,
        /// The free memory of the host, in MiB.
        free_mib: u64,
    },
}

/// How this host runs VMs.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) qemu: Qemu,
    pub(crate) decision: Decision,
    pub(crate) confinement: Confinement,
    /// The folder that contains the VMs' folders.
    pub(crate) runs: PathBuf,
}

impl Host {
    /// Finds QEMU, chooses the accelerator and how QEMU is confined; shows if this QEMU has known holes.
    pub(crate) fn ready(resources: &Resources) -> Result<Self, LaunchError> {
        let qemu = Qemu::find()?;
        let runs = resources.cache.folder(Area::Runs)?;
        let decision = accel::choose(&qemu, &runs)?;
        let confining = accel::confine(&qemu, decision.accel, &runs);
        if let Some(hole) = qemu.version().holes().first() {
            let version = qemu.version();
            let note = format!("QEMU {version} has a known hole in 9p, {}; it is {confining}", hole.name);
            resources.progress.note(&note);
        }
        Ok(Self { qemu, decision, confinement: confining.confinement, runs })
    }
}

/// A VM that carries out no plan, ready to be started; its folders are gone when this is dropped.
pub(crate) struct IdleVm {
    pub(crate) spec: VmSpec,
    /// The VM's own files, which the guest does not see.
    pub(crate) own: PathBuf,
    _folder: RunFolder,
}

impl IdleVm {
    pub(crate) fn prepare(testbed: &Testbed<'_>, host: &Host, command: String) -> Result<Self, LaunchError> {
        testbed.restore()?;
        let folder = RunFolder::create(&host.runs)?;
        let [root, share, own] = ["root", "share", "own"].map(|name| folder.path().join(name));
        for path in [&share, &own] {
            fs::create_dir(path).map_err(|source| LaunchError::Create { path: path.clone(), source })?;
        }
        testbed.image.private_copy(&testbed.guest, &root)?;
        let spec = VmSpec { root, share, command, ..spec(testbed, host) };
        Ok(Self { spec, own, _folder: folder })
    }
}

/// What all VMs of a testbed have in common.
pub(crate) struct Launch<'a> {
    testbed: &'a Testbed<'a>,
    /// The VMs' specification; `None` in host mode.
    spec: Option<VmSpec>,
    expected: ExpectedKernel,
    runs: PathBuf,
    deadlines: Deadlines,
    allowed_splats: &'a AllowedSplats,
}

impl<'a> Launch<'a> {
    /// Prepares to run VMs of a testbed, and shows how they run. `host` is how this host runs VMs, unused in host mode;
    /// `name` is the environment's display name.
    pub(crate) fn prepare(
        testbed: &'a Testbed<'a>,
        host: Option<&Host>,
        name: &str,
        allowed_splats: &'a AllowedSplats,
    ) -> Result<Self, LaunchError> {
        let (progress, kernel) = (&testbed.resources.progress, &testbed.kernel);
        let host = host.filter(|_| !testbed.is_host_mode());
        if host.is_some() {
            testbed.restore()?;
        }
        let how = host.map_or("this machine, in its own namespaces and cgroup".to_owned(), |h| h.decision.to_string());
        progress.note(&format!("kernel {name} ({}): {how}", kernel.release()));
        Ok(Self {
            testbed,
            spec: host.map(|host| spec(testbed, host)),
            expected: expected(testbed)?,
            deadlines: Deadlines::of(host.map_or(Accel::Kvm, |host| host.decision.accel)),
            runs: testbed.resources.cache.folder(Area::Runs)?,
            allowed_splats,
        })
    }

    /// Runs scenarios in one VM, or in several if VMs die; `watch` receives notices of the progress.
    pub(crate) fn session(
        &self,
        scenarios: &[plan::Scenario],
        watch: &mut dyn FnMut(Notice<'_>),
    ) -> Result<Session, LaunchError> {
        let plan = Plan {
            format: plan::FORMAT,
            kernel: self.expected.clone(),
            // In host mode the console belongs to the machine.
            marks_console: self.spec.is_some(),
            guard: self.testbed.identity.artefacts.run_guard.map(RunGuard::plan),
            scenarios: scenarios.to_vec(),
        };
        let is_guarded = plan.guard.is_some() || scenarios.iter().any(|scenario| scenario.guard.is_some());
        let guard = if is_guarded { Some(self.guard()?) } else { None };
        let folder = RunFolder::create(&self.runs)?;
        let make_root = |into: &Path| {
            let copy = self.testbed.image.private_copy(&self.testbed.guest, into);
            copy.map(drop).map_err(io::Error::other)
        };
        let fill_share = |share: &Path| {
            if let Some(guard) = guard {
                fs::copy(guard.path(), share.join(plan::GUARD_PROGRAM))?;
            }
            self.testbed.put_files(scenarios, share)
        };
        let machine_kind = self.testbed.identity.machine_kind;
        let machine: Box<dyn Machine + '_> = match self.spec.clone() {
            Some(spec) => {
                let spec = self.with_early_guard(spec, scenarios, folder.path())?;
                let memory_mib = memory_of(scenarios).unwrap_or(spec.memory_mib);
                let spec = VmSpec { memory_mib, ..spec };
                let program = self.testbed.image.guest_command();
                Box::new(QemuMachine { spec, program, machine_kind, make_root: &make_root, fill_share: &fill_share })
            }
            None => {
                let progress = self.testbed.resources.progress.clone();
                Box::new(HostMachine::new(self.testbed.guest.path(), &fill_share, progress))
            }
        };
        let environment = self.testbed.environment();
        let is_allowed =
            |text: &str, scenario: &ScenarioName| self.allowed_splats.reason(text, scenario, environment).is_some();
        let ran = session::run_allowing(&plan, machine.as_ref(), &folder, self.deadlines, &is_allowed, watch);
        let ended = match ran {
            Err(SessionError::NothingStarted { how, console }) => match early_guard(scenarios) {
                // Other scenarios of the kernel do not depend on this guard.
                Some((scenario, _)) => Ok(not_booted(scenario, &how, &console, watch)),
                None => Err(SessionError::NothingStarted { how, console }),
            },
            ended => ended,
        };
        ended.map_err(|source| LaunchError::Session { kernel: self.testbed.kernel.name.to_string(), source })
    }

    fn guard(&self) -> Result<&GuardProgram, LaunchError> {
        let missing = || ResourcesError::NotBuilt { what: "the guard's program".to_owned(), command: "run".to_owned() };
        Ok(self.testbed.guard.as_ref().ok_or_else(missing)?)
    }

    /// Returns the VM with an initramfs that starts the scenario's guard, if it has one that early. It has its own VM.
    fn with_early_guard(
        &self,
        spec: VmSpec,
        scenarios: &[plan::Scenario],
        folder: &Path,
    ) -> Result<VmSpec, LaunchError> {
        let Some((_, guard)) = early_guard(scenarios) else { return Ok(spec) };
        let Testbed { kernel, guest, .. } = self.testbed;
        let path = folder.join("initramfs");
        initramfs::with_guard(kernel, guest, self.guard()?, guard, &path).map_err(ResourcesError::from)?;
        Ok(VmSpec { qemu_args: initramfs_args(Some(&path)), ..spec })
    }
}

fn initramfs_args(path: Option<&Path>) -> Vec<String> {
    path.into_iter().flat_map(|path| ["-initrd".to_owned(), path.display().to_string()]).collect()
}

/// Returns the memory that these scenarios want in MiB, if they do.
pub(crate) fn memory_of(scenarios: &[plan::Scenario]) -> Option<u32> {
    scenarios.iter().filter_map(|scenario| scenario.memory_mib).max()
}

/// Returns the scenario with a guard that the initramfs starts, if there is one, and its guard.
fn early_guard(scenarios: &[plan::Scenario]) -> Option<(&plan::Scenario, &Guard)> {
    let early = |scenario: &&plan::Scenario| scenario.guard.as_ref().is_some_and(|guard| guard.early);
    let scenario = scenarios.iter().find(early)?;
    Some((scenario, scenario.guard.as_ref()?))
}

/// Returns the session of a scenario whose VM did not reach the guest program: a fault, with what init printed, if it did.
fn not_booted(scenario: &plan::Scenario, how: &str, console: &[String], watch: &mut dyn FnMut(Notice<'_>)) -> Session {
    let by_init = console.iter().find_map(|line| line.strip_prefix("init: ").filter(|said| said.ends_with(ENDS)));
    let message = by_init.map_or_else(
        || format!("the VM with a guard in its initramfs started nothing: {how}"),
        |said| said.trim_end_matches(ENDS).trim_end_matches(';').to_owned(),
    );
    let (containers, attempts, units, splats) = Default::default();
    let end = ScenarioEnd::Fault { message };
    let outcome = ScenarioOutcome { scenario: scenario.name.clone(), containers, attempts, units, splats, end };
    watch(Notice::Ended(&outcome));
    Session { outcomes: vec![outcome], vms: Vec::new() }
}

/// How the line ends with which the guest's init ends a VM (`harness/init`).
const ENDS: &str = " ending the VM";

pub(crate) fn spec(testbed: &Testbed<'_>, host: &Host) -> VmSpec {
    let kernel = &testbed.kernel;
    let arguments = kernel.args.iter().cloned().chain(testbed.image.kernel_arguments());
    VmSpec {
        qemu: host.qemu.path().to_owned(),
        qemu_args: initramfs_args(testbed.initramfs.as_deref()),
        accel: host.decision.accel,
        confinement: host.confinement,
        // With two processors QEMU's emulation can run a kernel into an int3 that another processor is patching.
        cpus: 1,
        memory_mib: testbed.memory_mib(),
        kernel: kernel.boot_image(),
        kernel_args: arguments.collect(),
        root: PathBuf::new(),
        share: PathBuf::new(),
        command: String::new(),
    }
}

/// Returns what the guest must find: the release, the BTF and the configuration of the built kernel, and the requested
/// LSMs. A kernel that does not show its configuration is identified by its build id.
pub(crate) fn expected(testbed: &Testbed<'_>) -> Result<ExpectedKernel, LaunchError> {
    let kernel = &testbed.kernel;
    let read = |path: PathBuf| fs::read(&path).map_err(|source| LaunchError::Kernel { path, source });
    let config = read(kernel.config())?;
    let text = String::from_utf8_lossy(&config);
    let notes = kernel.notes().map(read).transpose()?;
    Ok(ExpectedKernel {
        release: Some(kernel.release().to_owned()),
        btf_crc32: Some(crc32fast::hash(&read(kernel.btf())?)),
        config_crc32: shows_its_config(&text).then(|| crc32fast::hash(&config)),
        notes_crc32: notes.map(|notes| crc32fast::hash(&notes)),
        lsm: kernel.lsm.clone().unwrap_or_else(|| configured_lsms(&text)),
        before_tokens: testbed.identity.vocabulary.cmds.number("token_create").is_none(),
    })
}

/// Returns whether the kernel has `/proc/config.gz` (`kernel/configs.c`).
fn shows_its_config(config: &str) -> bool {
    config.lines().any(|line| line == "CONFIG_IKCONFIG_PROC=y")
}

/// Returns the LSMs that `CONFIG_LSM` enables, in order (`security/security.c`).
fn configured_lsms(config: &str) -> Vec<String> {
    let value = config.lines().find_map(|line| line.strip_prefix("CONFIG_LSM="));
    let names = value.unwrap_or_default().trim_matches('"').split(',').map(str::trim);
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configured_lsms_are_read_in_order() {
        assert_eq!(configured_lsms("CONFIG_A=y\nCONFIG_LSM=\"landlock,bpf\"\n"), ["landlock", "bpf"]);
        assert!(configured_lsms("CONFIG_LSM=\"\"\n").is_empty());
        assert!(configured_lsms("").is_empty());
    }
}
