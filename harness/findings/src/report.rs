//! Findings for people and for programs.

mod github;
mod html;
mod human;
mod json;
mod proved;
mod sarif;

use harness_frontend::{Configuration, Sources};
use harness_protocol::name::KernelName;
use harness_uapi::{
    delegation::{Delegation, known_bits, numbers},
    names,
    permission::Grant,
    release::Release,
    vocabulary::Kind,
};

pub use github::annotations;
pub use html::{Shown, page};
pub use human::{alike, plain, summary, underlined};
pub use json::{document, schema};
pub use proved::{Proved, ProvedObject, ProvedUnit, TriedUnit};
pub use sarif::log;

use crate::{
    code::Level,
    finding::Finding,
    input::{self, KernelFacts},
};

/// What a policy of the guard is called among front-ends.
pub const POLICY: &str = "guard-policy";

/// The name under which programs get the result of a trial in a VM, which is not a finding.
const PROOF: &str = "proof";

/// A configuration, or a policy of the guard, with its findings and how each kernel treats it.
#[derive(Clone, Debug)]
pub struct ConfigurationReport {
    /// The files it was read from.
    pub sources: Sources,
    /// The configuration; `None` if it is a policy of the guard.
    pub configuration: Option<Configuration>,
    /// Its findings.
    pub findings: Vec<Finding>,
    /// How each kernel treats it.
    pub kernels: Vec<KernelReport>,
    /// How it was tried, if systemd started it in a VM.
    pub tried_unit: Option<TriedUnit>,
}

/// How one kernel treats a configuration.
#[derive(Clone, Debug)]
pub struct KernelReport {
    /// The kernel.
    pub name: KernelName,
    /// Its release.
    pub release: Release,
    /// What the bpffs delegates; `None` if the kernel refuses an option or has no tokens.
    pub delegation: Option<Delegation>,
    /// What the container gets in its user namespace; nothing if it has none.
    pub grant: Grant,
    /// The four options as the kernel shows them in `mountinfo(5)`.
    pub shown: [String; 4],
    /// Whether all values are known: variables and placeholders have none.
    pub is_known: bool,
    /// The result in a VM, if it was tried.
    pub proved: Option<Proved>,
}

impl ConfigurationReport {
    /// Whether a finding is an error.
    pub fn is_refused(&self) -> bool {
        self.findings.iter().any(|finding| finding.level == Level::Error)
    }

    /// Whether a value is not in the file, or a line of it is not read, so that a part of the configuration is not judged.
    pub fn is_open(&self) -> bool {
        self.configuration.as_ref().is_some_and(|read| !read.unknown.is_empty() || read.unread.is_some())
    }

    /// Whether a kernel disagrees with the prediction.
    pub fn is_contradicted(&self) -> bool {
        self.kernels.iter().filter_map(|kernel| kernel.proved.as_ref()).any(|proved| !proved.disagreements.is_empty())
    }

    /// Returns the number of findings of a level.
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// Returns its own name, or that of its file.
    pub fn name(&self) -> &str {
        match self.configuration.as_ref().map_or("", |configuration| &configuration.name) {
            "" => self.sources.get(0).label(),
            name => name,
        }
    }

    /// Returns what kind of file it is: the front-end of a configuration.
    pub fn front_end(&self) -> &str {
        self.configuration.as_ref().map_or(POLICY, |configuration| configuration.frontend.name)
    }
}

impl KernelReport {
    /// Predicts how a kernel treats a configuration.
    pub fn of(kernel: &KernelFacts, configuration: &Configuration) -> Self {
        let is_known = configuration.unknown.is_empty();
        let delegation = kernel.delegation(configuration).ok().filter(|_| is_known && kernel.has_tokens());
        let shown = shown(&delegation.unwrap_or_default(), kernel);
        let grant = delegation.map(|delegation| input::grant(configuration, delegation)).unwrap_or_default();
        Self { name: kernel.name.clone(), release: kernel.release, delegation, grant, shown, is_known, proved: None }
    }

    /// Whether a token can be created.
    pub fn makes_token(&self) -> bool {
        self.grant.makes_token()
    }
}

/// Returns the options as the kernel shows them (`bpf_show_options` in `kernel/bpf/inode.c`); empty for one it omits.
fn shown(delegation: &Delegation, kernel: &KernelFacts) -> [String; 4] {
    let masks = delegation.masks();
    Kind::ALL.map(|kind| {
        let known = known_bits(kernel.vocabulary.table(kind));
        match masks[kind as usize] & known {
            mask if mask == known => "any".to_owned(),
            mask => numbers(mask).map(|number| names::shown(kind, number)).collect::<Vec<_>>().join(":"),
        }
    })
}

/// Formats the options of a kernel in one line, `cmds=… maps=…`, or as `nothing`.
fn options(shown: &[String; 4]) -> String {
    let set = Kind::ALL.iter().zip(shown).filter(|(_, names)| !names.is_empty());
    let texts: Vec<String> = set.map(|(kind, names)| format!("{}={names}", kind.plural())).collect();
    if texts.is_empty() { "nothing".to_owned() } else { texts.join(" ") }
}
