//! A guard: loaded, attached, in force.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process,
    sync::{Mutex, PoisonError},
};

use guard_policy::{
    Compiled,
    layout::{BUILD_ID, IDENTITY_FS_VERITY, IDENTITY_IMA, MOST_SETS, RELOAD_NEVER, RELOAD_ROOT, SetKey},
};
use libbpf_rs::{ErrorKind, Link, MapCore, MapFlags, Object, ObjectBuilder, OpenObject, PrintLevel};

use crate::{
    access::{Access, MAPS_FILE},
    error::LoadError,
    kernel::{self, Kernel},
    object::{self, base_name, map},
    query,
    state::State,
};

/// How a guard is loaded.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Set for a guard that can be switched off again.
    pub trial: Option<Trial>,
    /// The device of the bpffs that links are pinned in, as the kernel has it (major << 20 | minor); 0 for none.
    pub own_bpffs_dev: u32,
}

/// A guard that `bpf-guard try` puts in force: the process can switch it off, and its own calls are not recorded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trial {
    /// A process whose calls pass unrecorded too; 0 for none.
    pub exempt: u32,
}

/// The loaded programs of a guard. It is in force while links are held or pinned.
pub struct Guard {
    object: Object,
    links: Vec<(String, Link)>,
    kernel: Kernel,
    access: Access,
    trial: Option<Trial>,
}

/// `struct guard_constants` of `abi.h`, as bytes.
fn constants(compiled: &Compiled, kernel: &Kernel, options: &Options) -> Result<Vec<u8>, LoadError> {
    let is_reloadable = is_reloadable(compiled);
    let mut bytes = vec![0; 16];
    bytes[..4].copy_from_slice(&vmlinux_btf_id()?.to_le_bytes());
    bytes[4..8].copy_from_slice(&options.own_bpffs_dev.to_le_bytes());
    bytes[8] = options.trial.is_some().into();
    bytes[9] = kernel.has_kernel_argument().into();
    bytes[10] = (is_reloadable || !compiled.cgroups.is_empty()).into();
    for (at, (identity, function, ..)) in (11..).zip(IDENTITIES) {
        // Another policy may need what this one does not.
        let may_need = is_reloadable && kernel.function(function).is_some();
        bytes[at] = (may_need || needs(compiled, identity)).into();
    }
    bytes[13] = has_loaders(compiled).into();
    bytes.extend(if is_reloadable { kernel::build_id()? } else { [0; BUILD_ID] });
    bytes.extend([0; 4]);
    bytes.extend(compiled.settings.bytes());
    Ok(bytes)
}

/// Returns the id under which the kernel lists its own BTF.
fn vmlinux_btf_id() -> Result<u32, LoadError> {
    let failed = |error| LoadError::File { path: "the list of the kernel's BTF objects".into(), error };
    let mut id = 0;
    loop {
        id = query::next_btf_id(id).map_err(failed)?;
        if query::is_vmlinux(id).map_err(failed)? {
            return Ok(id);
        }
    }
}

impl Guard {
    /// Loads the programs with a policy, and fills their maps. Nothing is attached yet.
    ///
    /// # Errors
    /// [`LoadError`] if the kernel lacks something, or refuses a program; it has what libbpf said.
    pub fn load(compiled: &Compiled, options: &Options) -> Result<Self, LoadError> {
        let kernel = Kernel::running()?;
        if let Some(hook) = object::HOOKS.into_iter().find(|hook| kernel.function(hook).is_none()) {
            return Err(LoadError::NoHook(hook.trim_start_matches("bpf_lsm_").to_owned()));
        }
        if compiled.uses_loginuid && !kernel.has_logins() {
            return Err(LoadError::NoLoginUid);
        }
        check_identities(compiled, &kernel)?;
        let is_signed = is_reloadable(compiled) && compiled.settings.reload != RELOAD_ROOT;
        if is_signed && kernel.function("bpf_verify_pkcs7_signature").is_none() {
            return Err(LoadError::NoSignatures);
        }
        let policy = Values::of(compiled, &kernel)?;
        let (object, said) = listening(|| {
            let constants = constants(compiled, &kernel, options)?;
            open(&policy, &constants, compiled)?.load().map_err(LoadError::bpf("loading the guard's programs"))
        });
        let object = object.map_err(|error| error.with(said))?;
        policy.fill(&object)?;
        let access = Access::of(&object)?;
        Ok(Self { object, links: Vec::new(), kernel, access, trial: options.trial })
    }

    /// Attaches the programs, protects them, and puts the guard in force: the policy's maps cannot be written any more,
    /// by anybody. A trial starts switched off.
    ///
    /// # Errors
    /// [`LoadError`]; nothing is in force then. [`LoadError::NotInLsmList`] if the programs are attached, yet never run.
    pub fn arm(&mut self) -> Result<(), LoadError> {
        let mut links = Vec::new();
        for program in self.object.progs_mut().filter(|program| program.autoload()) {
            let name = program.name().to_string_lossy().into_owned();
            let (link, said) = listening(|| program.attach());
            let link = link.map_err(|error| attaching(&name, error).with(said))?;
            links.push((name, link));
        }
        self.links = links;
        self.register_own()?;
        for map in self.object.maps().filter(|map| map.autocreate()) {
            let name = map.name().to_string_lossy().into_owned();
            if FROZEN.contains(&&*name) {
                object::freeze(&self.object, &name)?;
            }
        }
        let state = self.state();
        State::set(&state.guard_tgid, process::id());
        State::set(&state.off, self.trial.is_some().into());
        State::set(&state.exempt_tgid, self.trial.unwrap_or_default().exempt);
        self.access.beat();
        State::set(&state.armed, 1);
        self.check_in_force()
    }

    /// Makes a call, and checks that the hook saw it.
    fn check_in_force(&self) -> Result<(), LoadError> {
        use std::sync::atomic::Ordering::SeqCst;
        let calls = &self.state().calls;
        let before = calls.load(SeqCst);
        let _ = query::next_btf_id(0);
        if calls.load(SeqCst) == before {
            let list = kernel::lsm_list().map_or("the list of LSMs".to_owned(), |list| format!("`{}`", list.trim()));
            return Err(LoadError::NotInLsmList { list });
        }
        Ok(())
    }

    /// Writes the ids of everything that is the guard's into map `own`.
    fn register_own(&self) -> Result<(), LoadError> {
        let own = map(&self.object, "own")?;
        let put = |kind: u32, id: u32, value: u8| {
            let key = [kind.to_le_bytes(), id.to_le_bytes()].concat();
            own.update(&key, &[value], MapFlags::ANY).map_err(LoadError::bpf("registering the guard's objects"))
        };
        for map in self.object.maps().filter(|map| map.autocreate()) {
            let id = map.info().map_err(LoadError::bpf("asking for a map"))?.info.id;
            let name = map.name().to_string_lossy();
            let access = match base_name(&name) {
                Access::STATE => TO_LOOK_AT,
                Access::INCOMING => FOR_ROOT,
                name if Access::NAMES.contains(&name) => FOR_READER,
                _ => SECRET,
            };
            put(0, id, access)?;
        }
        for (_, link) in &self.links {
            let info = link.info().map_err(LoadError::bpf("asking for a link"))?;
            put(1, info.prog_id, 0)?;
            put(2, info.id, 0)?;
        }
        Ok(())
    }

    /// Pins all links in a folder of a bpffs, so that the guard stays in force without a process. The maps live as long as
    /// the programs that use them.
    ///
    /// # Errors
    /// [`LoadError`] if one cannot be pinned.
    pub fn pin(&mut self, folder: &Path) -> Result<(), LoadError> {
        for (name, link) in &mut self.links {
            let path = folder.join(&*name);
            link.pin(&path).map_err(LoadError::bpf(format!("pinning {}", path.display())))?;
        }
        Ok(())
    }

    /// Leaves the ids of the maps in [`MAPS_FILE`], for the process that will read them.
    ///
    /// # Errors
    /// [`LoadError`] if the file cannot be written.
    pub fn publish(&self) -> Result<(), LoadError> {
        let mut text = String::new();
        for map in self.object.maps().filter(|map| map.autocreate()) {
            let name = map.name().to_string_lossy().into_owned();
            let name = base_name(&name);
            if !Access::NAMES.contains(&name) && ![Access::STATE, Access::INCOMING].contains(&name) {
                continue;
            }
            let id = map.info().map_err(LoadError::bpf("asking for a map"))?.info.id;
            text.push_str(&format!("{name} {id}\n"));
        }
        let folder = Path::new(MAPS_FILE).parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder).map_err(LoadError::file(folder))?;
        fs::write(MAPS_FILE, text).map_err(LoadError::file(MAPS_FILE))
    }

    /// Gives up what this process may do because it loaded the guard: from now on, its calls are judged as anybody's.
    pub fn release(&self) {
        State::set(&self.state().guard_tgid, 0);
    }

    /// Switches a trial off, so that every hook lets everything pass and records nothing, or on again.
    pub fn set_off(&self, off: bool) {
        State::set(&self.state().off, off.into());
    }

    fn state(&self) -> &State {
        self.access.state().expect("the access of a guard is to its own maps")
    }

    /// Returns what reads the records.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Returns the functions of the running kernel.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }
}

/// Who may open a map: values of map `own` (`enum guard_own` of `abi.h`).
pub(crate) const SECRET: u8 = 0;
pub(crate) const FOR_READER: u8 = 1;
pub(crate) const TO_LOOK_AT: u8 = 2;
pub(crate) const FOR_ROOT: u8 = 3;

/// The maps that no process may write once the guard is in force.
const FROZEN: [&str; 5] = ["policies", "sets", "guarded", "own", "judged"];

/// The programs that find out what processes run: loaded only for a policy with known loaders, or one that another with some
/// may follow.
const LOADER_PROGRAMS: [&str; 3] = ["guard_exec", "guard_executed", "guard_task_alloc"];
/// The program and the maps of a reload.
const RELOAD_PROGRAM: &str = "guard_reload";
const RELOAD_MAPS: [&str; 2] = [Access::INCOMING, "judged"];

fn is_reloadable(compiled: &Compiled) -> bool {
    compiled.settings.reload != RELOAD_NEVER
}

fn has_loaders(compiled: &Compiled) -> bool {
    is_reloadable(compiled) || !compiled.loaders.is_empty()
}

/// `E2BIG` is what the kernel answers for a function that already runs as many programs as it can (`kernel/bpf/trampoline.c`).
fn attaching(name: &str, error: libbpf_rs::Error) -> LoadError {
    let step = format!("attaching {name}");
    match error.kind() {
        ErrorKind::TooBig => LoadError::FullHook { step },
        _ => LoadError::Bpf { step, error, said: None },
    }
}

/// A policy as keys and values, with the names found in the running kernel.
struct Values {
    policy: Vec<u8>,
    sets: BTreeMap<SetKey, u8>,
    guarded: BTreeSet<u32>,
}

impl Values {
    fn of(compiled: &Compiled, kernel: &Kernel) -> Result<Self, LoadError> {
        let mut sets = identities(compiled)?;
        sets.extend(compiled.tags.iter().map(|tag| (*tag, 1)));
        sets.extend(names(compiled, kernel)?.into_iter().map(|key| (key, 1)));
        Ok(Self { policy: compiled.bytes(), sets, guarded: kernel.guarded().collect() })
    }

    /// The number of entries of each map; a map has at least one.
    fn sizes(&self, is_reloadable: bool) -> [(&'static str, usize); 3] {
        let (policies, more) = if is_reloadable { (2, MOST_SETS) } else { (1, 0) };
        let sets = (self.sets.len().max(more) + more).max(1);
        [("policies", policies), ("sets", sets), ("guarded", self.guarded.len().max(1))]
    }

    fn fill(&self, object: &Object) -> Result<(), LoadError> {
        let put = |name: &str, key: &[u8], value: &[u8]| {
            map(object, name)?.update(key, value, MapFlags::ANY).map_err(LoadError::bpf(format!("filling map {name}")))
        };
        put("policies", &0_u32.to_le_bytes(), &self.policy)?;
        for (key, value) in &self.sets {
            put("sets", &key.bytes(), &[*value])?;
        }
        for id in &self.guarded {
            put("guarded", &id.to_le_bytes(), &[1])?;
        }
        Ok(())
    }
}

/// Returns the keys of the kfuncs and targets that profiles allow, with their ids in a kernel.
///
/// # Errors
/// [`LoadError::NoFunction`] if the kernel has no such function.
pub fn names(compiled: &Compiled, kernel: &Kernel) -> Result<Vec<SetKey>, LoadError> {
    let index = |profile: u32| u16::try_from(profile).unwrap_or(u16::MAX);
    let mut keys = Vec::new();
    for named in &compiled.kfuncs {
        let missing = || no_function(&named.name, named.profile, "kfunc");
        keys.push(SetKey::of_kfunc(index(named.profile), kernel.function(&named.name).ok_or_else(missing)?));
    }
    for named in &compiled.targets {
        let before = keys.len();
        keys.extend(kernel.targets(&named.name).map(|id| SetKey::of_target(index(named.profile), id)));
        if keys.len() == before {
            return Err(no_function(&named.name, named.profile, "target"));
        }
    }
    Ok(keys)
}

/// The identities of known loaders; those by inode are the files that are there now.
fn identities(compiled: &Compiled) -> Result<BTreeMap<SetKey, u8>, LoadError> {
    use std::os::unix::fs::MetadataExt as _;
    let mut all: BTreeMap<_, _> = compiled.identities.iter().copied().collect();
    for (path, loader) in &compiled.files {
        let file = fs::metadata(path).map_err(LoadError::file(path))?;
        let device = rustix::fs::major(file.dev()) << 20 | rustix::fs::minor(file.dev());
        all.insert(SetKey::of_inode(device, file.ino()), *loader);
    }
    Ok(all)
}

/// Whether a loader is known by an identity, which needs a function of the kernel.
fn needs(compiled: &Compiled, identity: u32) -> bool {
    compiled.loaders.iter().any(|loader| loader.identity == identity)
}

/// Identities that need a function of the kernel: their number, the function, their name, the option.
const IDENTITIES: [(u32, &str, &str, &str); 2] = [
    (IDENTITY_IMA, "ima_file_hash", "ima", "CONFIG_IMA"),
    (IDENTITY_FS_VERITY, "bpf_get_fsverity_digest", "fs-verity", "CONFIG_FS_VERITY"),
];

fn check_identities(compiled: &Compiled, kernel: &Kernel) -> Result<(), LoadError> {
    let mut missing = IDENTITIES
        .into_iter()
        .filter(|(number, function, ..)| needs(compiled, *number) && kernel.function(function).is_none());
    match missing.next() {
        Some((_, _, identity, option)) => Err(LoadError::NoIdentity { identity, option }),
        None => Ok(()),
    }
}

fn no_function(name: &str, profile: u32, what: &'static str) -> LoadError {
    LoadError::NoFunction { name: name.to_owned(), profile, what }
}

/// Opens the object with the sizes of the policy's maps.
fn open(policy: &Values, constants: &[u8], compiled: &Compiled) -> Result<OpenObject, LoadError> {
    let (is_reloadable, has_loaders) = (is_reloadable(compiled), has_loaders(compiled));
    let mut builder = ObjectBuilder::default();
    let builder = builder.name("guard").map_err(LoadError::bpf("naming the object"))?;
    let mut open = builder.open_memory(object::BYTES).map_err(LoadError::bpf("opening the object"))?;
    for mut program in open.progs_mut() {
        let is_wanted = match &*program.name().to_string_lossy() {
            RELOAD_PROGRAM => is_reloadable,
            name if LOADER_PROGRAMS.contains(&name) => has_loaders,
            _ => true,
        };
        program.set_autoload(is_wanted);
        program.set_autoattach(is_wanted);
    }
    for mut map in open.maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        if base_name(&name) == "rodata" {
            map.set_initial_value(constants).map_err(LoadError::bpf("setting the constants"))?;
        }
        if RELOAD_MAPS.contains(&&*name) {
            map.set_autocreate(is_reloadable).map_err(LoadError::bpf(format!("choosing map {name}")))?;
        }
        if let Some((_, size)) = policy.sizes(is_reloadable).into_iter().find(|(sized, _)| *sized == name) {
            let size = u32::try_from(size).map_err(|_| LoadError::Object(format!("map {name} with {size} entries")))?;
            map.set_max_entries(size).map_err(LoadError::bpf(format!("sizing map {name}")))?;
        }
    }
    Ok(open)
}

/// What libbpf says while it works, the verifier's log included.
static SAID: Mutex<String> = Mutex::new(String::new());
/// The most of it that is kept, in bytes.
const MOST_SAID: usize = 64 * 1024;

/// Runs something with libbpf's messages kept. Returns them too.
fn listening<T>(run: impl FnOnce() -> T) -> (T, String) {
    let lock = || SAID.lock().unwrap_or_else(PoisonError::into_inner);
    fn keep(_: PrintLevel, message: String) {
        let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() + message.len() <= MOST_SAID {
            said.push_str(&message);
        }
    }
    lock().clear();
    let before = libbpf_rs::set_print(Some((PrintLevel::Warn, keep)));
    let done = run();
    libbpf_rs::set_print(before);
    (done, std::mem::take(&mut *lock()))
}

impl LoadError {
    /// Adds what libbpf said.
    fn with(self, text: String) -> Self {
        match self {
            Self::Bpf { step, error, .. } if !text.is_empty() => Self::Bpf { step, error, said: Some(text) },
            other => other,
        }
    }
}
