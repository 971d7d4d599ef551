//! Names looked up for one kernel, or for all known ones.

use harness_protocol::name::{ImageName, KernelName};

use crate::{
    configuration::Configuration,
    release::Release,
    vocabulary::{Kind, KnownNames, NameTable, UnknownName, Vocabulary},
};

/// The kernel an expansion is for.
#[derive(Clone, Copy, Debug)]
pub struct KernelProfile<'a> {
    /// Its name.
    pub name: &'a KernelName,
    /// The image it boots.
    pub image: &'a ImageName,
    /// Its release.
    pub release: Release,
    /// The names it knows.
    pub vocabulary: &'a Vocabulary,
    /// What it is configured for.
    pub configuration: &'a Configuration,
}

/// The names a scenario may use. Without a target kernel it holds what any known kernel knows.
#[derive(Clone, Copy, Debug)]
pub struct NameResolver<'a> {
    /// What any known kernel knows.
    pub known: &'a KnownNames,
    /// The kernel whose names come first.
    pub target: Option<KernelProfile<'a>>,
}

/// A name that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedName {
    /// Its number in the kernel's enumeration.
    pub number: u32,
    /// As the kernel shows it.
    pub name: String,
    /// Why the target kernel has nothing behind it: only other kernels know it, or its configuration leaves it out.
    pub missing: Option<String>,
}

impl<'a> NameResolver<'a> {
    /// All names of a kind: the target's, or those of all known kernels.
    pub fn table(&self, kind: Kind) -> &'a NameTable {
        match self.target {
            Some(target) => target.vocabulary.table(kind),
            None => self.known.table(kind),
        }
    }

    /// Looks a name up, first in the target's vocabulary.
    pub fn find(&self, kind: Kind, text: &str) -> Result<ResolvedName, UnknownName> {
        let table = self.table(kind);
        if let Some(number) = table.number(text) {
            let found = found(table, number, text, None);
            let missing = self.lacks_option(kind, &found.name);
            return Ok(ResolvedName { missing, ..found });
        }
        let number = self.known.lookup(kind, text)?;
        let known = self.known.table(kind);
        let missing = self.target.map(|_| {
            let name = known.name(number).unwrap_or(text);
            format!("this kernel has no {kind} `{name}`")
        });
        Ok(found(known, number, text, missing))
    }

    /// Why there is nothing behind a name of the target kernel, if its configuration leaves that out.
    pub fn lacks_option(&self, kind: Kind, name: &str) -> Option<String> {
        self.target?.configuration.lacks(kind, name)
    }

    /// The largest number of a helper of the target; without a target none is known.
    pub fn last_helper(&self) -> u32 {
        self.target.map_or(0, |target| target.vocabulary.helpers.last())
    }

    /// Why the target kernel cannot take what this member of `union bpf_attr` carries, if it lacks it.
    pub fn lacks_attr(&self, member: &str) -> Option<String> {
        let target = self.target?;
        let lacks = !target.vocabulary.has_attr_member(member);
        lacks.then(|| format!("this kernel has no `{member}` in union bpf_attr"))
    }

    /// Why the target kernel cannot fill this structure, if it lacks it.
    pub fn lacks_struct(&self, name: &str) -> Option<String> {
        let target = self.target?;
        let lacks = !target.vocabulary.has_info_struct(name);
        lacks.then(|| format!("this kernel has no struct {name}"))
    }

    /// Why the target kernel cannot have tokens, if it is from before them.
    pub fn lacks_tokens(&self) -> Option<String> {
        self.lacks_cmd("token_create")
    }

    /// Why the target kernel cannot carry out this command, if it lacks it.
    pub fn lacks_cmd(&self, name: &str) -> Option<String> {
        let target = self.target?;
        let lacks = target.vocabulary.table(Kind::Cmd).number(name).is_none();
        lacks.then(|| format!("this kernel has no bpf command `{name}`"))
    }
}

fn found(table: &NameTable, number: u32, text: &str, missing: Option<String>) -> ResolvedName {
    ResolvedName { number, name: table.name(number).unwrap_or(text).to_owned(), missing }
}
