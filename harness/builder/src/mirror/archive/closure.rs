//! Packages with their dependencies, as apt would install them on an empty system.

use std::collections::BTreeMap;

use super::{Archive, ArchiveError, Package};
use crate::{
    command::{self, CommandError},
    digest::Sha256,
};

impl Archive {
    /// Returns packages and their dependencies, without those that are only recommended, by name and with the sums in
    /// the signed lists.
    ///
    /// # Errors
    /// [`ArchiveError::Closure`] if the suite lacks one, or if they cannot be installed together.
    pub fn closure(&self, names: &[&str]) -> Result<BTreeMap<String, (Package, Sha256)>, ArchiveError> {
        let failed = |source: CommandError| ArchiveError::Closure {
            names: names.join(", "),
            suite: self.suite.clone(),
            source: source.into(),
        };
        let install = ["--simulate", "--no-install-recommends", "install", "--"];
        let listing = command::output(|shell| self.apt(shell, "apt-get").args(install).args(names));
        let packages = installed(&listing.map_err(failed)?);
        let sums = self.listed_sums(&packages).map_err(failed)?;
        packages
            .into_iter()
            .map(|package| {
                let sum = self.sum_in(&sums, &package)?;
                Ok((package.name.clone(), (package, sum)))
            })
            .collect()
    }

    /// Returns the sum of a package in the signed lists.
    ///
    /// # Errors
    /// [`ArchiveError::NoSuchVersion`] if the suite does not have this version.
    pub fn sum(&self, package: &Package) -> Result<Sha256, ArchiveError> {
        self.check_version(package)?;
        let failed = |source: CommandError| ArchiveError::Query { name: package.name.clone(), source: source.into() };
        let sums = self.listed_sums(std::slice::from_ref(package)).map_err(failed)?;
        self.sum_in(&sums, package)
    }

    fn listed_sums(&self, packages: &[Package]) -> Result<BTreeMap<String, Sha256>, CommandError> {
        let each = packages.iter().map(Package::to_string);
        Ok(sums(&command::output(|shell| self.apt(shell, "apt-cache").arg("show").args(each))?))
    }

    fn sum_in(&self, sums: &BTreeMap<String, Sha256>, package: &Package) -> Result<Sha256, ArchiveError> {
        let unknown = || ArchiveError::NoSum { package: package.clone(), suite: self.suite.clone() };
        sums.get(&package.to_string()).copied().ok_or_else(unknown)
    }
}

/// Reads the packages that `apt-get --simulate install` prints: `Inst NAME (VERSION SUITE [ARCHITECTURE])`, each once.
fn installed(listing: &str) -> Vec<Package> {
    let package = |line: &str| {
        let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
        let version = rest.split_once('(')?.1.split_whitespace().next()?;
        Some(Package { name: name.to_owned(), version: version.trim_end_matches(')').to_owned() })
    };
    listing.lines().filter_map(package).collect()
}

/// Reads the sums that `apt-cache show` prints, by `NAME=VERSION`.
fn sums(listing: &str) -> BTreeMap<String, Sha256> {
    let stanza = |text: &str| {
        let field = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        let package = Package { name: field("Package")?.to_owned(), version: field("Version")?.to_owned() };
        Some((package.to_string(), field("SHA256")?.parse().ok()?))
    };
    listing.split("\n\n").filter_map(stanza).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};
    use crate::cache::Cache;

    fn stanza(name: &str, version: &str, fields: &str) -> String {
        let sum = Sha256::of_parts([name.as_bytes(), version.as_bytes()]);
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: m\nFilename: ./{name}.deb\nSize: 1\n\
             SHA256: {sum}\n{fields}Description: d\n\n"
        )
    }

    #[test]
    fn dependencies_are_included_and_recommendations_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let packages = [
            stanza("init", "1:2-3", "Depends: lib (>= 1), one | other\nRecommends: nice\nPre-Depends: base\n"),
            stanza("lib", "1", ""),
            stanza("lib", "2", ""),
            stanza("one", "1", ""),
            stanza("other", "1", ""),
            stanza("nice", "1", ""),
            stanza("base", "1", ""),
        ];
        let cache = Cache::at(folder.path().join("cache")).unwrap();
        let archive = sample::listed(&cache, folder.path(), "test", &packages.concat());
        let closure = archive.closure(&["init"]).unwrap();
        let found: Vec<String> = closure.values().map(|(package, _)| package.to_string()).collect();
        assert_eq!(found, ["base=1", "init=1:2-3", "lib=2", "one=1"]);
        assert_eq!(closure["lib"].1, Sha256::of_parts([&b"lib"[..], b"2"]));
        let package = |version: &str| Package { name: "lib".to_owned(), version: version.to_owned() };
        assert_eq!(archive.sum(&package("1")).unwrap(), Sha256::of_parts([&b"lib"[..], b"1"]));
        let error = archive.sum(&package("3")).unwrap_err();
        insta::assert_snapshot!(error, @"http://mirror.example/debian has no lib=3 in test; it has 2, 1");
        let error = archive.closure(&["init", "inti"]).unwrap_err();
        insta::assert_snapshot!(error, @"cannot resolve the dependencies of init, inti in test; check the names");
    }

    #[test]
    fn simulated_installations_are_read() {
        let listing = "NOTE: This is only a simulation!\n\
            Inst libc6 (2.43-7 Debian:testing [amd64]) []\n\
            Inst dbus-system-bus-common (1.16.2-8 Debian:testing [all])\n\
            Conf libc6 (2.43-7 Debian:testing [amd64])\n";
        let found: Vec<String> = installed(listing).iter().map(Package::to_string).collect();
        assert_eq!(found, ["libc6=2.43-7", "dbus-system-bus-common=1.16.2-8"]);
    }

    #[test]
    fn sums_belong_to_a_version() {
        let [one, two] = [&b"1"[..], b"2"].map(|text| Sha256::of_parts([text]));
        let listing = format!(
            "Package: a\nVersion: 1\nSHA256: {one}\nDescription: x\n\nPackage: a\nVersion: 2\nSHA256: {two}\n\n\
             Package: b\nVersion: 1\n"
        );
        let sums = sums(&listing);
        assert_eq!((sums.get("a=1"), sums.get("a=2"), sums.get("b=1")), (Some(&one), Some(&two), None));
    }
}
