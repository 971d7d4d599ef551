//! The key of a build.

use super::{
    manifest::Manifest,
    source::{self, SourceError},
    toolchain::Toolchain,
};
use crate::digest::Sha256;

/// The version of the build; raised when the same inputs would make another kernel.
const EDITION: &str = "1";

/// The inputs of a kernel other than the toolchain: its source and its configuration. A build determines them once and
/// passes them on: a folder that somebody works in can change at any moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inputs {
    /// The identity of the source.
    pub(super) source: String,
    sum: String,
}

impl Inputs {
    /// Determines the current inputs of a manifest.
    pub(super) fn of(manifest: &Manifest) -> Result<Self, SourceError> {
        let source = source::identity(&manifest.source)?;
        let exceptions = format!("{:?}", manifest.exceptions);
        let sum = Sha256::of_parts([EDITION, &source, &manifest.config, &exceptions].map(str::as_bytes)).short();
        Ok(Self { source, sum })
    }

    /// Returns the key of a build with a toolchain. Without one it is the key of a prebuilt kernel, or the start of the
    /// keys of all toolchains.
    pub(super) fn key(&self, toolchain: Option<&Toolchain>) -> String {
        match toolchain {
            Some(toolchain) => format!("{}-{}", self.sum, toolchain.sum().short()),
            None => self.sum.clone(),
        }
    }

    /// Errors if the source has changed: what was made from it may mix the two states.
    pub(super) fn check_unchanged(&self, manifest: &Manifest) -> Result<(), SourceError> {
        source::check_unchanged(manifest, &self.source)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    const SUM: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn manifest(folder: &Path, rest: &str) -> Manifest {
        fs::create_dir_all(folder.join("fragments")).unwrap();
        fs::write(folder.join("fragments/a.config"), "CONFIG_A=y\nCONFIG_B=y\n").unwrap();
        let path = folder.join("9.9.toml");
        fs::write(&path, format!("summary = 's'\n{rest}")).unwrap();
        Manifest::read(&path).unwrap()
    }

    /// A changed key for the same inputs would make everybody rebuild every kernel.
    #[test]
    fn the_same_inputs_have_the_same_key_forever() {
        let folder = tempfile::tempdir().unwrap();
        let exception = "[[exception]]\noption = 'CONFIG_B'\nvalue = 'n'\nreason = 'r'\n";
        let compiled = |source: &str| format!("fragments = ['a']\n{source}\n{exception}");
        let revision = &SUM[..40];
        for (rest, key) in [
            (
                compiled(&format!("[source.debian]\npackage = 'p'\nversion = '1'\nsuite = 's'\nsha256 = '{SUM}'")),
                "5a58b69e1862",
            ),
            (
                compiled(&format!("[source.tarball]\nurl = 'http://h.example/l.tar.xz'\nsha256 = '{SUM}'")),
                "da2a9f69d157",
            ),
            (compiled(&format!("[source.git]\nurl = '/srv/linux.git'\nrevision = '{revision}'")), "6a6881bc3686"),
            (
                format!(
                    "[source.prebuilt.debian]\nsuite = 's'\nversion = '1'\npackages = {{ p = '{SUM}', q = '{SUM}' }}"
                ),
                "8182d6bd2809",
            ),
        ] {
            assert_eq!(Inputs::of(&manifest(folder.path(), &rest)).unwrap().key(None), key, "{rest}");
        }
    }

    #[test]
    fn another_toolchain_makes_another_key() {
        let of = |gcc: &str| Toolchain { gcc: gcc.into(), ld: "1".into(), pahole: "1".into() };
        let inputs = Inputs { source: "s".into(), sum: "aa".into() };
        let key = |gcc: &str| inputs.key(Some(&of(gcc)));
        assert_eq!(key("12"), key("12"));
        assert_ne!(key("12"), key("13"));
        assert!(key("12").starts_with("aa-"));
    }

    #[test]
    fn a_source_that_changes_during_a_build_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("p.deb"), "one").unwrap();
        let manifest = manifest(folder.path(), "[source.prebuilt.packages]\nfiles = ['p.deb']\n");
        let inputs = Inputs::of(&manifest).unwrap();
        inputs.check_unchanged(&manifest).unwrap();
        fs::write(folder.path().join("p.deb"), "two").unwrap();
        let error = inputs.check_unchanged(&manifest).unwrap_err().to_string();
        let error = error.replace(folder.path().to_str().unwrap(), "/KERNELS");
        insta::assert_snapshot!(error, @"/KERNELS/p.deb changed during the build of kernel 9.9, so nothing was kept; build it again when nobody edits it");
    }
}
