//! The sequence of requests that loading an object takes, depending on the answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use harness_uapi::{
    names,
    permission::{MapTrait, PerfEvent, Request, Use},
    vocabulary::Kind,
};

use super::{
    input::{LoadInput, has_old_reads, keeps_for_objects},
    request::{LoadRequest, Necessity, RequestOwner},
};
use crate::{
    feature::{Feature, TokenUse, program},
    helper::HELPERS,
    loader::Library,
    map::Map,
    program::{AttachWay, BtfReason, ExpectedAttach, Program, ProgramTarget},
};

/// The group of [`Necessity::OneOf`] for the probe of loading; groups of programs follow it.
const LOADING: usize = 0;
/// `BPF_F_ZERO_SEED` (`include/uapi/linux/bpf.h`).
const ZERO_SEED: u32 = 1 << 6;

/// The load of one object.
pub(crate) struct LibbpfSequence<'a> {
    input: &'a LoadInput<'a>,
    answer: &'a mut dyn FnMut(LoadRequest) -> bool,
    /// Whether requests that libbpf would make only after other answers are made too.
    alternatives: bool,
    features: BTreeMap<Feature, bool>,
    has_btf: bool,
}

/// The result of a step; on error, the request that was refused or whose prerequisite is missing.
pub(crate) type StepResult = Result<(), RequestOwner>;

impl<'a> LibbpfSequence<'a> {
    pub(crate) fn new(input: &'a LoadInput<'a>, answer: &'a mut dyn FnMut(LoadRequest) -> bool) -> Self {
        Self { input, answer, alternatives: false, features: BTreeMap::new(), has_btf: false }
    }

    pub(crate) fn with_alternatives(mut self) -> Self {
        self.alternatives = true;
        self
    }

    /// Loads the object, and attaches the programs that libbpf attaches.
    pub(crate) fn run(mut self) -> StepResult {
        self.token()?;
        if self.is_libbpf() {
            self.probe_loading()?;
            self.prepare();
        }
        self.types()?;
        let input = self.input;
        for map in &input.object.maps {
            self.map(map)?;
        }
        if input.reads_kernel {
            self.feature(Feature::ReadsOfKernel, input.needs_reads);
        }
        for (number, program) in input.programs.iter().enumerate() {
            self.program(LOADING + 1 + number, program)?;
        }
        input.programs.iter().for_each(|program| self.attach(program));
        Ok(())
    }

    fn is_libbpf(&self) -> bool {
        self.input.object.loader.library == Library::Libbpf
    }

    fn token(&mut self) -> StepResult {
        let loader = self.input.object.loader;
        let handed = if loader.passes_tokens() { TokenUse::Token } else { TokenUse::Unsupported(loader) };
        let (request, by, must) = (Request::TokenCreate, RequestOwner::Token, Necessity::Always);
        let allowed = (self.answer)(LoadRequest { request, by, must, handed });
        if allowed { Ok(()) } else { Err(RequestOwner::Token) }
    }

    fn ask(&mut self, request: Request, by: RequestOwner, must: Necessity) -> bool {
        (self.answer)(LoadRequest { request, by, must, handed: TokenUse::Token })
    }

    fn must(&mut self, request: Request, by: RequestOwner) -> StepResult {
        if self.ask(request, by.clone(), Necessity::Always) { Ok(()) } else { Err(by) }
    }

    /// Probes whether any program loads: a socket filter, or else a tracepoint program (`bpf_object__probe_loading`).
    fn probe_loading(&mut self) -> StepResult {
        let mut try_one = |prog_type| {
            self.ask(program(prog_type, None, []), RequestOwner::ProbeOfLoading, Necessity::OneOf(LOADING))
                && !self.alternatives
        };
        let loads = try_one("socket_filter") || try_one("tracepoint") || self.alternatives;
        if loads { Ok(()) } else { Err(RequestOwner::ProbeOfLoading) }
    }

    /// Whether a feature is found; it is probed once. `is_needed`: the object does not load without it.
    fn feature(&mut self, feature: Feature, is_needed: bool) -> bool {
        if let Some(known) = self.features.get(&feature) {
            return *known;
        }
        if feature.is_named() {
            self.names();
        }
        let (handed, requests) = feature.requests(self.input.object.loader);
        let must = if is_needed { Necessity::Always } else { Necessity::Improves(feature) };
        // The first refusal ends a probe.
        let allowed = requests
            .into_iter()
            .all(|request| (self.answer)(LoadRequest { request, by: RequestOwner::Probe(feature), must, handed }));
        self.features.insert(feature, allowed);
        allowed
    }

    /// Probes whether objects may have names. cilium/ebpf takes EPERM for a yes (`haveObjName` in its `syscalls.go`).
    fn names(&mut self) {
        if self.input.object.loader.library != Library::CiliumEbpf {
            self.feature(Feature::Names, false);
        }
    }

    /// Probes features before the object's BTF is loaded.
    fn prepare(&mut self) {
        let object = self.input.object;
        if object.kconfig.iter().any(|name| name == "LINUX_HAS_BPF_COOKIE") {
            self.feature(Feature::Cookies, false);
        }
        if object.maps.iter().any(Map::is_data) {
            self.feature(Feature::MappedData, false);
        }
        if object.has_arena() {
            self.feature(Feature::LongOffsets, false);
        }
        if let Some(btf) = object.btf {
            let has_functions = self.feature(Feature::FunctionTypes, self.input.needs_btf);
            if has_functions && btf.functions && !self.input.programs.is_empty() {
                self.feature(Feature::ContextArguments, false);
            }
        }
    }

    /// Loads the object's BTF (`bpf_object__sanitize_and_load_btf`).
    fn types(&mut self) -> StepResult {
        if self.input.object.btf.is_none() {
            return Ok(());
        }
        let is_needed = self.input.needs_btf;
        let must = if is_needed { Necessity::Always } else { Necessity::Improves(Feature::Types) };
        self.has_btf = self.feature(Feature::Types, is_needed) && self.ask(Request::BtfLoad, RequestOwner::Btf, must);
        if self.input.object.has_operations() && !self.has_btf { Err(RequestOwner::Btf) } else { Ok(()) }
    }

    /// Creates a map. A data map that libbpf leaves out after a failed probe counts as refused: the object would load
    /// without its constants and variables if no program refers to them.
    fn map(&mut self, map: &Map) -> StepResult {
        let is_probed = map.is_data() && self.input.object.loader.library != Library::CiliumEbpf;
        if is_probed && !self.feature(Feature::GlobalData, true) {
            return Err(RequestOwner::Map(map.name.as_str().into()));
        }
        if !map.autocreate {
            return Ok(());
        }
        self.names();
        let owner = RequestOwner::Map(map.name.as_str().into());
        for one in map.inner.as_deref().into_iter().chain([map]) {
            if keeps_for_objects(one.map_type) && !self.has_btf {
                return Err(owner);
            }
            self.must(self.creation(one), owner.clone())?;
        }
        Ok(())
    }

    fn creation(&self, map: &Map) -> Request {
        let mut traits = BTreeSet::new();
        traits.extend((self.has_btf && !map.special_fields.is_empty()).then_some(MapTrait::SpecialFields));
        traits.extend((map.flags & ZERO_SEED != 0).then_some(MapTrait::ZeroSeed));
        Request::MapCreate { map_type: map.map_type, traits }
    }

    fn program(&mut self, group: usize, program: &Program) -> StepResult {
        let owner = RequestOwner::Program(Arc::from(program.name.as_str()));
        let lacks_types = !program.needs_btf.is_empty() && !self.has_btf;
        let uses_old_reads = self.features.get(&Feature::ReadsOfKernel) == Some(&false);
        let lacks_reads = uses_old_reads && !has_old_reads(program) && replaced(&program.helpers).next().is_some();
        if lacks_types || lacks_reads {
            return Err(owner);
        }
        if program.has_jump_table && self.is_libbpf() {
            let map_type = names::number(Kind::Map, "insn_array").unwrap_or_default();
            let request = Request::MapCreate { map_type, traits: BTreeSet::new() };
            (self.answer)(LoadRequest {
                request,
                by: owner.clone(),
                must: Necessity::Always,
                handed: TokenUse::NoToken,
            });
        }
        self.names();
        if program.needs_btf.contains(&BtfReason::Extension) {
            self.target_types(owner.clone())?;
        }
        self.load(group, program, owner)?;
        if self.input.has_constants && self.is_libbpf() {
            self.feature(Feature::BoundMaps, false);
        }
        Ok(())
    }

    /// Gets the BTF of the program to replace; cilium/ebpf passes the token only to commands that create something
    /// (`tokenAttr` in its `internal/sys/token.go`).
    fn target_types(&mut self, by: RequestOwner) -> StepResult {
        let handed = if self.is_libbpf() { TokenUse::Token } else { TokenUse::NoToken };
        let (request, must) = (Request::BtfGetFdById, Necessity::Always);
        if (self.answer)(LoadRequest { request, by: by.clone(), must, handed }) { Ok(()) } else { Err(by) }
    }

    /// Loads a program with the attach type that follows from the answers so far.
    fn load(&mut self, group: usize, program: &Program, owner: RequestOwner) -> StepResult {
        let uses = self.uses(program);
        let prog_type = program.prog_type.unwrap_or_default();
        let request = |expected_attach_type| Request::ProgLoad { prog_type, expected_attach_type, uses: uses.clone() };
        let (first, second) = match self.attach_types(program) {
            (one, Some(other)) if one != other => (one, other),
            (one, _) => return self.must(request(one), owner),
        };
        let (feature, must) = (optional_feature(program), Necessity::OneOf(group));
        let has = self.feature(feature, false);
        if self.alternatives {
            self.ask(request(first), owner.clone(), must);
            self.ask(request(second), owner, must);
            return Ok(());
        }
        let chosen = if has { first } else { second };
        if self.ask(request(chosen), owner.clone(), must) { Ok(()) } else { Err(owner) }
    }

    /// The attach type, and the one that libbpf uses instead if a probe fails.
    fn attach_types(&self, program: &Program) -> (u32, Option<u32>) {
        if is_usdt(program) && self.is_libbpf() {
            return (names::number(Kind::Attach, "trace_uprobe_multi").unwrap_or_default(), Some(0));
        }
        match (program.attach_type, &program.target) {
            (_, Some(ProgramTarget::Member { structure, member, index })) => {
                (self.input.member_index(structure, member).unwrap_or(*index), None)
            }
            (ExpectedAttach::None, _) => (0, None),
            (ExpectedAttach::Optional(number), _) => (number, Some(0)),
            (ExpectedAttach::Required(number), _) => (number, None),
        }
    }

    /// What a program does after libbpf has replaced helpers that seem missing.
    fn uses(&self, program: &Program) -> BTreeSet<Use> {
        let mut uses = program.uses.clone();
        if self.features.get(&Feature::ReadsOfKernel) == Some(&false) {
            for (helper, instead) in replaced(&program.helpers) {
                uses.remove(&Use::Helper(helper));
                uses.insert(Use::Helper(instead));
            }
        }
        uses
    }

    fn attach(&mut self, program: &Program) {
        let owner = RequestOwner::Attach(Arc::from(program.name.as_str()));
        let by_link =
            is_usdt(program) && self.is_libbpf() && self.features.get(&Feature::UserProbeLinks) == Some(&true);
        match program.attaches_by {
            AttachWay::PerfEvent => {
                self.ask(Request::PerfEventOpen { event: PerfEvent::Kernel }, owner, Necessity::Attaches);
            }
            AttachWay::UserProbe if !by_link || self.alternatives => {
                self.ask(Request::PerfEventOpen { event: PerfEvent::UserProbe }, owner, Necessity::Attaches);
            }
            AttachWay::Cgroup => {
                let prog_type = program.prog_type.unwrap_or_default();
                self.ask(Request::Attach { prog_type }, owner, Necessity::Attaches);
            }
            _ => {}
        }
    }
}

fn replaced(helpers: &BTreeSet<u32>) -> impl Iterator<Item = (u32, u32)> {
    HELPERS.replaced.into_iter().filter(|(helper, _)| helpers.contains(helper))
}

fn is_usdt(program: &Program) -> bool {
    let stem = program.section.split('/').next().unwrap_or_default();
    matches!(stem, "usdt" | "usdt.s")
}

/// The feature that libbpf probes before it passes an optional attach type.
fn optional_feature(program: &Program) -> Feature {
    if is_usdt(program) { Feature::UserProbeLinks } else { Feature::ExpectedAttachTypes }
}
