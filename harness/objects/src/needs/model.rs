//! The kernel's answers, as the reference model predicts them.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use harness_uapi::{
    names,
    permission::{Capability, Grant, Request, Requirement, may_know, requirement},
    release::Release,
};

use super::{
    obstacle::{Known, Obstacle},
    release,
};
use crate::{
    feature::TokenUse,
    loading::{Kernel, LoadRequest, Necessity},
};

/// A kernel's answers. Requirements are computed once per request.
pub(crate) struct PermissionModel<'k> {
    kernel: Kernel<'k>,
    requirements: BTreeMap<Request, Rc<Requirement>>,
}

impl<'k> PermissionModel<'k> {
    pub(crate) fn new(kernel: Kernel<'k>) -> Self {
        Self { kernel, requirements: BTreeMap::new() }
    }

    pub(crate) fn release(&self) -> Release {
        self.kernel.release
    }

    pub(crate) fn has_types(&self) -> bool {
        self.kernel.types.is_some()
    }

    pub(crate) fn requirement(&mut self, request: &Request) -> Rc<Requirement> {
        if let Some(known) = self.requirements.get(request) {
            return known.clone();
        }
        let found = Rc::new(requirement(request, self.kernel.release));
        self.requirements.insert(request.clone(), found.clone());
        found
    }

    /// Whether a request is allowed. [`Self::obstacles`] reports what no grant can provide; here, obstacles only make
    /// probes fail.
    pub(crate) fn allows(&mut self, asked: &LoadRequest, grant: &Grant) -> bool {
        let improves = matches!(asked.must, Necessity::Improves(_));
        if improves && !self.obstacles(asked).is_empty() {
            return false;
        }
        if asked.handed == TokenUse::NoToken {
            return true;
        }
        let needed = self.requirement(&asked.request);
        let has_token = asked.request != Request::TokenCreate || grant.makes_token();
        has_token
            && needed.bits.keys().all(|bit| bit.number >= 64 || grant.has_bit(*bit))
            && needed.capabilities.keys().all(|capability| grant.is_capable(*capability))
    }

    /// What no grant can provide for a request.
    pub(crate) fn obstacles(&mut self, asked: &LoadRequest) -> BTreeSet<Obstacle> {
        let needed = self.requirement(&asked.request);
        let mut obstacles = BTreeSet::new();
        for (capability, whys) in &needed.undelegable {
            obstacles.extend(whys.iter().map(|why| Obstacle::Capability(*capability, *why)));
        }
        match asked.handed {
            TokenUse::Token => {}
            TokenUse::NoToken => drop(obstacles.insert(Obstacle::NoToken(Capability::Bpf))),
            TokenUse::Unsupported(loader) => drop(obstacles.insert(Obstacle::Loader(loader))),
        }
        if asked.request == Request::TokenCreate && self.kernel.release < harness_uapi::permission::FIRST_RELEASE {
            obstacles.insert(Obstacle::NoTokens);
        }
        let types = release::types(&asked.request).into_iter().filter(|bit| !may_know(*bit, self.kernel.release));
        obstacles.extend(
            types.map(|bit| Obstacle::Unknown(bit, names::entry(bit.kind, bit.number).map(|entry| Known(entry.first)))),
        );
        obstacles
    }
}

/// Whether loading a program of this type requires `CAP_PERFMON`.
pub(crate) fn requires_perfmon(prog_type: u32) -> bool {
    let request = Request::ProgLoad { prog_type, expected_attach_type: 0, uses: BTreeSet::new() };
    requirement(&request, harness_uapi::permission::FIRST_RELEASE).capabilities.contains_key(&Capability::Perfmon)
}
