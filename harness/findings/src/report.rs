//! Findings for people and for programs.

mod github;
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
pub use human::{alike, plain, summary, underlined};
pub use json::{document, schema};
pub use proved::{Proved, ProvedObject, ProvedUnit, TriedUnit};
pub use sarif::log;

use crate::{
    code::Level,
    finding::Finding,
    input::{self, KernelFacts},
};

/// What programs know by this name: not a finding, but what a kernel made of a configuration in a VM.
const PROOF: &str = "proof";

/// A configuration that was judged.
#[derive(Clone, Debug)]
pub struct ConfigurationReport {
    /// What it was read from.
    pub sources: Sources,
    /// What it says.
    pub configuration: Configuration,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
    /// What each kernel makes of it.
    pub kernels: Vec<KernelReport>,
    /// How it was tried, if systemd started it.
    pub rehearsed: Option<TriedUnit>,
}

/// What one kernel makes of a configuration.
#[derive(Clone, Debug)]
pub struct KernelReport {
    /// The kernel.
    pub name: KernelName,
    /// Its release.
    pub release: Release,
    /// What the bpffs delegates; `None` where the kernel refuses an option, or has no tokens.
    pub delegation: Option<Delegation>,
    /// What is given to the container in its user namespace; nothing where it has none.
    pub grant: Grant,
    /// The four options as the kernel shows them in `mountinfo(5)`.
    pub shown: [String; 4],
    /// What came of it in a VM, if it was tried.
    pub proved: Option<Proved>,
}

impl ConfigurationReport {
    /// Whether something is wrong enough to refuse it.
    pub fn is_refused(&self) -> bool {
        self.findings.iter().any(|finding| finding.level == Level::Error)
    }

    /// Whether a kernel said otherwise than was judged.
    pub fn is_contradicted(&self) -> bool {
        self.kernels.iter().filter_map(|kernel| kernel.proved.as_ref()).any(|proved| !proved.disagreements.is_empty())
    }

    /// How many findings there are of a level.
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// What it is called: its own name, or its file's.
    pub fn name(&self) -> &str {
        match self.configuration.name.as_str() {
            "" => self.sources.get(0).label(),
            name => name,
        }
    }
}

impl KernelReport {
    /// What a kernel makes of a configuration.
    pub fn of(kernel: &KernelFacts, configuration: &Configuration) -> Self {
        let delegation = kernel.delegation(configuration).ok().filter(|_| kernel.has_tokens());
        let shown = shown(&delegation.unwrap_or_default(), kernel);
        let grant = delegation.map(|delegation| input::grant(configuration, delegation)).unwrap_or_default();
        Self { name: kernel.name.clone(), release: kernel.release, delegation, grant, shown, proved: None }
    }

    /// Whether a token can be made.
    pub fn makes_token(&self) -> bool {
        self.grant.makes_token()
    }
}

/// The options as the kernel shows them (`bpf_show_options` in `kernel/bpf/inode.c`); empty for one it does not show.
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

/// The options of a kernel in one line, `cmds=… maps=…`; a word that says so if there is none.
fn options(shown: &[String; 4]) -> String {
    let set = Kind::ALL.iter().zip(shown).filter(|(_, names)| !names.is_empty());
    let texts: Vec<String> = set.map(|(kind, names)| format!("{}={names}", kind.plural())).collect();
    if texts.is_empty() { "nothing".to_owned() } else { texts.join(" ") }
}
