//! The project file `bpf-token.toml`: what a user's verbs use where the command line says nothing, so that people and CI run the
//! same.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use anyhow::{Context as _, Result};
use harness_diagnostics::{
    document::Document,
    node::KeyPath,
    report::{Problem, Report},
    schema::settings,
};
use schemars::{JsonSchema, Schema};
use serde::Deserialize;

/// The file's name.
pub(crate) const FILE_NAME: &str = "bpf-token.toml";

/// What verbs use where the command line says nothing. Options on the command line take the place of a key here.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Project file bpf-token.toml")]
pub(crate) struct Keys {
    /// The kernels of `run`, `report`, `bless`, `show`, `validate`, `grants` and `caps`, as `--kernel` takes them, such as `["6.12", "7.3"]`.
    #[serde(default)]
    #[schemars(length(min = 1, max = 64))]
    kernels: Option<Vec<String>>,
    /// Whether `run`, `report` and `bless` take a distribution's builds of the kernels that would be compiled, as `--prebuilt` does.
    #[serde(default)]
    prebuilt: bool,
    /// The images of `run`, `report`, `bless` and `diff`, as `--image` takes them.
    #[serde(default)]
    #[schemars(length(min = 1, max = 64))]
    images: Option<Vec<String>>,
    /// The directory of scenario files, relative to this file, such as `tests/bpf`.
    #[serde(default)]
    scenarios: Option<String>,
    /// The version of systemd that runs the units that `validate` checks, such as `262`.
    #[serde(default)]
    #[schemars(range(min = 1, max = 999))]
    systemd: Option<u32>,
}

/// The values of a project file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Defaults {
    /// Kernels, as `--kernel` takes them; none for the default ones.
    pub(crate) kernels: Vec<String>,
    /// Whether prebuilt kernels take the place of those that would be compiled.
    pub(crate) prebuilt: bool,
    /// Images, as `--image` takes them; none for the default ones.
    pub(crate) images: Vec<String>,
    /// The directory of scenario files.
    pub(crate) scenarios: Option<PathBuf>,
    /// The version of systemd that runs units.
    pub(crate) systemd: Option<u32>,
}

/// Returns the schema of the file.
pub(crate) fn schema() -> &'static Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(|| settings().into_generator().into_root_schema_for::<Keys>());
    &SCHEMA
}

impl Defaults {
    /// Reads the file in the current folder or the nearest one above it; nothing is set if there is none.
    ///
    /// # Errors
    /// A [`Report`] if the file has mistakes; another error if it cannot be read.
    pub(crate) fn find() -> Result<Self> {
        let here = env::current_dir().context("cannot find the current folder")?;
        Self::above(&here)
    }

    fn above(start: &Path) -> Result<Self> {
        for folder in start.ancestors() {
            let path = folder.join(FILE_NAME);
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    continue;
                }
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
            };
            return Ok(Self::parse(&path.display().to_string(), &bytes, folder)?);
        }
        Ok(Self::default())
    }

    /// Parses a file in a folder; messages call it `label`.
    fn parse(label: &str, bytes: &[u8], folder: &Path) -> Result<Self, Report> {
        let Document { text, root, file: keys, mut problems } =
            Document::<Keys>::read(label, bytes, schema().as_value())?;
        let scenarios = keys.scenarios.map(|path| folder.join(path));
        if let Some(missing) = scenarios.as_ref().filter(|path| !path.is_dir()) {
            let span = root.span_of(&KeyPath::default().key("scenarios"));
            problems.push(Problem::new(span, format!("{} is not a directory", missing.display())));
        }
        if !problems.is_empty() {
            return Err(Report::new(label, text, problems));
        }
        Ok(Self {
            kernels: keys.kernels.unwrap_or_default(),
            prebuilt: keys.prebuilt,
            images: keys.images.unwrap_or_default(),
            scenarios,
            systemd: keys.systemd,
        })
    }
}

#[cfg(test)]
mod tests {
    use harness_diagnostics::limits::MOST_BYTES;

    use super::*;

    #[test]
    fn the_nearest_file_above_counts_and_paths_start_at_it() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("units/deep");
        fs::create_dir_all(&inner).unwrap();
        fs::create_dir(folder.path().join("tests")).unwrap();
        let text = "kernels = ['6.12', '7.*']\nprebuilt = true\nscenarios = 'tests'\nsystemd = 257\n";
        fs::write(folder.path().join(FILE_NAME), text).unwrap();
        let found = Defaults::above(&inner).unwrap();
        assert_eq!(found.scenarios, Some(folder.path().join("tests")));
        assert_eq!(
            (found.kernels, found.prebuilt, found.systemd),
            (vec!["6.12".into(), "7.*".into()], true, Some(257))
        );
        fs::write(folder.path().join("units").join(FILE_NAME), "").unwrap();
        assert_eq!(Defaults::above(&inner).unwrap(), Defaults::default());
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let text = "kernel = ['6.12']\nprebuilt = 'yes'\nimages = []\nsystemd = 0\nscenarios = 'none'\n";
        let report = Defaults::parse(FILE_NAME, text.as_bytes(), Path::new("/nowhere")).unwrap_err().to_string();
        insta::assert_snapshot!(report, @"
        bpf-token.toml:1:1: unknown key `kernel` (did you mean `kernels`?)
        bpf-token.toml:2:12: expected a boolean, found a string
        bpf-token.toml:3:10: this list is empty
        bpf-token.toml:4:11: 0 is not in the range 1 to 999
        bpf-token.toml:5:13: /nowhere/none is not a directory
        ");
        assert!(Defaults::parse(FILE_NAME, b"kernels = [", Path::new("/")).is_err());
        assert!(Defaults::parse(FILE_NAME, b"\xff", Path::new("/")).is_err());
        assert!(Defaults::parse(FILE_NAME, &vec![b'\n'; MOST_BYTES + 1], Path::new("/")).is_err());
    }
}
