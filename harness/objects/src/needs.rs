//! The least grant under which objects load.

mod model;
mod obstacle;
mod release;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use harness_uapi::permission::{Capability, Element, Grant, Justification};

use crate::{
    feature::{Feature, TokenUse},
    loader::Loader,
    loading::{Kernel, LibbpfSequence, LoadInput, LoadRequest, Necessity, RequestOwner, every},
    note::Note,
    object::Object,
    program::BtfReason,
};
pub(crate) use model::PermissionModel;
pub use obstacle::{Known, Obstacle};
pub use release::LeastRelease;

/// What objects need of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    /// The least grant under which all objects load: without any one of its elements, some object does not. Each element
    /// has at most [`MOST_REASONS`] reasons.
    pub elements: BTreeMap<Element, Vec<Reason>>,
    /// Elements that are needed in addition to attach the programs once they are loaded.
    pub attaching: BTreeMap<Element, Vec<Reason>>,
    /// What no grant can provide.
    pub undelegable: Vec<Undelegable>,
    /// Features that the loader silently does without under exactly this grant.
    pub losses: Vec<Loss>,
    /// The first release whose kernel accepts everything; `None` if no release is known to.
    pub least_release: Option<LeastRelease>,
    /// Further notes, each with its object.
    pub notes: Vec<(Arc<str>, Note)>,
    /// Who loads the objects.
    pub loaders: BTreeSet<Loader>,
}

/// The most reasons that are kept for an element.
pub const MOST_REASONS: usize = 32;

/// Why an element is needed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason {
    /// The object.
    pub object: Arc<str>,
    /// The part of it.
    pub by: RequestOwner,
    /// Why the kernel requires it.
    pub why: Justification,
}

/// Something that no grant can provide.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Undelegable {
    /// The object.
    pub object: Arc<str>,
    /// The part of it.
    pub by: RequestOwner,
    /// What prevents it.
    pub obstacle: Obstacle,
}

/// A feature that the loader silently does without.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Loss {
    /// The object.
    pub object: Arc<str>,
    /// Who does without it.
    pub loader: Loader,
    /// The feature.
    pub feature: Feature,
    /// The elements that would restore it if they were added to the grant; empty if nothing does.
    pub kept_by: BTreeSet<Element>,
}

/// Finds the least grant under which all these objects load, each in its own run of its loader.
///
/// If one of several requests has to be allowed, the choice is deterministic: a socket filter for the probe of loading,
/// unless a tracepoint program is needed anyway; and no attach type where it is optional, unless what its probe requires
/// is needed anyway.
pub fn needs(objects: &[(String, Object)], kernel: Kernel<'_>) -> Needs {
    let mut model = PermissionModel::new(kernel);
    let inputs = objects.iter().map(|(name, object)| (Arc::from(name.as_str()), LoadInput::new(object, kernel)));
    let objects: Vec<(Arc<str>, LoadInput<'_>)> = inputs.collect();
    let mut elements = model.candidates(&objects);
    // An element that only a later removed one needed is removed in the next round.
    loop {
        let before = elements.len();
        for element in elements.clone() {
            let less: Vec<Element> = elements.iter().copied().filter(|one| *one != element).collect();
            if model.all_load(&objects, &less) {
                elements = less;
            }
        }
        if elements.len() == before {
            break;
        }
    }
    summary(&mut model, &objects, &elements)
}

/// What the objects need and lose under a grant.
fn summary(model: &mut PermissionModel<'_>, objects: &[(Arc<str>, LoadInput<'_>)], elements: &[Element]) -> Needs {
    let grant = Grant::of(elements.iter().copied());
    let mut needs = Needs {
        elements: elements.iter().map(|element| (*element, Vec::new())).collect(),
        attaching: BTreeMap::new(),
        undelegable: Vec::new(),
        losses: Vec::new(),
        least_release: None,
        notes: Vec::new(),
        loaders: objects.iter().map(|(_, object)| object.object.loader).collect(),
    };
    let mut least = release::Least::default();
    for (name, object) in objects {
        let requests = model.answers(object, &grant);
        for (asked, allowed) in &requests {
            needs.take(model, (name, object.object.loader), asked, *allowed, &grant);
            if !matches!(asked.must, Necessity::Improves(_)) && *allowed {
                least.take(&asked.request);
            }
        }
        needs.notes.extend(notes(object.object, model.has_types()).map(|note| (name.clone(), note)));
    }
    needs.least_release = least.found();
    needs.undelegable.sort();
    needs.undelegable.dedup();
    needs.losses.sort();
    needs.losses.dedup_by(|one, other| (&one.object, one.feature) == (&other.object, other.feature));
    needs
}

impl Needs {
    /// Whether no grant makes all the objects load. What only attaches or improves an object does not prevent that.
    pub fn never_load(&self) -> bool {
        let prevents = |what: &Undelegable| !matches!(what.by, RequestOwner::Attach(_) | RequestOwner::Probe(_));
        self.undelegable.iter().any(prevents) || self.notes.iter().any(|(_, note)| note.prevents_opening())
    }

    fn take(
        &mut self,
        model: &mut PermissionModel<'_>,
        (object, loader): (&Arc<str>, Loader),
        asked: &LoadRequest,
        allowed: bool,
        grant: &Grant,
    ) {
        let requirement = model.requirement(&asked.request);
        let lacking = grant.lacks(&requirement, model.release());
        match asked.must {
            Necessity::Improves(feature) if !allowed => {
                let kept_by = match asked.handed {
                    TokenUse::Token if lacking.undelegable.is_empty() && lacking.unknown.is_empty() => {
                        lacking.missing.into_keys().collect()
                    }
                    _ => BTreeSet::new(),
                };
                self.losses.push(Loss { object: object.clone(), loader, feature, kept_by });
            }
            Necessity::Improves(_) => {}
            Necessity::Attaches => {
                for (element, whys) in lacking.missing {
                    add(self.attaching.entry(element).or_default(), object, &asked.by, whys);
                }
                self.obstacles(model, object, asked);
            }
            Necessity::Always | Necessity::OneOf(_) if allowed => {
                for (bit, why) in &requirement.bits {
                    self.reason(Element::Bit(*bit), object, &asked.by, [*why]);
                }
                for (capability, whys) in &requirement.capabilities {
                    self.reason(Element::Capability(*capability), object, &asked.by, whys.iter().copied());
                }
                self.obstacles(model, object, asked);
            }
            Necessity::Always | Necessity::OneOf(_) => {}
        }
    }

    /// Records why an element is needed. An element that `CAP_SYS_ADMIN` replaced counts for `CAP_SYS_ADMIN`.
    fn reason(
        &mut self,
        element: Element,
        object: &Arc<str>,
        by: &RequestOwner,
        whys: impl IntoIterator<Item = Justification>,
    ) {
        let substitute = Element::Capability(Capability::SysAdmin);
        let element = if self.elements.contains_key(&element) { element } else { substitute };
        if let Some(reasons) = self.elements.get_mut(&element) {
            add(reasons, object, by, whys);
        }
    }

    fn obstacles(&mut self, model: &mut PermissionModel<'_>, object: &Arc<str>, asked: &LoadRequest) {
        for obstacle in model.obstacles(asked) {
            let found = Undelegable { object: object.clone(), by: asked.by.clone(), obstacle };
            self.undelegable.push(found);
        }
    }
}

fn add(reasons: &mut Vec<Reason>, object: &Arc<str>, by: &RequestOwner, whys: impl IntoIterator<Item = Justification>) {
    for why in whys {
        let reason = Reason { object: object.clone(), by: by.clone(), why };
        if reasons.len() < MOST_REASONS && !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
}

/// The notes of an object, with those that depend on the verifier. Member indexes are exact if the kernel's BTF is known.
fn notes(object: &Object, has_types: bool) -> impl Iterator<Item = Note> + '_ {
    let needs_verifier = |program: &&crate::program::Program| {
        let requires_perfmon = program.prog_type.map(model::requires_perfmon).unwrap_or(true);
        program.autoload && !requires_perfmon
    };
    let programs = object.programs.iter().filter(needs_verifier).count();
    let verifier = (programs > 0).then_some(Note::Verifier(programs));
    let own = object.notes.iter().filter(move |note| !(has_types && matches!(note, Note::OwnCount { .. })));
    let loaded = object.programs.iter().filter(|program| program.autoload && program.prog_type.is_some());
    let typed = loaded.flat_map(|program| {
        let note = |reason: &BtfReason| Note::NeedsTypes(program.name.clone(), *reason);
        program.needs_btf.iter().map(note)
    });
    own.cloned().chain(typed).chain(verifier)
}

impl PermissionModel<'_> {
    /// All elements that any load sequence requires, in the order in which removing them is tried: first those that only
    /// improve, then those with alternatives.
    fn candidates(&mut self, objects: &[(Arc<str>, LoadInput<'_>)]) -> Vec<Element> {
        let mut ranks: BTreeMap<Element, u8> = BTreeMap::new();
        for (_, object) in objects {
            for asked in every(object) {
                let rank = match asked.must {
                    Necessity::Always => 2,
                    Necessity::OneOf(_) => 1,
                    Necessity::Improves(_) => 0,
                    Necessity::Attaches => continue,
                };
                if asked.handed == TokenUse::NoToken {
                    continue;
                }
                let requirement = self.requirement(&asked.request);
                // A bit beyond the mask is an obstacle, not an element.
                let bits = requirement.bits.keys().filter(|bit| bit.number < 64).copied().map(Element::Bit);
                let capabilities = requirement.capabilities.keys().copied().map(Element::Capability);
                for element in bits.chain(capabilities) {
                    let known = ranks.entry(element).or_default();
                    *known = rank.max(*known);
                }
            }
        }
        let mut elements: Vec<(Element, u8)> = ranks.into_iter().collect();
        elements.sort_by_key(|(element, rank)| (*rank, matches!(element, Element::Capability(_)), Reverse(*element)));
        elements.into_iter().map(|(element, _)| element).collect()
    }

    fn all_load(&mut self, objects: &[(Arc<str>, LoadInput<'_>)], elements: &[Element]) -> bool {
        let grant = Grant::of(elements.iter().copied());
        objects.iter().all(|(_, object)| self.loads(object, &grant))
    }

    fn loads(&mut self, object: &LoadInput<'_>, grant: &Grant) -> bool {
        LibbpfSequence::new(object, &mut |asked| self.allows(&asked, grant)).run().is_ok()
    }

    /// All requests of a load sequence, with their answers.
    fn answers(&mut self, object: &LoadInput<'_>, grant: &Grant) -> Vec<(LoadRequest, bool)> {
        let mut requests = Vec::new();
        let mut answer = |asked: LoadRequest| {
            let allowed = self.allows(&asked, grant);
            requests.push((asked, allowed));
            allowed
        };
        // The object loads under the least grant; if it cannot load at all, the requests up to the failure are returned.
        let _ = LibbpfSequence::new(object, &mut answer).run();
        requests
    }
}
