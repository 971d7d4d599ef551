//! Small archives in a folder, which apt trusts without a signature.

use std::{fs, path::Path};

use super::Archive;
use crate::{
    cache::{Area, Cache},
    command,
    digest::Sha256,
    mirror::Mirror,
    progress::Progress,
};

/// A package with one file, named like the package and its version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// Further lines of its entry, each with its end.
    pub(crate) fields: &'static str,
}

/// Makes an archive of these packages in a folder, as a suite with lists that are up to date.
pub(crate) fn trusted(cache: &Cache, folder: &Path, suite: &str, samples: &[Sample]) -> Archive {
    fs::create_dir_all(folder).unwrap();
    let stanzas: String = samples.iter().map(|sample| stanza(folder, sample)).collect();
    listed(cache, folder, suite, &stanzas)
}

/// Makes an archive with this list of packages.
pub(crate) fn listed(cache: &Cache, folder: &Path, suite: &str, packages: &str) -> Archive {
    let lock = cache.entry(Area::Downloads, &format!("apt-{suite}-sample")).unwrap().lock(&Progress::silent()).unwrap();
    let mirror = Mirror::of_url("http://mirror.example/debian");
    let archive = Archive { mirror, suite: suite.to_owned(), state: lock.entry().path(), _lock: lock };
    archive.write_state().unwrap();
    fs::write(folder.join("Packages"), packages).unwrap();
    let source = format!("deb [trusted=yes] file:{} ./\n", folder.display());
    fs::write(archive.state.join("sources.list"), source).unwrap();
    command::output(|shell| archive.apt(shell, "apt-get").arg("update")).unwrap();
    archive
}

/// Makes the file of a package; returns its entry in the list.
fn stanza(folder: &Path, sample: &Sample) -> String {
    let Sample { name, version, fields } = sample;
    let tree = tempfile::tempdir().unwrap();
    let head = format!("Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: m\n");
    fs::create_dir(tree.path().join("DEBIAN")).unwrap();
    fs::write(tree.path().join("DEBIAN/control"), format!("{head}Description: d\n")).unwrap();
    fs::write(tree.path().join(format!("{name}-{version}")), "").unwrap();
    let (file, from) = (folder.join(format!("{name}.deb")), tree.path());
    command::output(|shell| xshell::cmd!(shell, "dpkg-deb --root-owner-group --build {from} {file}")).unwrap();
    let (size, sum) = (fs::metadata(&file).unwrap().len(), Sha256::of_file(&file).unwrap());
    format!("{head}Filename: ./{name}.deb\nSize: {size}\nSHA256: {sum}\n{fields}Description: d\n\n")
}
