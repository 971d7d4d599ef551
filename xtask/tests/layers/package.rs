//! The crates of the workspace and what they depend on, by their manifests.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use toml::Table;

/// A member of the workspace.
pub(crate) struct Package {
    pub(crate) name: String,
    /// Where it is, from the top of the workspace.
    pub(crate) folder: PathBuf,
    /// Whom it depends on outside its tests, and the line of its manifest that says so.
    pub(crate) dependencies: BTreeMap<String, usize>,
}

impl Package {
    /// Its library and its program, those it has.
    pub(crate) fn tops(&self) -> [PathBuf; 2] {
        ["src/lib.rs", "src/main.rs"].map(|file| self.folder.join(file))
    }

    /// The name that paths to its library begin with.
    pub(crate) fn library(&self) -> String {
        self.name.replace('-', "_")
    }
}

/// The members of the workspace at `top`, with their dependencies among each other.
pub(crate) fn packages(top: &Path) -> Vec<Package> {
    let members = read(&top.join("Cargo.toml"))["workspace"]["members"].as_array().unwrap().clone();
    let mut found: Vec<Package> =
        members.iter().map(|folder| package(top, Path::new(folder.as_str().unwrap()))).collect();
    let names: Vec<String> = found.iter().map(|package| package.name.clone()).collect();
    found.iter_mut().for_each(|package| package.dependencies.retain(|name, _| names.contains(name)));
    found
}

fn package(top: &Path, folder: &Path) -> Package {
    let path = top.join(folder).join("Cargo.toml");
    let manifest = read(&path);
    let text = fs::read_to_string(&path).unwrap();
    let line = |name: &str| text.lines().position(|line| line.split(['=', '.', ' ']).next() == Some(name));
    let dependencies =
        ["dependencies", "build-dependencies"].into_iter().filter_map(|table| manifest.get(table)?.as_table());
    Package {
        name: manifest["package"]["name"].as_str().unwrap().to_owned(),
        folder: folder.to_owned(),
        dependencies: dependencies
            .flat_map(|table| table.keys())
            .map(|name| (name.clone(), line(name).map_or(0, |line| line + 1)))
            .collect(),
    }
}

fn read(path: &Path) -> Table {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
