//! The objects that earlier attempts of a case saved and pinned.

use std::collections::BTreeMap;

use harness_diagnostics::{
    node::KeyPath,
    suggest::{did_you_mean, one_of},
};
use harness_protocol::plan::Actor;
use harness_scenario::expect::Expect;

use crate::expand::problems::Problems;

/// What is known of a map before it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MapShape {
    pub(crate) type_name: String,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
}

/// An object that an attempt creates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Object {
    Token,
    Map(MapShape),
    /// With the default attach type of its links: a name, or `None` for number 0.
    Prog {
        link_attach: Option<String>,
    },
    Btf,
    Link,
    PerfEvent,
    /// The result of a survey of helpers.
    Helpers,
}

impl Object {
    pub(crate) fn noun(&self) -> &'static str {
        match self {
            Self::Token => "a token",
            Self::Map(_) => "a map",
            Self::Prog { .. } => "a program",
            Self::Btf => "BTF",
            Self::Link => "a link",
            Self::PerfEvent => "a perf event",
            Self::Helpers => "a survey",
        }
    }
}

#[derive(Clone, Debug)]
struct Saved {
    /// `None` if something about the attempt that creates it is wrong, which was reported already.
    object: Option<Object>,
    expect: Option<Expect>,
}

/// Objects by the names under which later attempts find them.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    saved: BTreeMap<String, Saved>,
    /// `None` if something about the attempt that pins it is wrong.
    pinned: BTreeMap<(String, String), Option<Object>>,
    /// Whether the structure check may have dropped an attempt that saves or pins an object.
    lacks_names: bool,
}

impl Objects {
    /// Notes that an unknown name may belong to a dropped part of the file. Such names are not reported.
    pub(crate) fn may_lack_names(&mut self) {
        self.lacks_names = true;
    }

    /// Saves the object of an attempt under a name; `None` if something about the attempt is wrong.
    pub(crate) fn save(
        &mut self,
        name: &str,
        object: Option<Object>,
        expect: Option<Expect>,
        key_path: &KeyPath,
        problems: &mut Problems<'_>,
    ) {
        if !is_plain_name(name) {
            problems.advise(
                key_path,
                format!("`{}` is not a valid name", name.escape_debug()),
                "use letters, digits, `_` and `-`",
            );
        } else if self.saved.insert(name.to_owned(), Saved { object, expect }).is_some() {
            problems.problem(key_path, format!("an earlier attempt already saved `{name}`"));
        }
    }

    /// Returns the object saved under a name, if it is of the right kind.
    pub(crate) fn find<T>(
        &self,
        name: &str,
        wanted: &str,
        as_wanted: impl Fn(&Object) -> Option<T>,
        key_path: &KeyPath,
        problems: &mut Problems<'_>,
    ) -> Option<T> {
        let Some(saved) = self.saved.get(name) else {
            self.unknown(name, wanted, key_path, problems);
            return None;
        };
        let object = saved.object.as_ref()?;
        let found = as_wanted(object);
        if found.is_none() {
            problems.problem(key_path, format!("`{name}` is {}, not {wanted}", object.noun()));
        }
        found
    }

    fn unknown(&self, name: &str, wanted: &str, key_path: &KeyPath, problems: &mut Problems<'_>) {
        let names = || self.saved.keys().map(String::as_str);
        if self.lacks_names {
            return;
        }
        let advice = did_you_mean(name, names()).unwrap_or_else(|| match self.saved.is_empty() {
            true => format!("add `save = \"{}\"` to an earlier attempt that creates {wanted}", name.escape_debug()),
            false => one_of(names()),
        });
        problems.advise(key_path, format!("no earlier attempt saved `{}`", name.escape_debug()), advice);
    }

    /// Whether the attempt that creates a saved object is expected to fail. Nothing replaces a token that was not
    /// created.
    pub(crate) fn is_refused(&self, name: &str) -> bool {
        self.saved.get(name).is_some_and(|saved| !matches!(saved.expect, None | Some(Expect::Allowed)))
    }

    /// Notes that an actor pinned an object in its bpffs.
    pub(crate) fn pin(&mut self, actor: &Actor, path: &str, object: Option<Object>) {
        self.pinned.insert((bpffs_of(actor), path.to_owned()), object);
    }

    /// Returns the object that is pinned under a path in an actor's bpffs.
    pub(crate) fn pinned(
        &self,
        owner: &Actor,
        path: &str,
        key_path: &KeyPath,
        problems: &mut Problems<'_>,
    ) -> Option<Object> {
        let bpffs = bpffs_of(owner);
        let object = self.pinned.get(&(bpffs.clone(), path.to_owned()));
        if object.is_none() && !self.lacks_names {
            let paths: Vec<&str> =
                self.pinned.keys().filter(|(owner, _)| *owner == bpffs).map(|(_, path)| path.as_str()).collect();
            let advice = match paths.is_empty() {
                true => "pin it with an earlier `obj_pin`".to_owned(),
                false => one_of(paths),
            };
            let message = format!("nothing is pinned as `{}` in this actor's bpffs", path.escape_debug());
            problems.advise(key_path, message, advice);
        }
        object.cloned().flatten()
    }
}

/// Returns the key of an actor's bpffs: each actor has its own.
fn bpffs_of(actor: &Actor) -> String {
    super::label::actor(actor).to_owned()
}

/// Whether a text can be a file name in a bpffs: it leads to no other folder, and the file system accepts it
/// (`bpf_lookup` in `kernel/bpf/inode.c` refuses dots).
pub(crate) fn is_plain_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    (1..=100).contains(&text.len()) && text.chars().all(plain)
}
