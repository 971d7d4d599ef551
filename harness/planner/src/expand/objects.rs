//! What earlier attempts of a case saved and pinned.

use std::collections::BTreeMap;

use harness_diagnostics::{
    node::KeyPath,
    suggest::{did_you_mean, one_of},
};
use harness_protocol::plan::Actor;
use harness_scenario::expect::Expect;

use crate::expand::problems::Problems;

/// What is known of a map before it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MapShape {
    pub(crate) type_name: String,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
}

/// An object of an earlier attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Object {
    Token,
    Map(MapShape),
    /// With the attach type a link of it has if none is written: a name, or number 0.
    Prog {
        link_attach: Option<String>,
    },
    Btf,
    Link,
    /// What a survey of helpers found.
    Helpers,
}

impl Object {
    pub(crate) fn noun(&self) -> &'static str {
        match self {
            Self::Token => "a token",
            Self::Map(_) => "a map",
            Self::Prog { .. } => "a program",
            Self::Btf => "a type description",
            Self::Link => "a link",
            Self::Helpers => "a survey",
        }
    }
}

#[derive(Clone, Debug)]
struct Saved {
    /// `None` if the attempt that makes it is itself wrong, which was told already.
    object: Option<Object>,
    expect: Option<Expect>,
}

/// Objects by the names later attempts find them under.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    saved: BTreeMap<String, Saved>,
    pinned: BTreeMap<(String, String), Object>,
}

impl Objects {
    /// Keeps the object of an attempt under a name; no object if the attempt is wrong.
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
                format!("`{}` cannot be a name", name.escape_debug()),
                "use letters, digits, `_` and `-`",
            );
        } else if self.saved.insert(name.to_owned(), Saved { object, expect }).is_some() {
            problems.problem(key_path, format!("an earlier attempt already saved `{name}`"));
        }
    }

    /// The object saved under a name, if it is the kind that is wanted.
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
        let advice = did_you_mean(name, names()).unwrap_or_else(|| match self.saved.is_empty() {
            true => {
                format!("give the attempt that makes {wanted} a `save = \"{}\"`, above this one", name.escape_debug())
            }
            false => one_of(names()),
        });
        problems.advise(key_path, format!("no earlier attempt saved `{}`", name.escape_debug()), advice);
    }

    /// Whether a saved object is one that nobody will get: then a token can be had from nowhere else.
    pub(crate) fn is_refused(&self, name: &str) -> bool {
        self.saved.get(name).is_some_and(|saved| !matches!(saved.expect, None | Some(Expect::Allowed)))
    }

    /// Notes that an actor pinned an object.
    pub(crate) fn pin(&mut self, actor: &Actor, path: &str, object: Object) {
        self.pinned.insert((bpffs_of(actor), path.to_owned()), object);
    }

    /// What an actor pinned under a path.
    pub(crate) fn pinned(
        &self,
        actor: &Actor,
        path: &str,
        key_path: &KeyPath,
        problems: &mut Problems<'_>,
    ) -> Option<Object> {
        let bpffs = bpffs_of(actor);
        let object = self.pinned.get(&(bpffs.clone(), path.to_owned()));
        if object.is_none() {
            let paths = self.pinned.keys().filter(|(owner, _)| *owner == bpffs).map(|(_, path)| path.as_str());
            problems.advise(
                key_path,
                format!("nothing is pinned as `{}` in this actor's bpffs", path.escape_debug()),
                one_of(paths),
            );
        }
        object.cloned()
    }
}

/// Every actor has a bpffs of its own.
fn bpffs_of(actor: &Actor) -> String {
    super::label::actor(actor).to_owned()
}

/// Whether a text can be the name of a file in a bpffs: nothing that could lead out of it, and nothing the file system
/// refuses (`bpf_lookup` in `kernel/bpf/inode.c` refuses dots).
pub(crate) fn is_plain_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    (1..=100).contains(&text.len()) && text.chars().all(plain)
}
