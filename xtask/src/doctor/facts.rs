//! The facts that `doctor` collects.

use std::{env, ffi::OsStr, path::Path};

use anyhow::Result;
use harness_builder::{
    cache::{Area, CACHE_VARIABLE, Cache, inventory::Inventory},
    host::{
        self, Host, HostError, Mode, Purpose,
        requirement::{Probe, REQUIREMENTS},
    },
    image,
    kernel::{self, Catalogue},
    mirror::{MIRROR_VARIABLE, Mirror},
    progress::Progress,
    project::Project,
};
use harness_runner::{
    accel::{self, ACCEL_VARIABLE, Confining},
    launch::MEMORY_MIB,
    qemu::{QEMU_VARIABLE, Qemu, Version},
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{limits::Limits, version};
use crate::variables;

/// All facts. The keys are an interface for scripts.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct Facts {
    pub(super) scenarios_can_run: bool,
    /// Problems, and what to do about them.
    pub(super) problems: Vec<Problem>,
    /// Whether VMs use KVM, and why.
    pub(super) acceleration: Option<String>,
    pub(super) qemu: Option<Tool>,
    /// What QEMU is confined by, and why not by more.
    pub(super) confinement: Option<String>,
    pub(super) purposes: Vec<Readiness>,
    pub(super) tools: Vec<Tool>,
    pub(super) kernels: Vec<Built>,
    pub(super) cache: CacheFacts,
    pub(super) mirror: Option<MirrorFacts>,
    pub(super) limits: Limits,
    pub(super) variables: Vec<Variable>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Problem {
    pub(super) what: String,
    pub(super) advice: String,
    /// Whether it keeps scenarios from running.
    pub(super) blocks: bool,
}

#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Tool {
    pub(super) name: String,
    pub(super) version: Option<String>,
}

/// What is missing for a purpose.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Readiness {
    pub(super) purpose: &'static str,
    pub(super) lacks: Vec<&'static str>,
}

/// A default kernel, or the image.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Built {
    pub(super) name: String,
    pub(super) is_built: bool,
}

/// Sizes are in bytes.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct CacheFacts {
    pub(super) folder: String,
    pub(super) areas: Vec<(&'static str, u64)>,
    pub(super) free: Option<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MirrorFacts {
    pub(super) url: String,
    pub(super) known_by: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: String,
    /// Whether anything reads it.
    pub(super) is_known: bool,
}

/// The image that scenarios run in by default.
const IMAGE: &str = "minimal";

/// Disk space for building two kernels, rounded up, in bytes.
const ROOM: u64 = 8 << 30;

/// Collects all facts.
///
/// # Errors
/// If the place of the cache is unknown.
pub(super) fn gather(project: &Project) -> Result<Facts> {
    let root = Cache::place()?;
    let mut facts =
        Facts { limits: Limits::of_this_machine(), variables: own_variables(env::vars_os()), ..Facts::default() };
    facts.look_at_machine(&root);
    facts.look_at_cache(&root);
    facts.look_at_kernels(project, &root);
    facts.look_at_tools();
    facts.look_at_mirror();
    for variable in facts.variables.iter().filter(|variable| !variable.is_known) {
        let what = format!("unknown variable {}", variable.name);
        facts.problems.push(Problem {
            what,
            advice: format!("known variables: {}", variables::OWN.map(|(name, _)| name).join(", ")),
            blocks: false,
        });
    }
    facts.scenarios_can_run = !facts.problems.iter().any(|problem| problem.blocks);
    Ok(facts)
}

impl Facts {
    fn problem(&mut self, what: impl Into<String>, advice: impl Into<String>, blocks: bool) {
        self.problems.push(Problem { what: what.into(), advice: advice.into(), blocks });
    }

    fn look_at_machine(&mut self, cache: &Path) {
        match Qemu::find() {
            Ok(qemu) => {
                let version = Some(qemu.version().to_string());
                self.qemu = Some(Tool { name: qemu.path().display().to_string(), version });
                let runs = cache.join(Area::Runs.folder());
                match accel::look(&qemu, &runs) {
                    Ok(decision) => {
                        let confining = accel::look_at_confinement(&qemu, decision.accel, &runs);
                        self.look_for_holes(qemu.version(), &confining);
                        self.confinement = Some(confining.to_string());
                        self.acceleration = Some(decision.to_string());
                        if let Some(why) = accel::obstacle(&decision, &qemu, &runs) {
                            self.problem(format!("KVM does not work: {why}"), format!("unset {ACCEL_VARIABLE}"), true);
                        }
                    }
                    Err(error) => self.problem(error.to_string(), format!("unset {ACCEL_VARIABLE}"), true),
                }
            }
            Err(error) => self.problem(error.to_string(), "cargo xtask setup", true),
        }
        if self.limits.usable_memory() < u64::from(MEMORY_MIB) << 20 {
            self.problem(
                format!("less than {MEMORY_MIB} MiB of memory is available"),
                "stop programs that use much memory",
                true,
            );
        }
    }

    /// A hole does not keep scenarios from running: only a guest that attacks QEMU uses it.
    fn look_for_holes(&mut self, version: Version, confining: &Confining) {
        let names: Vec<&str> = version.holes().iter().map(|hole| hole.name).collect();
        if names.is_empty() {
            return;
        }
        let effect = match confining.confinement.landlock {
            true => "Landlock keeps a guest that uses it from reading and writing your files",
            false => "a guest that uses it reaches all your files",
        };
        let what = format!("QEMU {version} has a known hole in 9p ({}): {effect}", names.join(", "));
        let first = Version::first_without_holes();
        let mended = "or one that your distribution has mended: only the version is judged here";
        self.problem(what, format!("use QEMU {first} or newer, {mended}"), false);
    }

    fn look_at_cache(&mut self, root: &Path) {
        self.cache.folder = root.display().to_string();
        match Inventory::of(root) {
            Ok(inventory) => {
                self.cache.areas = Area::ALL.map(|area| (area.folder(), inventory.bytes(area))).to_vec();
            }
            Err(error) => self.problem(error.to_string(), format!("set {CACHE_VARIABLE}"), true),
        }
        let there = root.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
        if rustix::fs::access(there, rustix::fs::Access::WRITE_OK).is_err() {
            let advice = format!("set {CACHE_VARIABLE} to a folder you may write to");
            self.problem(format!("{} is not writable", there.display()), advice, true);
        }
        let disk = rustix::fs::statvfs(there);
        self.cache.free = disk.ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    }

    /// Finds out whether the default kernels and the image are built. The next run builds those that are not.
    fn look_at_kernels(&mut self, project: &Project, root: &Path) {
        let manifests = Catalogue::of_folder(&project.kernels()).and_then(|catalogue| catalogue.defaults());
        let image = image::catalogue::Catalogue::of_folder(&project.images()).and_then(|all| all.get(IMAGE));
        // `Cache::at` would create what is missing.
        let is_there = [Area::Kernels, Area::Images].iter().all(|area| root.join(area.folder()).is_dir());
        let cache = is_there.then(|| Cache::at(root).ok()).flatten();
        match manifests {
            Ok(manifests) => self.kernels.extend(manifests.iter().map(|manifest| {
                let found = cache.as_ref().and_then(|cache| kernel::find_built(manifest, cache).ok().flatten());
                Built { name: manifest.name.to_string(), is_built: found.is_some() }
            })),
            Err(error) => self.problem(format!("{error:#}"), "fix the manifest", true),
        }
        match image {
            Ok(manifest) => {
                let found = cache.as_ref().and_then(|cache| image::find_built(&manifest, cache).ok().flatten());
                self.kernels.push(Built { name: format!("image {IMAGE}"), is_built: found.is_some() });
            }
            Err(error) => self.problem(format!("{error:#}"), "fix the manifest", true),
        }
        let builds = self.builds();
        if builds && self.cache.free.is_some_and(|free| free < ROOM) {
            self.problem("less than 8 GiB is free for building kernels", "cargo xtask clean", true);
        }
    }

    fn builds(&self) -> bool {
        self.kernels.iter().any(|built| !built.is_built)
    }

    /// A missing tool blocks scenarios if something has yet to be built with it.
    fn look_at_tools(&mut self) {
        let (host, builds) = (Host::this(), self.builds());
        let own_qemu = env::var_os(QEMU_VARIABLE).is_some();
        for (purpose, words) in PURPOSES {
            let lacks: Vec<&str> = host.missing(&[purpose]).iter().map(|missing| missing.probe.name()).collect();
            if purpose == Purpose::Vm && own_qemu {
                continue;
            }
            if !lacks.is_empty()
                && let Err(error) = host::ensure(&[purpose], Mode::Print, &Progress::silent())
            {
                let advice = match &error {
                    HostError::Lacks { command, .. } => command.clone(),
                    other => other.to_string(),
                };
                let blocks = builds || matches!(purpose, Purpose::Vm | Purpose::GuestProgram | Purpose::Objects);
                self.problem(format!("this host lacks {} for {words}", lacks.join(", ")), advice, blocks);
            }
            self.purposes.push(Readiness { purpose: words, lacks });
        }
        let programs = REQUIREMENTS.iter().filter_map(|requirement| match requirement.probe {
            Probe::Program(name) if host.has(requirement.probe) => Some(name),
            _ => None,
        });
        let names = ["rustc", "cargo"].into_iter().chain(programs).filter(|name| !name.starts_with("qemu"));
        self.tools = names.map(|name| Tool { name: name.to_owned(), version: version::of(name) }).collect();
    }

    fn look_at_mirror(&mut self) {
        match Mirror::of_this_machine() {
            Ok(mirror) => {
                let own = env::var_os(MIRROR_VARIABLE).is_some_and(|value| !value.is_empty());
                let known_by = if own { MIRROR_VARIABLE } else { "this machine's apt" }.to_owned();
                self.mirror = Some(MirrorFacts { url: without_secrets(mirror.as_str()), known_by });
            }
            Err(error) => {
                let blocks = self.builds();
                self.problem(format!("{:#}", anyhow::Error::from(error)), format!("set {MIRROR_VARIABLE}"), blocks);
            }
        }
    }
}

/// What each purpose is called in reports.
const PURPOSES: [(Purpose, &str); 6] = [
    (Purpose::Vm, "VMs"),
    (Purpose::Packages, "packages"),
    (Purpose::Kernel, "kernels"),
    (Purpose::GuestProgram, "the guest program"),
    (Purpose::Objects, "objects"),
    (Purpose::Signing, "signatures"),
];

/// Removes user name and password from a URL: people share reports.
fn without_secrets(url: &str) -> String {
    match url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('/')?))) {
        Some((scheme, (host, path))) => match host.rsplit_once('@') {
            Some((_, host)) => format!("{scheme}://…@{host}/{path}"),
            None => url.to_owned(),
        },
        None => url.rsplit_once('@').map_or(url.to_owned(), |(_, host)| format!("…@{host}")),
    }
}

/// Returns the variables with this project's prefixes.
fn own_variables(all: impl Iterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>) -> Vec<Variable> {
    let ours = |name: &str| name.starts_with("HARNESS_") || name.starts_with("BPF_TOKEN_HARNESS_");
    let named = all.filter_map(|(name, value)| {
        let name = name.as_ref().to_str().filter(|name| ours(name))?.to_owned();
        let value = without_secrets(&value.as_ref().to_string_lossy());
        Some(Variable { is_known: variables::OWN.iter().any(|(own, _)| *own == name), name, value })
    });
    let mut found: Vec<Variable> = named.collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_hole_of_qemu_is_a_problem_that_blocks_nothing() {
        let found = |micro| {
            let mut facts = Facts::default();
            facts.look_for_holes(Version { major: 11, minor: 1, micro }, &Confining::default());
            facts.problems
        };
        assert!(found(2).is_empty());
        let [problem] = &found(1)[..] else { panic!() };
        assert!(!problem.blocks);
        let expected =
            "QEMU 11.1.1 has a known hole in 9p (CVE-2026-93834): a guest that uses it reaches all your files";
        assert_eq!(problem.what, expected);
    }

    #[test]
    fn variables_that_nothing_reads_are_found_and_secrets_are_not_shown() {
        let all =
            [("PATH", "/bin"), ("HARNESS_ACEL", "tcg"), (MIRROR_VARIABLE, "http://me:secret@mirror.example/debian")];
        let found = own_variables(all.into_iter());
        assert_eq!(found.len(), 2);
        assert!(found[0].is_known && found[0].value == "http://…@mirror.example/debian", "{found:?}");
        assert!(!found[1].is_known && found[1].name == "HARNESS_ACEL");
        assert_eq!(without_secrets("file:/srv/debian"), "file:/srv/debian");
        assert_eq!(without_secrets("http://a@b"), "…@b");
    }
}
