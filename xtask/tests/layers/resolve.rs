//! Where the item is defined that a path names.

use std::collections::BTreeSet;

use super::tree::{Id, Name, Tree};

/// What a path comes to.
pub(crate) enum Answer {
    /// The modules that define what it names: more than one if a name stands for a module and a function, say.
    Ours(BTreeSet<Id>),
    /// A library's, the standard library's, a type parameter: of no interest.
    Foreign,
    /// Nothing, though it is a path of ours.
    Missing,
}

/// That a module names an item of another.
pub(crate) struct Reference {
    pub(crate) from: Id,
    pub(crate) to: Id,
    pub(crate) path: String,
    pub(crate) line: usize,
}

/// A definition: of the module itself, or of an item in it.
#[derive(Clone, Copy, PartialEq)]
enum Target {
    Module(Id),
    ItemOf(Id),
}

/// The names that are being looked up, since imports may lead in a circle.
type Asked = Vec<(Id, String)>;

impl Tree {
    /// All that a module names of other modules, and the paths of ours that lead nowhere.
    pub(crate) fn references(&self) -> (Vec<Reference>, Vec<String>) {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for (from, module) in self.modules.iter().enumerate() {
            for mention in &module.mentions {
                let path = mention.path.join("::");
                match self.resolve(from, &mention.path) {
                    Answer::Ours(targets) => {
                        found.extend(targets.into_iter().filter(|to| *to != from).map(|to| Reference {
                            from,
                            to,
                            path: path.clone(),
                            line: mention.line,
                        }))
                    }
                    Answer::Foreign => {}
                    Answer::Missing => missing.push(format!("{path} at {}:{}", module.file.display(), mention.line)),
                }
            }
        }
        (found, missing)
    }

    /// Where the item is defined that this path names in this module.
    pub(crate) fn resolve(&self, from: Id, path: &[String]) -> Answer {
        match self.targets(from, path, &mut Vec::new()) {
            None => Answer::Missing,
            Some(targets) => {
                // A word alone that is a module's name as well is a variable.
                let ids: BTreeSet<Id> = targets
                    .into_iter()
                    .filter_map(|target| match target {
                        Target::Module(_) if path.len() == 1 => None,
                        Target::Module(id) | Target::ItemOf(id) => Some(id),
                    })
                    .collect();
                if ids.is_empty() { Answer::Foreign } else { Answer::Ours(ids) }
            }
        }
    }

    /// `None` if it is missing, nothing if it is foreign.
    fn targets(&self, from: Id, path: &[String], asked: &mut Asked) -> Option<Vec<Target>> {
        let module = &self.modules[from];
        let (first, rest) = path.split_first()?;
        let start = match first.as_str() {
            "crate" => Target::Module(module.root),
            "self" => Target::Module(from),
            "super" => Target::Module(module.parent?),
            name => match self.named(from, name, asked) {
                Some(found) if rest.is_empty() || found.is_empty() => return Some(found),
                Some(found) => *found.iter().find(|target| matches!(target, Target::Module(_))).unwrap_or(&found[0]),
                None => match (self.libraries.get(name), self.macros.get(&(module.root, name.to_owned()))) {
                    (Some(library), _) => Target::Module(*library),
                    (None, Some(defines)) if rest.is_empty() => Target::ItemOf(*defines),
                    _ => return Some(Vec::new()),
                },
            },
        };
        self.walk(start, rest, asked)
    }

    fn walk(&self, start: Target, path: &[String], asked: &mut Asked) -> Option<Vec<Target>> {
        let (Target::Module(id), Some((name, rest))) = (start, path.split_first()) else {
            return Some(vec![start]);
        };
        if name == "super" {
            return self.walk(Target::Module(self.modules[id].parent?), rest, asked);
        }
        match self.named(id, name, asked) {
            Some(found) if rest.is_empty() || found.is_empty() => Some(found),
            Some(found) => {
                let module = found.iter().find(|target| matches!(target, Target::Module(_)));
                self.walk(*module.unwrap_or(&found[0]), rest, asked)
            }
            None => match self.macros.get(&(self.modules[id].root, name.clone())) {
                Some(defines) => Some(vec![Target::ItemOf(*defines)]),
                None => self.modules[id].has_written_items.then(|| vec![Target::ItemOf(id)]),
            },
        }
    }

    /// What a name stands for in a module: `None` if it has no such name, nothing if the name is foreign.
    fn named(&self, id: Id, name: &str, asked: &mut Asked) -> Option<Vec<Target>> {
        if asked.iter().any(|(module, other)| *module == id && other == name) {
            return None;
        }
        asked.push((id, name.to_owned()));
        let mut found = None;
        for meaning in self.modules[id].names.get(name).into_iter().flatten() {
            let targets = match meaning {
                Name::Module(child) => Some(vec![Target::Module(*child)]),
                Name::Item => Some(vec![Target::ItemOf(id)]),
                Name::Import(path) => self.targets(id, path, asked),
            };
            found = merge(found, targets);
        }
        if found.is_none() {
            for path in &self.modules[id].globs {
                for target in self.targets(id, path, asked).unwrap_or_default() {
                    if let Target::Module(glob) = target {
                        found = merge(found, self.named(glob, name, asked));
                    }
                }
            }
        }
        asked.pop();
        found
    }
}

fn merge(one: Option<Vec<Target>>, other: Option<Vec<Target>>) -> Option<Vec<Target>> {
    match (one, other) {
        (Some(mut one), Some(other)) => {
            other.into_iter().for_each(|target| {
                if !one.contains(&target) {
                    one.push(target);
                }
            });
            Some(one)
        }
        (one, other) => one.or(other),
    }
}
