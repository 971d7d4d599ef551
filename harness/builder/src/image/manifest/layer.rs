//! What one recipe file puts into an image.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use harness_uapi::configuration::Configuration;
use serde::{Deserialize, Serialize};

use super::guest_path::{GuestPath, Pattern};
use crate::{digest::Sha256, mirror::pinned::PinnedPackage};

/// What one recipe file puts into an image: the recipe's own, or one that it includes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    pub(super) summary: String,
    /// Left out of what decides the key: it changes nothing of what is made.
    #[serde(default, skip_serializing)]
    pub(super) default: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) suite: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) include: Vec<GuestPath>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) boot: Option<Boot>,
    #[serde(default)]
    pub(super) folders: BTreeSet<GuestPath>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) install: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) without: BTreeSet<Pattern>,
    #[serde(default)]
    pub(super) package: Vec<Package>,
    #[serde(default)]
    pub(super) symlinks: BTreeMap<GuestPath, String>,
    #[serde(default)]
    pub(super) texts: BTreeMap<GuestPath, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) pinned: BTreeMap<String, Pin>,
    /// Asked of a kernel before it boots the image. Changes nothing that is made, and so no key.
    #[serde(default, skip_serializing)]
    pub(super) config: BTreeSet<String>,
}

/// A package and what is taken from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its full Debian version; apt fetches exactly this one.
    pub version: String,
    /// The sum of the package file.
    pub sha256: Sha256,
    /// Files of the package, and where each goes.
    pub files: BTreeMap<GuestPath, GuestPath>,
    /// Further names of its one program, as symbolic links beside it.
    #[serde(default)]
    pub links: BTreeSet<GuestPath>,
}

/// Which of all versions of a package is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Its full Debian version; apt fetches exactly this one.
    pub version: String,
    /// The sum of the package file.
    pub sha256: Sha256,
}

/// How a guest with this image is started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boot {
    /// The program that the kernel starts as the first process.
    pub init: GuestPath,
    /// Kernel arguments it is to find.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// A program that is given the guest program's command, and starts it where it has what it needs.
    pub wrapper: Option<GuestPath>,
}

impl Layer {
    /// The Debian suite of its packages.
    pub fn suite(&self) -> Option<&str> {
        self.suite.as_deref()
    }

    /// Packages of which files are taken.
    pub fn packages(&self) -> &[Package] {
        &self.package
    }

    /// Packages that are wanted whole, with all they depend on.
    pub fn install(&self) -> &BTreeSet<String> {
        &self.install
    }

    /// The whole packages, by name.
    pub fn pinned(&self) -> &BTreeMap<String, Pin> {
        &self.pinned
    }

    /// The package files it takes, [`Self::packages`] first.
    pub(in crate::image) fn needed(&self) -> impl Iterator<Item = PinnedPackage<'_>> {
        let suite = self.suite.as_deref().unwrap_or_default();
        let named = self.package.iter().map(move |Package { name, version, sha256, .. }| PinnedPackage {
            suite,
            name,
            version,
            sha256: *sha256,
        });
        let whole = self.pinned.iter().map(move |(name, Pin { version, sha256 })| PinnedPackage {
            suite,
            name,
            version,
            sha256: *sha256,
        });
        named.chain(whole)
    }

    /// What cannot be, each in a line.
    pub(super) fn contradictions(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let twice = self.places().into_iter().filter(|place| !seen.insert(place.clone()));
        let mut reasons: Vec<String> = twice.map(|place| format!("{} is made twice", place.display())).collect();
        for Package { name, files, links, .. } in &self.package {
            if !links.is_empty() && files.len() != 1 {
                let reason = format!("{name} has links and {} files: links need exactly one to point at", files.len());
                reasons.push(reason);
            }
        }
        let has_packages = !(self.package.is_empty() && self.install.is_empty() && self.pinned.is_empty());
        if has_packages && self.suite.is_none() {
            reasons.push("it has packages and no `suite` that they are from".to_owned());
        }
        if self.install.is_empty() && !self.pinned.is_empty() {
            reasons.push("it has `[pinned]` packages, and `install` names none that needs them".to_owned());
        }
        let no_options = self.config.iter().filter(|option| !Configuration::is_option(option));
        reasons.extend(no_options.map(|text| format!("`{text}` is no option of a kernel, such as `CONFIG_FHANDLE`")));
        reasons
    }

    /// Every place that something other than a folder is put at, but for files of whole packages.
    pub(super) fn places(&self) -> Vec<PathBuf> {
        let files = self.package.iter().flat_map(|package| package.files.values());
        let others = files.chain(self.symlinks.keys()).chain(self.texts.keys());
        let links = self.package.iter().flat_map(|package| package.link_places().map(|(link, _)| link));
        others.map(|place| place.as_path().to_owned()).chain(links).collect()
    }
}

impl Package {
    /// The links beside the package's one file: where each is, and what it points to.
    pub(in crate::image) fn link_places(&self) -> impl Iterator<Item = (PathBuf, &Path)> {
        let program = self.files.values().next().map(GuestPath::as_path);
        self.links.iter().filter_map(move |link| {
            let program = program?;
            Some((program.parent()?.join(link.as_path()), Path::new(program.file_name()?)))
        })
    }
}
