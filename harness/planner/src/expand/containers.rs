//! The containers of a case.

use std::collections::BTreeMap;

use harness_diagnostics::{
    node::KeyPath,
    suggest::{did_you_mean, one_of},
};
use harness_protocol::{
    mount_option::MountOption,
    name::ContainerName,
    plan::{self, Actor, Assignment, Namespace},
};
use harness_scenario::{
    choice::Capabilities,
    spec::{ContainerSpec, Spec},
};
use harness_uapi::resolver::NameResolver;

use crate::expand::{capabilities, delegation, problems::Problems, restrictions, unit};

/// The container that is meant when none is named.
pub(crate) const DEFAULT: &str = "container";
/// Full root outside of all containers.
pub(crate) const HOST: &str = "host";

#[derive(Debug)]
struct ContainerEntry {
    spec: ContainerSpec,
    caps: Vec<u32>,
    options: Vec<MountOption>,
    restrictions: plan::Restrictions,
    unit: Option<plan::Unit>,
    /// Whether it is written in the file or mentioned by an attempt.
    used: bool,
    /// Whether an attempt hands over the token it made while it was set up.
    token: bool,
}

/// All containers by name.
#[derive(Debug)]
pub(crate) struct Containers(BTreeMap<ContainerName, ContainerEntry>);

impl Containers {
    /// The containers a scenario describes.
    pub(crate) fn of(spec: &Spec, resolver: &NameResolver<'_>, problems: &mut Problems<'_>) -> Self {
        let root = KeyPath::default();
        let options = delegation::options(&spec.delegate, &root.key("delegate"), resolver, problems);
        let used = spec.container.is_some() || !options.is_empty();
        let default = spec.container.clone().unwrap_or_default();
        let mut members = BTreeMap::new();
        if let Ok(name) = DEFAULT.parse() {
            let unit_file = spec.unit_file.as_slice();
            members.insert(name, member(default, options, used, &root.key(DEFAULT), (resolver, unit_file), problems));
        }
        for (name, container) in &spec.containers {
            let key_path = root.key("containers").key(name);
            let Some(parsed) = container_name(name, &key_path, problems) else { continue };
            let options = delegation::options(&container.delegate, &key_path.key("delegate"), resolver, problems);
            members.insert(parsed, member(container.container(), options, true, &key_path, (resolver, &[]), problems));
        }
        let mut containers = Self(members);
        containers.check_parents(problems);
        containers
    }

    /// The actor of this name; marks its container as used.
    pub(crate) fn actor(
        &mut self,
        name: Option<&str>,
        key_path: &KeyPath,
        problems: &mut Problems<'_>,
    ) -> Option<Actor> {
        let name = name.unwrap_or(DEFAULT);
        if name == HOST {
            return Some(Actor::Host);
        }
        let key = self.0.keys().find(|key| key.as_str() == name).cloned();
        match &key {
            Some(key) => self.mark(key, |member| member.used = true),
            None => {
                let names = || self.0.keys().map(ContainerName::as_str).chain([HOST]);
                let advice = did_you_mean(name, names()).unwrap_or_else(|| one_of(names()));
                problems.advise(key_path, format!("there is no container `{}`", name.escape_debug()), advice);
            }
        }
        key.map(Actor::Container)
    }

    /// Whether anything is delegated to this actor's bpffs.
    pub(crate) fn delegates(&self, actor: &Actor) -> bool {
        self.member(actor).is_some_and(|member| !member.options.is_empty() || member.unit.is_some())
    }

    /// Whether the actor is a unit of systemd.
    pub(crate) fn is_unit(&self, actor: &Actor) -> bool {
        self.member(actor).is_some_and(|member| member.unit.is_some())
    }

    /// Whether the actor has a capability, by its number, in its user namespace.
    pub(crate) fn has_cap(&self, actor: &Actor, number: u32) -> bool {
        self.member(actor).is_none_or(|member| member.caps.contains(&number))
    }

    /// Whose bpffs an actor pins in: its own, or that of the container it is a process of.
    pub(crate) fn owner_of_bpffs(&self, actor: &Actor) -> Actor {
        match (actor, self.member(actor)) {
            (Actor::Container(name), Some(member)) if !member.spec.unshare => {
                self.parent_of(name).map_or(Actor::Host, |parent| Actor::Container(parent.clone()))
            }
            _ => actor.clone(),
        }
    }

    /// Whether another container is made inside this one.
    pub(crate) fn is_parent(&self, actor: &Actor) -> bool {
        let Actor::Container(name) = actor else { return false };
        self.0.keys().any(|other| self.parent_of(other) == Some(name))
    }

    /// Has this container make a token while it is set up.
    pub(crate) fn needs_token(&mut self, name: &ContainerName) {
        self.mark(name, |member| member.token = true);
    }

    /// Whether the actor has a network namespace of its own, or one of a container it is in. `host` gets one wherever an
    /// interface is a target.
    pub(crate) fn has_own_network(&self, actor: &Actor) -> bool {
        let Actor::Container(name) = actor else { return true };
        self.lineage(name).any(|member| member.spec.namespaces.contains(&Namespace::Net))
    }

    /// The containers that are used, parents before their children.
    pub(crate) fn into_plan(mut self) -> Vec<plan::Container> {
        let used: Vec<ContainerName> = self.0.iter().filter(|(_, m)| m.used).map(|(name, _)| name.clone()).collect();
        let parents: Vec<ContainerName> = used.iter().flat_map(|name| self.ancestors(name)).collect();
        parents.iter().for_each(|name| self.mark(name, |member| member.used = true));
        let mut depths: Vec<(usize, &ContainerName)> =
            self.0.iter().filter(|(_, m)| m.used).map(|(name, _)| (self.ancestors(name).len(), name)).collect();
        depths.sort();
        depths.into_iter().filter_map(|(_, name)| Some(planned(name, self.0.get(name)?))).collect()
    }

    fn member(&self, actor: &Actor) -> Option<&ContainerEntry> {
        match actor {
            Actor::Host => None,
            Actor::Container(name) => self.0.get(name),
        }
    }

    fn mark(&mut self, name: &ContainerName, change: impl FnOnce(&mut ContainerEntry)) {
        if let Some(member) = self.0.get_mut(name) {
            change(member);
        }
    }

    fn parent_of(&self, name: &ContainerName) -> Option<&ContainerName> {
        let parent = self.0.get(name)?.spec.parent.as_deref()?;
        self.0.keys().find(|key| key.as_str() == parent)
    }

    /// Parent, its parent, and so on; a circle is followed once.
    fn ancestors(&self, name: &ContainerName) -> Vec<ContainerName> {
        let chain = std::iter::successors(self.parent_of(name), |name| self.parent_of(name));
        chain.take(self.0.len()).cloned().collect()
    }

    fn lineage(&self, name: &ContainerName) -> impl Iterator<Item = &ContainerEntry> {
        let names = std::iter::once(name.clone()).chain(self.ancestors(name));
        names.filter_map(|name| self.0.get(&name))
    }

    fn check_parents(&mut self, problems: &mut Problems<'_>) {
        for (name, member) in &self.0 {
            let Some(parent) = &member.spec.parent else { continue };
            let key_path = place_of(name).key("parent");
            if self.parent_of(name).is_none() {
                let others = || self.0.keys().filter(|other| *other != name).map(ContainerName::as_str);
                let advice = did_you_mean(parent, others()).unwrap_or_else(|| one_of(others()));
                problems.advise(&key_path, format!("there is no container `{}`", parent.escape_debug()), advice);
            } else if self.ancestors(name).contains(name) {
                problems.problem(&key_path, format!("`{name}` would be inside itself"));
            } else if self
                .ancestors(name)
                .iter()
                .any(|outer| self.0.get(outer).is_some_and(|outer| !outer.spec.unshare))
            {
                problems.problem(&key_path, "it has no namespaces of its own that anything could be made in");
            }
        }
    }
}

/// Where a container is described.
fn place_of(name: &ContainerName) -> KeyPath {
    match name.as_str() {
        DEFAULT => KeyPath::default().key(DEFAULT),
        named => KeyPath::default().key("containers").key(named),
    }
}

fn container_name(text: &str, key_path: &KeyPath, problems: &mut Problems<'_>) -> Option<ContainerName> {
    match (text, text.parse()) {
        (DEFAULT, _) => problems.advise(key_path, format!("`{DEFAULT}` is described elsewhere"), "write `[container]`"),
        (HOST, _) => problems.problem(key_path, format!("`{HOST}` is full root outside of all containers")),
        (_, Ok(name)) => return Some(name),
        (_, Err(error)) => problems.problem(key_path, error.to_string()),
    }
    None
}

fn member(
    spec: ContainerSpec,
    options: Vec<MountOption>,
    used: bool,
    key_path: &KeyPath,
    (resolver, unit_file): (&NameResolver<'_>, &[Vec<Assignment>]),
    problems: &mut Problems<'_>,
) -> ContainerEntry {
    for (index, namespace) in spec.namespaces.iter().enumerate() {
        if spec.namespaces[..index].contains(namespace) {
            problems.problem(&key_path.key("namespaces").index(index), "this namespace is listed twice");
        }
    }
    if !spec.unshare {
        check_process(&spec, &options, key_path, problems);
    }
    let caps = capabilities::of(&spec.caps, &key_path.key("caps"), problems);
    let restrictions = restrictions::of(&spec, key_path, resolver, problems);
    let unit = unit::of(&spec, unit_file, &options, key_path, problems);
    ContainerEntry { caps, spec, options, restrictions, unit, used, token: false }
}

/// What a process without namespaces of its own cannot have.
fn check_process(spec: &ContainerSpec, options: &[MountOption], key_path: &KeyPath, problems: &mut Problems<'_>) {
    const WHY: &str = "with `unshare = false` it has no namespaces and no bpffs of its own";
    if !spec.namespaces.is_empty() {
        problems.advise(&key_path.key("namespaces"), "namespaces of its own are asked for and refused", WHY);
    }
    if !options.is_empty() {
        problems.advise(&key_path.key("unshare"), "nothing can be delegated to it", WHY);
    }
    if spec.parent.is_none() && spec.caps == Capabilities::All {
        let message = "a process in the initial namespaces with every capability is `host`";
        problems.advise(&key_path.key("unshare"), message, "write which capabilities it has, such as `caps = []`");
    }
}

fn planned(name: &ContainerName, member: &ContainerEntry) -> plan::Container {
    plan::Container {
        name: name.clone(),
        parent: member.spec.parent.as_deref().and_then(|parent| parent.parse().ok()),
        uid: member.spec.uid,
        gid: member.spec.uid,
        namespaces: member.spec.namespaces.clone(),
        caps: member.caps.clone(),
        options: member.options.clone(),
        token: member.token,
        unshare: member.spec.unshare,
        restrictions: member.restrictions.clone(),
        unit: member.unit.clone(),
    }
}
