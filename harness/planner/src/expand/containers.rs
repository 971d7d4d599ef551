//! Expands the containers of a case.

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
    spec::{ContainerSpec, Delegate, Spec},
};
use harness_uapi::resolver::NameResolver;

use crate::expand::{capabilities, delegation, problems::Problems, restrictions, unit};

/// The container that makes an attempt without `by`.
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
    /// Whether the file describes it or an attempt names it.
    used: bool,
    /// Whether an attempt uses the token that it creates during setup.
    token: bool,
    /// Whether `delegate` names anything, right or wrong.
    delegates: bool,
    /// Whether nothing about it is wrong. Otherwise it is assumed to have what an attempt needs.
    is_right: bool,
}

/// All containers by name.
#[derive(Debug)]
pub(crate) struct Containers(BTreeMap<ContainerName, ContainerEntry>);

impl Containers {
    /// Expands the containers that a scenario describes.
    pub(crate) fn of(spec: &Spec, resolver: &NameResolver<'_>, problems: &mut Problems<'_>) -> Self {
        let root = KeyPath::default();
        let mut entries = BTreeMap::new();
        if let Ok(name) = DEFAULT.parse() {
            let paths = ContainerPaths { container: root.key(DEFAULT), delegate: root.key("delegate") };
            let described = spec.container.clone().unwrap_or_default();
            let mut default = entry(described, &spec.delegate, &paths, (resolver, &spec.unit_file), problems);
            default.used = spec.container.is_some() || !default.options.is_empty();
            entries.insert(name, default);
        }
        for (name, container) in &spec.containers {
            let key_path = root.key("containers").key(name);
            let Some(parsed) = container_name(name, &key_path, problems) else { continue };
            let paths = ContainerPaths { delegate: key_path.key("delegate"), container: key_path };
            entries
                .insert(parsed, entry(container.container(), &container.delegate, &paths, (resolver, &[]), problems));
        }
        let mut containers = Self(entries);
        containers.check_parents(problems);
        containers
    }

    /// Returns the actor of this name, and marks its container as used.
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
            Some(key) => self.mark(key, |entry| entry.used = true),
            None if !problems.is_complete(&KeyPath::default().key("containers")) => {}
            None => {
                let names = || self.0.keys().map(ContainerName::as_str).chain([HOST]);
                let advice = did_you_mean(name, names()).unwrap_or_else(|| one_of(names()));
                problems.advise(key_path, format!("there is no container `{}`", name.escape_debug()), advice);
            }
        }
        key.map(Actor::Container)
    }

    /// Whether nothing is wrong about any container.
    pub(crate) fn are_right(&self) -> bool {
        self.0.values().all(|entry| entry.is_right)
    }

    /// Whether the actor's bpffs delegates anything.
    pub(crate) fn delegates(&self, actor: &Actor) -> bool {
        self.entry(actor).is_some_and(|entry| entry.delegates || entry.unit.is_some() || !entry.is_right)
    }

    /// Whether the actor is a unit of systemd.
    pub(crate) fn is_unit(&self, actor: &Actor) -> bool {
        self.entry(actor).is_some_and(|entry| entry.unit.is_some())
    }

    /// Whether the actor's process is root of its user namespace and forked by the guest, so that it keeps its capabilities when
    /// it executes a file.
    pub(crate) fn can_execute(&self, actor: &Actor) -> bool {
        self.entry(actor).is_none_or(|entry| entry.spec.unshare && entry.unit.is_none() || !entry.is_right)
    }

    /// Whether the actor has this capability in its user namespace.
    pub(crate) fn has_cap(&self, actor: &Actor, number: u32) -> bool {
        self.entry(actor).is_none_or(|entry| entry.caps.contains(&number) || !entry.is_right)
    }

    /// Returns the actor in whose bpffs this one pins: itself, or the container whose namespaces it shares.
    pub(crate) fn owner_of_bpffs(&self, actor: &Actor) -> Actor {
        match (actor, self.entry(actor)) {
            (Actor::Container(name), Some(entry)) if !entry.spec.unshare => {
                self.parent_of(name).map_or(Actor::Host, |parent| Actor::Container(parent.clone()))
            }
            _ => actor.clone(),
        }
    }

    /// Whether another container is inside this one.
    pub(crate) fn is_parent(&self, actor: &Actor) -> bool {
        let Actor::Container(name) = actor else { return false };
        self.0.keys().any(|other| self.parent_of(other) == Some(name))
    }

    /// Makes this container create a token during setup.
    pub(crate) fn needs_token(&mut self, name: &ContainerName) {
        self.mark(name, |entry| entry.token = true);
    }

    /// Whether the actor has a network namespace other than the initial one: its own, or that of a container around it.
    /// `host` gets one if an interface is a target.
    pub(crate) fn has_own_network(&self, actor: &Actor) -> bool {
        let Actor::Container(name) = actor else { return true };
        self.lineage(name).any(|entry| entry.spec.namespaces.contains(&Namespace::Net) || !entry.is_right)
    }

    /// Returns the containers that are used, parents before their children.
    pub(crate) fn into_plan(mut self) -> Vec<plan::Container> {
        let used: Vec<ContainerName> = self.0.iter().filter(|(_, m)| m.used).map(|(name, _)| name.clone()).collect();
        let parents: Vec<ContainerName> = used.iter().flat_map(|name| self.ancestors(name)).collect();
        parents.iter().for_each(|name| self.mark(name, |entry| entry.used = true));
        let mut depths: Vec<(usize, &ContainerName)> =
            self.0.iter().filter(|(_, m)| m.used).map(|(name, _)| (self.ancestors(name).len(), name)).collect();
        depths.sort();
        depths.into_iter().filter_map(|(_, name)| Some(planned(name, self.0.get(name)?))).collect()
    }

    fn entry(&self, actor: &Actor) -> Option<&ContainerEntry> {
        match actor {
            Actor::Host => None,
            Actor::Container(name) => self.0.get(name),
        }
    }

    fn mark(&mut self, name: &ContainerName, change: impl FnOnce(&mut ContainerEntry)) {
        if let Some(entry) = self.0.get_mut(name) {
            change(entry);
        }
    }

    fn parent_of(&self, name: &ContainerName) -> Option<&ContainerName> {
        let parent = self.0.get(name)?.spec.parent.as_deref()?;
        self.0.keys().find(|key| key.as_str() == parent)
    }

    /// Returns its parent, the parent's parent, and so on. A cycle is followed once.
    fn ancestors(&self, name: &ContainerName) -> Vec<ContainerName> {
        let chain = std::iter::successors(self.parent_of(name), |name| self.parent_of(name));
        chain.take(self.0.len()).cloned().collect()
    }

    fn lineage(&self, name: &ContainerName) -> impl Iterator<Item = &ContainerEntry> {
        let names = std::iter::once(name.clone()).chain(self.ancestors(name));
        names.filter_map(|name| self.0.get(&name))
    }

    fn check_parents(&mut self, problems: &mut Problems<'_>) {
        let all_known = problems.is_complete(&KeyPath::default().key("containers"));
        for (name, entry) in &self.0 {
            let Some(parent) = &entry.spec.parent else { continue };
            let key_path = path_of(name).key("parent");
            let ancestors = self.ancestors(name);
            let is_process = |outer: &ContainerName| self.0.get(outer).is_some_and(|outer| !outer.spec.unshare);
            if self.parent_of(name).is_none() {
                if all_known {
                    let others = || self.0.keys().filter(|other| *other != name).map(ContainerName::as_str);
                    let advice = did_you_mean(parent, others()).unwrap_or_else(|| one_of(others()));
                    problems.advise(&key_path, format!("there is no container `{}`", parent.escape_debug()), advice);
                }
            } else if ancestors.contains(name) {
                problems.problem(&key_path, format!("`{name}` would be inside itself"));
            } else if ancestors.iter().any(is_process) {
                problems.problem(&key_path, "the parent has no namespaces of its own, so nothing can be inside it");
            }
        }
    }
}

/// Returns the path of a container's table.
fn path_of(name: &ContainerName) -> KeyPath {
    match name.as_str() {
        DEFAULT => KeyPath::default().key(DEFAULT),
        named => KeyPath::default().key("containers").key(named),
    }
}

fn container_name(text: &str, key_path: &KeyPath, problems: &mut Problems<'_>) -> Option<ContainerName> {
    match (text, text.parse()) {
        (DEFAULT, _) => problems.advise(
            key_path,
            format!("`{DEFAULT}` cannot be the name of a further container"),
            "write `[container]`",
        ),
        (HOST, _) => problems.problem(
            key_path,
            format!("`{HOST}` cannot be the name of a container: it is full root outside all of them"),
        ),
        (_, Ok(name)) => return Some(name),
        (_, Err(error)) => problems.problem(key_path, error.to_string()),
    }
    None
}

/// The tables that describe a container.
struct ContainerPaths {
    container: KeyPath,
    delegate: KeyPath,
}

fn entry(
    spec: ContainerSpec,
    delegate: &Delegate,
    paths: &ContainerPaths,
    (resolver, unit_file): (&NameResolver<'_>, &[Vec<Assignment>]),
    problems: &mut Problems<'_>,
) -> ContainerEntry {
    let before = problems.found();
    let key_path = &paths.container;
    let is_whole = problems.is_whole(key_path) && problems.is_whole(&paths.delegate);
    let options = delegation::options(delegate, &paths.delegate, resolver, problems);
    for (index, namespace) in spec.namespaces.iter().enumerate() {
        if spec.namespaces[..index].contains(namespace) {
            problems.problem(&key_path.key("namespaces").index(index), "this namespace is listed twice");
        }
    }
    if spec.loginuid.is_some() && spec.parent.is_some() {
        let message = "`loginuid` cannot be combined with `parent`: a process logs in before it has namespaces";
        problems.problem(&key_path.key("loginuid"), message);
    }
    if !spec.unshare {
        check_process(&spec, &options, key_path, problems);
    }
    let caps = capabilities::of(&spec.caps, &key_path.key("caps"), problems);
    let restrictions = restrictions::of(&spec, key_path, resolver, problems);
    let unit = unit::of(&spec, unit_file, &options, key_path, problems);
    let delegates = *delegate != Delegate::default();
    let is_right = is_whole && problems.found() == before;
    ContainerEntry { caps, spec, options, restrictions, unit, used: true, token: false, delegates, is_right }
}

/// Checks that a process without namespaces of its own has nothing that needs them.
fn check_process(spec: &ContainerSpec, options: &[MountOption], key_path: &KeyPath, problems: &mut Problems<'_>) {
    const WHY: &str = "with `unshare = false`, a process has no namespaces and no bpffs of its own";
    if !spec.namespaces.is_empty() {
        problems.advise(&key_path.key("namespaces"), "`namespaces` cannot be combined with `unshare = false`", WHY);
    }
    if !options.is_empty() {
        problems.advise(&key_path.key("unshare"), "nothing can be delegated to this process", WHY);
    }
    if spec.parent.is_none() && spec.caps == Capabilities::All && problems.is_complete(key_path) {
        let message = "a process in the initial namespaces with every capability is the same as `host`";
        problems.advise(&key_path.key("unshare"), message, "list its capabilities, for example `caps = []`");
    }
}

fn planned(name: &ContainerName, entry: &ContainerEntry) -> plan::Container {
    plan::Container {
        name: name.clone(),
        parent: entry.spec.parent.as_deref().and_then(|parent| parent.parse().ok()),
        uid: entry.spec.uid,
        gid: entry.spec.uid,
        loginuid: entry.spec.loginuid,
        namespaces: entry.spec.namespaces.clone(),
        caps: entry.caps.clone(),
        options: entry.options.clone(),
        token: entry.token,
        unshare: entry.spec.unshare,
        restrictions: entry.restrictions.clone(),
        unit: entry.unit.clone(),
    }
}
