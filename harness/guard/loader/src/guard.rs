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
    layout::{Cgroup, IDENTITY_FS_VERITY, IDENTITY_IMA, IdentityKey, Loader, Profile, TagKey},
};
use libbpf_rs::{Link, MapCore, MapFlags, Object, ObjectBuilder, OpenObject, PrintLevel};

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
    let mut bytes = vec![0; 16];
    bytes[..4].copy_from_slice(&vmlinux_btf_id()?.to_le_bytes());
    bytes[4..8].copy_from_slice(&options.own_bpffs_dev.to_le_bytes());
    bytes[8] = options.trial.is_some().into();
    bytes[9] = kernel.has_kernel_argument().into();
    bytes[10] = (!compiled.cgroups.is_empty()).into();
    bytes[11] = needs(compiled, IDENTITY_IMA).into();
    bytes[12] = needs(compiled, IDENTITY_FS_VERITY).into();
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
        let policy = Values::of(compiled, &kernel)?;
        let (object, said) = listening(|| {
            let constants = constants(compiled, &kernel, options)?;
            open(&policy, &constants, !compiled.loaders.is_empty())?
                .load()
                .map_err(LoadError::bpf("loading the guard's programs"))
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
            let (link, said) = listening(|| program.attach().map_err(LoadError::bpf(format!("attaching {name}"))));
            links.push((name, link.map_err(|error| error.with(said))?));
        }
        self.links = links;
        self.register_own()?;
        for name in POLICY_MAPS {
            object::freeze(&self.object, name)?;
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
        for map in self.object.maps() {
            let id = map.info().map_err(LoadError::bpf("asking for a map"))?.info.id;
            let name = map.name().to_string_lossy();
            let access = match base_name(&name) {
                Access::STATE => TO_LOOK_AT,
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
        for name in Access::NAMES.into_iter().chain([Access::STATE]) {
            let id = map(&self.object, name)?.info().map_err(LoadError::bpf("asking for a map"))?.info.id;
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

/// Whether the reader may open a map: values of map `own` (`enum guard_own` of `abi.h`).
pub(crate) const SECRET: u8 = 0;
pub(crate) const FOR_READER: u8 = 1;
pub(crate) const TO_LOOK_AT: u8 = 2;

/// The maps that nobody may write once the guard is in force.
const POLICY_MAPS: [&str; 10] =
    ["rules", "cgroups", "profiles", "loaders", "kfuncs", "targets", "tags", "identities", "guarded", "own"];

/// The programs that find out what processes run: loaded only for a policy with known loaders.
const LOADER_PROGRAMS: [&str; 3] = ["guard_exec", "guard_executed", "guard_task_alloc"];

/// A policy as keys and values, with the names found in the running kernel.
struct Values {
    arrays: [(&'static str, Vec<Vec<u8>>); 4],
    sets: [(&'static str, BTreeSet<Vec<u8>>); 4],
    /// 1 + the index of the known loader with each identity.
    identities: BTreeMap<Vec<u8>, u8>,
}

impl Values {
    fn of(compiled: &Compiled, kernel: &Kernel) -> Result<Self, LoadError> {
        let key = |profile: u32, id: u32| [profile.to_le_bytes(), id.to_le_bytes()].concat();
        let mut kfuncs = BTreeSet::new();
        for named in &compiled.kfuncs {
            let missing = || no_function(&named.name, named.profile, "kfunc");
            kfuncs.insert(key(named.profile, kernel.function(&named.name).ok_or_else(missing)?));
        }
        let mut targets = BTreeSet::new();
        for named in &compiled.targets {
            let mut found = kernel.targets(&named.name).map(|id| key(named.profile, id)).peekable();
            if found.peek().is_none() {
                return Err(no_function(&named.name, named.profile, "target"));
            }
            targets.extend(found);
        }
        let tags = compiled.tags.iter().map(TagKey::bytes).collect();
        let guarded = kernel.guarded().map(|id| id.to_le_bytes().to_vec()).collect();
        Ok(Self {
            arrays: [
                ("rules", compiled.rules.iter().map(|rule| rule.bytes()).collect()),
                ("cgroups", compiled.cgroups.iter().map(Cgroup::bytes).collect()),
                ("profiles", compiled.profiles.iter().map(Profile::bytes).collect()),
                ("loaders", compiled.loaders.iter().map(Loader::bytes).collect()),
            ],
            sets: [("kfuncs", kfuncs), ("targets", targets), ("tags", tags), ("guarded", guarded)],
            identities: identities(compiled)?,
        })
    }

    /// The number of entries of each map; a map has at least one.
    fn sizes(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let arrays = self.arrays.iter().map(|(name, values)| (*name, values.len()));
        let sets = self.sets.iter().map(|(name, keys)| (*name, keys.len()));
        let all = arrays.chain(sets).chain([("identities", self.identities.len())]);
        all.map(|(name, size)| (name, size.max(1)))
    }

    fn fill(&self, object: &Object) -> Result<(), LoadError> {
        let put = |name: &str, key: &[u8], value: &[u8]| {
            map(object, name)?.update(key, value, MapFlags::ANY).map_err(LoadError::bpf(format!("filling map {name}")))
        };
        for (name, values) in &self.arrays {
            for (index, value) in (0u32..).zip(values) {
                put(name, &index.to_le_bytes(), value)?;
            }
        }
        for (name, keys) in &self.sets {
            for key in keys {
                put(name, key, &[1])?;
            }
        }
        for (key, loader) in &self.identities {
            put("identities", key, &[*loader])?;
        }
        Ok(())
    }
}

/// The identities of known loaders; those by inode are the files that are there now.
fn identities(compiled: &Compiled) -> Result<BTreeMap<Vec<u8>, u8>, LoadError> {
    use std::os::unix::fs::MetadataExt as _;
    let mut all: BTreeMap<_, _> = compiled.identities.iter().map(|(key, loader)| (key.bytes(), *loader)).collect();
    for (path, loader) in &compiled.files {
        let file = fs::metadata(path).map_err(LoadError::file(path))?;
        let device = rustix::fs::major(file.dev()) << 20 | rustix::fs::minor(file.dev());
        all.insert(IdentityKey::of_inode(device, file.ino()).bytes(), *loader);
    }
    Ok(all)
}

/// Whether a loader is known by an identity, which needs this function of the kernel.
fn needs(compiled: &Compiled, identity: u32) -> bool {
    compiled.loaders.iter().any(|loader| loader.identity == identity)
}

fn check_identities(compiled: &Compiled, kernel: &Kernel) -> Result<(), LoadError> {
    let all = [
        (IDENTITY_IMA, "ima_file_hash", "ima", "CONFIG_IMA"),
        (IDENTITY_FS_VERITY, "bpf_get_fsverity_digest", "fs-verity", "CONFIG_FS_VERITY"),
    ];
    let mut missing = all
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
fn open(policy: &Values, constants: &[u8], has_loaders: bool) -> Result<OpenObject, LoadError> {
    let mut builder = ObjectBuilder::default();
    let builder = builder.name("guard").map_err(LoadError::bpf("naming the object"))?;
    let mut open = builder.open_memory(object::BYTES).map_err(LoadError::bpf("opening the object"))?;
    for mut program in open.progs_mut() {
        let is_wanted = has_loaders || LOADER_PROGRAMS.iter().all(|name| program.name() != *name);
        program.set_autoload(is_wanted);
        program.set_autoattach(is_wanted);
    }
    for mut map in open.maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        if base_name(&name) == "rodata" {
            map.set_initial_value(constants).map_err(LoadError::bpf("setting the constants"))?;
        }
        if let Some((_, size)) = policy.sizes().find(|(sized, _)| *sized == name) {
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
