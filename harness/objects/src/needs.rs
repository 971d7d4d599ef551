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
    loading::{Kernel, LibbpfSequence, LoadInput, LoadRequest, Necessity, RequestOwner, every},
    note::Note,
    object::Object,
    program::BtfReason,
};
pub(crate) use model::PermissionModel;
pub use obstacle::{Known, Obstacle};
pub use release::LeastRelease;

/// What objects need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    /// The least grant under which all objects load: without any one element of it, one of them does not. Each with
    /// what needs it, at most [`MOST_REASONS`] of them.
    pub elements: BTreeMap<Element, Vec<Reason>>,
    /// What is needed besides to attach the programs once they are loaded.
    pub attaching: BTreeMap<Element, Vec<Reason>>,
    /// What no grant gives.
    pub undelegable: Vec<Undelegable>,
    /// What libbpf goes without under exactly this grant, without a word.
    pub losses: Vec<Loss>,
    /// The first release whose kernel takes all of it; `None` if none is known to.
    pub least_release: Option<LeastRelease>,
    /// What else is to be said, with the object it is about.
    pub notes: Vec<(Arc<str>, Note)>,
}

/// An element has at most this many reasons.
pub const MOST_REASONS: usize = 32;

/// What an element is needed for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason {
    /// The object.
    pub object: Arc<str>,
    /// What of it.
    pub by: RequestOwner,
    /// Why the kernel asks.
    pub why: Justification,
}

/// Something that no grant gives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Undelegable {
    /// The object.
    pub object: Arc<str>,
    /// What of it.
    pub by: RequestOwner,
    /// What is in the way.
    pub obstacle: Obstacle,
}

/// Something that libbpf goes without, and says nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Loss {
    /// The object.
    pub object: Arc<str>,
    /// What is lost.
    pub feature: Feature,
    /// What would keep it, besides the grant; empty if nothing does.
    pub kept_by: BTreeSet<Element>,
}

/// Finds the least grant under which all these objects load, each in a run of libbpf of its own.
///
/// Where one of several requests has to be allowed, the choice is always the same: a filter of sockets for the probe of
/// loading unless a program for a tracepoint is there anyway, and no attach type where libbpf may leave it out, unless
/// what it finds that out by is needed anyway.
pub fn needs(objects: &[(String, Object)], kernel: Kernel<'_>) -> Needs {
    let mut judge = PermissionModel::new(kernel);
    let subjects = objects.iter().map(|(name, object)| (Arc::from(name.as_str()), LoadInput::new(object, kernel)));
    let objects: Vec<(Arc<str>, LoadInput<'_>)> = subjects.collect();
    let mut elements = judge.candidates(&objects);
    // What was needed only for something that went after it goes in the next round.
    loop {
        let before = elements.len();
        for element in elements.clone() {
            let less: Vec<Element> = elements.iter().copied().filter(|one| *one != element).collect();
            if judge.all_load(&objects, &less) {
                elements = less;
            }
        }
        if elements.len() == before {
            break;
        }
    }
    told(&mut judge, &objects, &elements)
}

/// What is to be told of the objects under a grant.
fn told(judge: &mut PermissionModel<'_>, objects: &[(Arc<str>, LoadInput<'_>)], elements: &[Element]) -> Needs {
    let grant = Grant::of(elements.iter().copied());
    let mut needs = Needs {
        elements: elements.iter().map(|element| (*element, Vec::new())).collect(),
        attaching: BTreeMap::new(),
        undelegable: Vec::new(),
        losses: Vec::new(),
        least_release: None,
        notes: Vec::new(),
    };
    let mut least = release::Least::default();
    for (name, object) in objects {
        let requests = judge.course(object, &grant);
        for (asked, allowed) in &requests {
            needs.take(judge, name, asked, *allowed, &grant);
            if !matches!(asked.must, Necessity::Improves(_)) && *allowed {
                least.take(&asked.request);
            }
        }
        needs.notes.extend(notes(object.object, judge.has_types()).map(|note| (name.clone(), note)));
    }
    needs.least_release = least.found();
    needs.undelegable.sort();
    needs.undelegable.dedup();
    needs.losses.sort();
    needs.losses.dedup_by(|one, other| (&one.object, one.feature) == (&other.object, other.feature));
    needs
}

impl Needs {
    fn take(
        &mut self,
        judge: &mut PermissionModel<'_>,
        object: &Arc<str>,
        asked: &LoadRequest,
        allowed: bool,
        grant: &Grant,
    ) {
        let requirement = judge.requirement(&asked.request);
        let lacking = grant.lacks(&requirement, judge.release());
        match asked.must {
            Necessity::Improves(feature) if !allowed => {
                let kept_by = match asked.handed {
                    TokenUse::Token if lacking.undelegable.is_empty() => lacking.missing.into_keys().collect(),
                    _ => BTreeSet::new(),
                };
                self.losses.push(Loss { object: object.clone(), feature, kept_by });
            }
            Necessity::Improves(_) => {}
            Necessity::Attaches => {
                for (element, whys) in lacking.missing {
                    add(self.attaching.entry(element).or_default(), object, &asked.by, whys);
                }
                self.obstacles(judge, object, asked);
            }
            Necessity::Always | Necessity::OneOf(_) if allowed => {
                for (bit, why) in &requirement.bits {
                    self.reason(Element::Bit(*bit), object, &asked.by, [*why]);
                }
                for (capability, whys) in &requirement.capabilities {
                    self.reason(Element::Capability(*capability), object, &asked.by, whys.iter().copied());
                }
                self.obstacles(judge, object, asked);
            }
            Necessity::Always | Necessity::OneOf(_) => {}
        }
    }

    /// Notes why an element is there. `CAP_SYS_ADMIN` stands for others, which then have no place.
    fn reason(
        &mut self,
        element: Element,
        object: &Arc<str>,
        by: &RequestOwner,
        whys: impl IntoIterator<Item = Justification>,
    ) {
        let standing = Element::Capability(Capability::SysAdmin);
        let element = if self.elements.contains_key(&element) { element } else { standing };
        if let Some(reasons) = self.elements.get_mut(&element) {
            add(reasons, object, by, whys);
        }
    }

    fn obstacles(&mut self, judge: &mut PermissionModel<'_>, object: &Arc<str>, asked: &LoadRequest) {
        for obstacle in judge.obstacles(asked) {
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

/// The notes of an object, with what only the verifier can tell. Places of members are exact if the kernel's types are
/// known.
fn notes(object: &Object, has_types: bool) -> impl Iterator<Item = Note> + '_ {
    let is_doubtful = |program: &&crate::program::Program| {
        let asks = program.prog_type.map(model::takes_perfmon).unwrap_or(true);
        program.autoload && !asks
    };
    let programs = object.programs.iter().filter(is_doubtful).count();
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
    /// All that any course asks for, in the order in which it is tried to do without: first what only improves, then
    /// what stands beside something else.
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
                // What no mask has room for is an obstacle, and no element.
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

    /// All requests of a course, with what they are answered.
    fn course(&mut self, object: &LoadInput<'_>, grant: &Grant) -> Vec<(LoadRequest, bool)> {
        let mut requests = Vec::new();
        let mut answer = |asked: LoadRequest| {
            let allowed = self.allows(&asked, grant);
            requests.push((asked, allowed));
            allowed
        };
        // Under the least grant it loads; if nothing makes it, what was asked until then is told.
        let _ = LibbpfSequence::new(object, &mut answer).run();
        requests
    }
}
