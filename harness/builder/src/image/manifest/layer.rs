//! What one file of a manifest adds to an image.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use harness_uapi::configuration::Configuration;
use serde::{Deserialize, Serialize};

use super::guest_path::{GuestPath, Pattern};
use crate::{digest::Sha256, mirror::pinned::PinnedPackage};

/// What one file adds to an image: the manifest's own file, or one that it includes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    pub(super) summary: String,
    /// Not part of the key: it does not change the image.
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
    /// Not part of the key: the versions themselves are.
    #[serde(default, skip_serializing)]
    pub(super) exact: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) without: BTreeSet<Pattern>,
    #[serde(default)]
    pub(in crate::image) package: Vec<Package>,
    #[serde(default)]
    pub(super) symlinks: BTreeMap<GuestPath, String>,
    #[serde(default)]
    pub(super) texts: BTreeMap<GuestPath, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(in crate::image) pinned: BTreeMap<String, Pin>,
    /// Options a kernel must have to boot the image. Not part of the key: they do not change the image.
    #[serde(default, skip_serializing)]
    pub(super) config: BTreeSet<String>,
}

/// A package, and the files to take from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its full Debian version; apt fetches exactly this one.
    pub version: String,
    /// The sum of the package file.
    pub sha256: Sha256,
    /// The files to take, and the path of each in the image.
    pub files: BTreeMap<GuestPath, GuestPath>,
    /// Further names of its only program, as symbolic links beside it.
    #[serde(default)]
    pub links: BTreeSet<GuestPath>,
}

/// The version of a package.
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
    /// Kernel arguments for it.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// A program that receives the command of the guest program, and starts it where its requirements are met.
    pub wrapper: Option<GuestPath>,
}

impl Layer {
    /// The Debian suite of its packages.
    pub fn suite(&self) -> Option<&str> {
        self.suite.as_deref()
    }

    /// The packages that single files are taken from.
    pub fn packages(&self) -> &[Package] {
        &self.package
    }

    /// The packages to take whole, with all their dependencies.
    pub fn install(&self) -> &BTreeSet<String> {
        &self.install
    }

    /// The versions of packages that are taken whole, by name.
    pub fn pinned(&self) -> &BTreeMap<String, Pin> {
        &self.pinned
    }

    /// Returns the version of its systemd, such as 262; `None` if it has none.
    pub(in crate::image) fn systemd(&self) -> Option<u32> {
        let version = &self.pinned.get("systemd")?.version;
        let upstream = version.split_once(':').map_or(version.as_str(), |(_, upstream)| upstream);
        upstream.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    }

    /// Returns whether another layer, with newer versions, may take the place of this one: not with a systemd of another series, nor
    /// with another version of what is recorded in scenarios.
    pub(in crate::image) fn may_become(&self, renewed: &Self) -> bool {
        let version = |layer: &'_ Self, name: &String| layer.pinned.get(name).map(|pin| pin.version.clone());
        self.systemd() == renewed.systemd()
            && self.exact.iter().all(|name| version(self, name) == version(renewed, name))
    }

    /// Returns the package files it needs, [`Self::packages`] first.
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

    /// Returns its contradictions, one per line.
    pub(super) fn contradictions(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let twice = self.paths().into_iter().filter(|guest_path| !seen.insert(guest_path.clone()));
        let mut reasons: Vec<String> =
            twice.map(|guest_path| format!("{} is defined twice", guest_path.display())).collect();
        for Package { name, files, links, .. } in &self.package {
            if !links.is_empty() && files.len() != 1 {
                let reason =
                    format!("{name} has `links` and {} files; links need exactly one file to point to", files.len());
                reasons.push(reason);
            }
        }
        let has_packages = !(self.package.is_empty() && self.install.is_empty() && self.pinned.is_empty());
        if has_packages && self.suite.is_none() {
            reasons.push("packages need a `suite`".to_owned());
        }
        if self.install.is_empty() && !self.pinned.is_empty() {
            reasons.push("`[pinned]` has packages, but `install` is empty".to_owned());
        }
        let unpinned = self.exact.iter().filter(|name| !self.pinned.contains_key(*name));
        reasons.extend(unpinned.map(|name| format!("`exact` names `{name}`, which `[pinned]` does not have")));
        let no_options = self.config.iter().filter(|option| !Configuration::is_option(option));
        reasons.extend(
            no_options.map(|text| format!("`{text}` is not the name of a kernel option, such as `CONFIG_FHANDLE`")),
        );
        reasons
    }

    /// Returns every path where something other than a folder is put, except for files of packages that are taken
    /// whole.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let files = self.package.iter().flat_map(|package| package.files.values());
        let others = files.chain(self.symlinks.keys()).chain(self.texts.keys());
        let links = self.package.iter().flat_map(|package| package.link_paths().map(|(link, _)| link));
        others.map(|guest_path| guest_path.as_path().to_owned()).chain(links).collect()
    }
}

impl Package {
    /// Returns the path and the target of each link beside the package's only file.
    pub(in crate::image) fn link_paths(&self) -> impl Iterator<Item = (PathBuf, &Path)> {
        let program = self.files.values().next().map(GuestPath::as_path);
        self.links.iter().filter_map(move |link| {
            let program = program?;
            Some((program.parent()?.join(link.as_path()), Path::new(program.file_name()?)))
        })
    }
}
