//! Circles among files and among sibling modules.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    resolve::Reference,
    tree::{Id, Tree},
};

/// Who names whom.
pub(crate) type Arrows = BTreeSet<(String, String)>;

/// Files or modules of a crate, each of which reaches all others.
pub(crate) struct Circle {
    /// The crate, and what the members are.
    pub(crate) title: String,
    pub(crate) members: BTreeSet<String>,
    /// The arrows between members, with the paths that make them.
    arrows: BTreeMap<(String, String), Vec<String>>,
}

impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{self:?}")?;
        for ((from, to), paths) in &self.arrows {
            let more = paths.len().saturating_sub(SHOWN);
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            writeln!(f, "    {from} -> {to} ({}{more})", paths[..paths.len().min(SHOWN)].join(", "))?;
        }
        Ok(())
    }
}

/// As a line of the exceptions.
impl fmt::Debug for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.title, Vec::from_iter(self.members.iter().map(String::as_str)).join(" "))
    }
}

/// The paths that are shown for an arrow.
const SHOWN: usize = 4;

/// Whether an arrow between a file and one of its modules counts.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Families {
    Counted,
    LeftOut,
}

/// The circles in the crate `name`, whose top modules these are.
pub(crate) fn circles(
    tree: &Tree,
    name: &str,
    roots: &[Id],
    references: &[Reference],
    families: Families,
) -> Vec<Circle> {
    let mut levels: BTreeMap<String, BTreeMap<(String, String), Vec<String>>> = BTreeMap::new();
    let inside = |id: Id| roots.contains(&tree.modules[id].root);
    let folder = roots.iter().filter_map(|root| tree.modules[*root].file.parent()).next();
    let file = |id: Id| {
        let file = &tree.modules[id].file;
        folder.and_then(|folder| file.strip_prefix(folder).ok()).unwrap_or(file).display().to_string()
    };
    for reference in references.iter().filter(|reference| inside(reference.from) && inside(reference.to)) {
        let place = format!("{} at {}:{}", reference.path, file(reference.from), reference.line);
        let mut add = |level: String, from: String, to: String| {
            if from != to {
                levels.entry(level).or_default().entry((from, to)).or_default().push(place.clone());
            }
        };
        let (from, to) = (tree.ancestry(reference.from), tree.ancestry(reference.to));
        let common = from.iter().zip(&to).take_while(|(from, to)| from == to).count();
        if let (Some(from), Some(to)) = (from.get(common), to.get(common)) {
            let level = format!("{name} modules of {}", tree.path(from_parent(tree, *from)));
            add(level, tree.modules[*from].name.clone(), tree.modules[*to].name.clone());
        }
        let is_family = tree.is_family(reference.from, reference.to);
        if !is_family || families == Families::Counted {
            add(format!("{name} files"), file(reference.from), file(reference.to));
        }
    }
    let mut found = Vec::new();
    for (title, arrows) in levels {
        for members in circular(&arrows.keys().cloned().collect()) {
            let arrows = arrows.iter().filter(|((from, to), _)| members.contains(from) && members.contains(to));
            let arrows = arrows.map(|(arrow, paths)| (arrow.clone(), paths.clone())).collect();
            found.push(Circle { title: title.clone(), members, arrows });
        }
    }
    found
}

fn from_parent(tree: &Tree, id: Id) -> Id {
    tree.modules[id].parent.unwrap_or(id)
}

impl Tree {
    /// A module's parents, the top one first, and the module itself.
    fn ancestry(&self, id: Id) -> Vec<Id> {
        let mut found = self.modules[id].parent.map_or_else(Vec::new, |parent| self.ancestry(parent));
        found.push(id);
        found
    }

    fn path(&self, id: Id) -> String {
        let names = self.ancestry(id).into_iter().map(|id| self.modules[id].name.as_str());
        Vec::from_iter(names).join("::")
    }

    /// Whether the file of one holds a module that the other's file is a part of.
    fn is_family(&self, one: Id, other: Id) -> bool {
        let holds = |file: Id, module: Id| self.ancestry(module).contains(&self.top_of_file(file));
        holds(one, other) || holds(other, one)
    }

    /// The outermost module that is in the same file.
    fn top_of_file(&self, id: Id) -> Id {
        match self.modules[id].parent {
            Some(parent) if self.modules[parent].file == self.modules[id].file => self.top_of_file(parent),
            _ => id,
        }
    }
}

/// The sets whose members all reach each other.
pub(crate) fn circular(arrows: &Arrows) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        arrows.iter().map(|(from, _)| (from, reach(from, arrows))).collect();
    let mut found: Vec<BTreeSet<String>> = Vec::new();
    for (one, reaches) in &reached {
        let back = |other: &&&String| reached.get(**other).is_some_and(|reaches| reaches.contains(*one));
        let members: BTreeSet<String> = reaches.iter().filter(back).map(|name| (*name).clone()).collect();
        if members.contains(*one) && !found.contains(&members) {
            found.push(members);
        }
    }
    found
}

fn reach<'a>(from: &String, arrows: &'a Arrows) -> BTreeSet<&'a String> {
    let (mut found, mut waiting) = (BTreeSet::new(), vec![from]);
    while let Some(next) = waiting.pop() {
        for (_, to) in arrows.range((next.clone(), String::new())..).take_while(|(from, _)| from == next) {
            if found.insert(to) {
                waiting.push(to);
            }
        }
    }
    found
}
