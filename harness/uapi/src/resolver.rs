//! Looks names up for one kernel, or for all known ones.

use harness_protocol::name::{ImageName, KernelName};

use crate::{
    configuration::Configuration,
    release::Release,
    vocabulary::{Kind, KnownNames, NameTable, UnknownName, Vocabulary},
};

/// The kernel that names are resolved for.
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
    /// Its Kconfig options.
    pub configuration: &'a Configuration,
}

/// Resolves the names in a scenario: for one kernel, or without a target for all known kernels.
#[derive(Clone, Copy, Debug)]
pub struct NameResolver<'a> {
    /// The names that any known kernel has.
    pub known: &'a KnownNames,
    /// The kernel whose names take precedence.
    pub target: Option<KernelProfile<'a>>,
}

/// A name that was found, and its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedName {
    /// Its number in the kernel's enumeration.
    pub number: u32,
    /// The name as the kernel shows it.
    pub name: String,
    /// Why the target kernel does not implement it: only other kernels know it, or an option is off.
    pub missing: Option<String>,
}

impl<'a> NameResolver<'a> {
    /// All names of a kind: those of the target, or without one those of all known kernels.
    pub fn table(&self, kind: Kind) -> &'a NameTable {
        match self.target {
            Some(target) => target.vocabulary.table(kind),
            None => self.known.table(kind),
        }
    }

    /// Looks a name up in the target's vocabulary first, then among all known names.
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

    /// Why the target kernel does not implement a name it knows, if an option for it is off.
    pub fn lacks_option(&self, kind: Kind, name: &str) -> Option<String> {
        self.target?.configuration.lacks(kind, name)
    }

    /// The largest helper number of the target; 0 without a target.
    pub fn last_helper(&self) -> u32 {
        self.target.map_or(0, |target| target.vocabulary.helpers.last())
    }

    /// Why the target kernel cannot accept this member of `union bpf_attr`, if it lacks it.
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

    /// Why the target kernel has no tokens, if it predates them.
    pub fn lacks_tokens(&self) -> Option<String> {
        self.lacks_cmd("token_create")
    }

    /// Why the target kernel cannot execute this command, if it lacks it.
    pub fn lacks_cmd(&self, name: &str) -> Option<String> {
        let target = self.target?;
        let lacks = target.vocabulary.table(Kind::Cmd).number(name).is_none();
        lacks.then(|| format!("this kernel has no bpf command `{name}`"))
    }
}

fn found(table: &NameTable, number: u32, text: &str, missing: Option<String>) -> ResolvedName {
    ResolvedName { number, name: table.name(number).unwrap_or(text).to_owned(), missing }
}
