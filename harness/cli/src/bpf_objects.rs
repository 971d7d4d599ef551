//! BPF objects named on the command line: object files, and programs with embedded objects.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use harness_diagnostics::suggest::{did_you_mean, one_of};
use harness_objects::{Library, Loader, Named, Object, SizeError, read_for, set_size};

use crate::exit::Wrong;

/// The maximum size of a file in bytes; programs with embedded objects are far smaller, and so are documents.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// How objects are loaded.
#[derive(Clone, Debug, Args)]
pub(crate) struct LoadingOptions {
    /// What loads the objects: libbpf, libbpf-MAJOR.MINOR, cilium-ebpf or aya [default: what a program with embedded objects
    /// has built in, else libbpf]
    #[arg(long, value_name = "LOADER")]
    loader: Option<Loader>,

    /// Set the size of a map before it is created, as the objects' own program does; repeatable [default for a map
    /// without a size: the least that the kernel takes]
    #[arg(long, value_name = "MAP.max_entries=NUMBER")]
    set: Vec<GivenSize>,
}

/// A map's size, as the option `--set` gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct GivenSize {
    map: String,
    max_entries: u32,
}

impl FromStr for GivenSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "write MAP.max_entries=NUMBER, such as events.max_entries=4096";
        let (key, number) = text.split_once('=').ok_or(form)?;
        let (map, field) = key.rsplit_once('.').ok_or(form)?;
        if map.is_empty() || field != "max_entries" {
            return Err(format!("`{field}` cannot be set, only max_entries: {form}"));
        }
        match number.parse() {
            Ok(max_entries) if max_entries > 0 => Ok(Self { map: map.to_owned(), max_entries }),
            _ => Err(format!("`{number}` is no number from 1 to {}", u32::MAX)),
        }
    }
}

impl LoadingOptions {
    /// Refuses what a VM cannot try: the guest program loads objects by libbpf.
    ///
    /// # Errors
    /// If the objects are for another loader.
    pub(crate) fn check_provable(objects: &[Named]) -> Result<()> {
        match objects.iter().map(|named| named.object.loader).find(|loader| *loader != Loader::LIBBPF) {
            Some(other) => {
                Err(Wrong::input(anyhow!("--prove loads objects by {}, and these are for {other}", Loader::LIBBPF)))
            }
            None => Ok(()),
        }
    }
}

/// Reads all objects in these files.
///
/// # Errors
/// If a file cannot be read or has no object, or if no object has a map whose size is to be set.
pub(crate) fn read(paths: &[PathBuf], options: &LoadingOptions) -> Result<Vec<Named>> {
    let mut all = Vec::new();
    for path in paths {
        all.extend(in_file(path, options).map_err(Wrong::input)?);
    }
    set_sizes(&mut all, &options.set).map_err(Wrong::input)?;
    Ok(all)
}

/// Sets the sizes of maps.
fn set_sizes(objects: &mut [Named], sizes: &[GivenSize]) -> Result<()> {
    for (number, GivenSize { map, max_entries }) in sizes.iter().enumerate() {
        if sizes[..number].iter().any(|before| before.map == *map) {
            return Err(anyhow!("--set names the map `{map}` twice; leave one out"));
        }
        set_size(objects, map, *max_entries).map_err(|error| match &error {
            SizeError::Unknown { known, .. } => anyhow!("--set: {error}; {}", advice(map, known)),
            SizeError::Fixed { .. } => anyhow!("--set: {error}"),
        })?;
    }
    Ok(())
}

/// What to write instead of a map that no object has.
fn advice(map: &str, known: &[String]) -> String {
    let names = || known.iter().map(String::as_str);
    match known {
        [] => "no object is named, or none has a map whose size can be set".to_owned(),
        _ => did_you_mean(map, names()).unwrap_or_else(|| one_of(names())),
    }
}

fn in_file(path: &Path, options: &LoadingOptions) -> Result<Vec<Named>> {
    let bytes = bytes_of(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Named::of_bytes(&path.display().to_string(), bytes, options.loader)?)
}

/// The objects with their names, to which a loader other than the modelled libbpf is added.
pub(crate) fn labelled(objects: &[Named]) -> Vec<(String, Object)> {
    let label = |named: &Named| match named.object.loader {
        Loader::LIBBPF => named.plain(),
        other => (format!("{} by {other}", named.name), named.object.clone()),
    };
    objects.iter().map(label).collect()
}

/// The objects as other loaders load them; none if the loader is named, or known from the file.
pub(crate) fn elsewhere(objects: &[Named], options: &LoadingOptions) -> Vec<(String, Object)> {
    let unknown = objects.iter().filter(|named| options.loader.is_none() && !named.has_loader);
    let others = [Library::CiliumEbpf, Library::Aya].map(Loader::newest);
    let by = |named: &Named, loader| Some((named.name.clone(), read_for(&named.bytes, loader).ok()?));
    unknown.flat_map(|named| others.into_iter().filter_map(|loader| by(named, loader))).collect()
}

/// Reads a file of bounded size.
///
/// # Errors
/// If it cannot be read or is too large.
pub(crate) fn bytes_of(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(anyhow!("the file is larger than {MOST_BYTES} bytes"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_one_form_and_a_bounded_number() {
        let given = |text: &str| GivenSize::from_str(text).map(|size| (size.map, size.max_entries));
        assert_eq!(given("events.max_entries=4096"), Ok(("events".to_owned(), 4096)));
        assert_eq!(given("outer.inner.max_entries=4294967295"), Ok(("outer.inner".to_owned(), u32::MAX)));
        let wrong = ["events=1", "events.max_entries", "events.value_size=4", ".max_entries=1"].into_iter().chain(
            ["0", "4294967296", "-1", "1k", ""].map(|number| ["e.max_entries=", number].concat().leak() as &str),
        );
        insta::assert_snapshot!(wrong.map(|text| given(text).unwrap_err()).collect::<Vec<_>>().join("\n"));
    }
}
