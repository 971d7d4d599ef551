//! The object files that scenarios load: finds them by the names in scenarios, and copies them where a guest finds
//! them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use harness_builder::{digest::Sha256, objects::Objects};
use harness_protocol::plan::{Call, LARGEST_OBJECT, OBJECTS_FOLDER, PLACED_FOLDER, Scenario};

use crate::{capacity::lock, file};

/// The suffix of a prebuilt object's name.
const OBJECT: &str = ".bpf.o";

/// Objects by the names that plans use, which are derived from their contents.
#[derive(Debug)]
pub struct ObjectFiles {
    /// The objects compiled from the project's sources; `None` where nothing is compiled.
    built: Option<Objects>,
    /// The names that plans use for those, by source name.
    named: Mutex<BTreeMap<String, String>>,
    held: Mutex<BTreeMap<String, Arc<[u8]>>>,
}

impl ObjectFiles {
    /// Starts with the objects compiled from the project's sources.
    pub(crate) fn compiled(built: Objects) -> Self {
        Self { built: Some(built), named: Mutex::default(), held: Mutex::default() }
    }

    /// Starts with recorded names of objects, without the objects themselves.
    pub(crate) fn recorded(named: BTreeMap<String, String>) -> Self {
        Self { built: None, named: Mutex::new(named), held: Mutex::default() }
    }

    /// Returns the names that plans use for the compiled objects fetched so far.
    pub(crate) fn names(&self) -> BTreeMap<String, String> {
        lock(&self.named).clone()
    }

    /// Finds every object that a scenario loads and replaces its name with the one that the guest uses; `folder` is the
    /// scenario's.
    ///
    /// # Errors
    /// Describes what is wrong with an object.
    pub(crate) fn fetch(&self, scenario: &mut Scenario, folder: &Path) -> Result<(), String> {
        for file in files_of(scenario) {
            let Some(path) = self.path(file, folder) else {
                *file = self.names().remove(file).ok_or_else(|| format!("the object `{file}` is not in the store"))?;
                continue;
            };
            let bytes = read(&path).map_err(|why| format!("the object `{file}` cannot be used: {why}"))?;
            let stem = path.file_name().map(|name| name.to_string_lossy().replace(OBJECT, "")).unwrap_or_default();
            let name = self.hold(&stem, bytes.into());
            if !file.ends_with(OBJECT) {
                lock(&self.named).insert(file.clone(), name.clone());
            }
            *file = name;
        }
        Ok(())
    }

    /// Adds an object; returns the name that plans use for it.
    pub(crate) fn hold(&self, stem: &str, bytes: Arc<[u8]>) -> String {
        let name = format!("{stem}-{}{OBJECT}", Sha256::of_parts([&*bytes]).short());
        lock(&self.held).insert(name.clone(), bytes);
        name
    }

    /// Returns the path of an object; `None` if it would have to be compiled.
    fn path(&self, file: &str, folder: &Path) -> Option<PathBuf> {
        if file.ends_with(OBJECT) { Some(folder.join(file)) } else { Some(self.built.as_ref()?.path(file)) }
    }

    /// Adds a file that is placed for a program; returns the name that plans use for it.
    pub(crate) fn hold_placed(&self, bytes: Arc<[u8]>) -> String {
        let name = Sha256::of_parts([&*bytes]).short().to_string();
        lock(&self.held).insert(name.clone(), bytes);
        name
    }

    /// Copies the objects that these scenarios load, and the files that they place, into a guest's shared folder.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub(crate) fn put(&self, scenarios: &[Scenario], share: &Path) -> io::Result<()> {
        let held = lock(&self.held);
        let attempts = scenarios.iter().flat_map(|scenario| &scenario.cases).flat_map(|case| &case.attempts);
        let of_call = |call: &Call| match call {
            Call::Object(load) => load.files().map(|file| (OBJECTS_FOLDER, file.clone())).collect(),
            call => {
                let names = call.placed().iter().filter_map(|placed| placed.content.name());
                names.map(|name| (PLACED_FOLDER, name.clone())).collect::<Vec<_>>()
            }
        };
        let wanted: BTreeSet<(&str, String)> = attempts.flat_map(|attempt| of_call(&attempt.call)).collect();
        for (folder, name) in wanted {
            let Some(bytes) = held.get(&name) else { continue };
            let folder = share.join(folder);
            fs::create_dir_all(&folder)?;
            fs::write(folder.join(name), bytes)?;
        }
        Ok(())
    }
}

fn files_of(scenario: &mut Scenario) -> impl Iterator<Item = &mut String> {
    let attempts = scenario.cases.iter_mut().flat_map(|case| &mut case.attempts);
    attempts.flat_map(|attempt| match &mut attempt.call {
        Call::Object(load) => load.files_mut().collect::<Vec<_>>(),
        Call::Exec(exec) => exec.files.iter_mut().filter_map(|placed| placed.content.name_mut()).collect(),
        _ => Vec::new(),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    match file::read(path, LARGEST_OBJECT) {
        Err(error) => Err(format!("{}: {error}", path.display())),
        Ok(bytes) if bytes.len() as u64 > LARGEST_OBJECT => {
            Err(format!("{} is larger than {LARGEST_OBJECT} bytes", path.display()))
        }
        Ok(bytes) => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use harness_builder::{cache::Cache, objects, progress::Progress};
    use harness_protocol::plan::{Actor, Attempt, Case, ObjectLoad, Token};

    use super::*;

    fn object_files(cache: &Path) -> ObjectFiles {
        let (missing, cache) = (cache.join("missing"), Cache::at(cache).unwrap());
        ObjectFiles::compiled(objects::build(&missing, &cache, &Progress::silent()).unwrap())
    }

    fn scenario(file: &str) -> Scenario {
        let call = Call::Object(ObjectLoad { file: file.to_owned(), ..Default::default() });
        let attempt = Attempt::new(Actor::Host, Token::None, call);
        let cases = vec![Case { sysctls: BTreeMap::new(), containers: vec![], attempts: vec![attempt] }];
        Scenario::new("a/b".parse().unwrap(), 1, cases)
    }

    #[test]
    fn an_object_beside_its_scenario_is_copied_to_the_guest() {
        let (cache, folder, share) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(folder.path().join("x.bpf.o"), b"one").unwrap();
        let (object_files, mut plan) = (object_files(cache.path()), scenario("x.bpf.o"));
        object_files.fetch(&mut plan, folder.path()).unwrap();
        let name = files_of(&mut plan).next().unwrap().clone();
        assert!(name.starts_with("x-") && name.ends_with(OBJECT), "{name}");
        object_files.put(std::slice::from_ref(&plan), share.path()).unwrap();
        assert_eq!(fs::read(share.path().join(OBJECTS_FOLDER).join(&name)).unwrap(), b"one");
        fs::write(folder.path().join("x.bpf.o"), b"two").unwrap();
        let mut changed = scenario("x.bpf.o");
        object_files.fetch(&mut changed, folder.path()).unwrap();
        assert_ne!(changed, plan);
    }

    #[test]
    fn recorded_names_replace_compiled_objects() {
        let folder = tempfile::tempdir().unwrap();
        let object_files = ObjectFiles::recorded([("x".to_owned(), "x-12.bpf.o".to_owned())].into());
        let mut plan = scenario("x");
        object_files.fetch(&mut plan, folder.path()).unwrap();
        assert_eq!(files_of(&mut plan).next().unwrap(), "x-12.bpf.o");
        assert_eq!(
            object_files.fetch(&mut scenario("y"), folder.path()).unwrap_err(),
            "the object `y` is not in the store"
        );
    }

    #[test]
    fn a_missing_or_too_large_object_is_named() {
        let (cache, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let object_files = object_files(cache.path());
        let why = object_files.fetch(&mut scenario("no-such"), folder.path()).unwrap_err();
        let shown = |why: String| {
            let built = object_files.path("no-such", folder.path()).unwrap();
            let why = why.replace(built.to_str().unwrap(), "CACHE/no-such.bpf.o");
            why.replace(folder.path().to_str().unwrap(), "SCENARIOS")
        };
        insta::assert_snapshot!(shown(why), @r"the object `no-such` cannot be used: CACHE/no-such.bpf.o: No such file or directory (os error 2)");
        fs::File::create(folder.path().join("big.bpf.o")).unwrap().set_len(LARGEST_OBJECT + 1).unwrap();
        let why = object_files.fetch(&mut scenario("big.bpf.o"), folder.path()).unwrap_err();
        insta::assert_snapshot!(shown(why), @"the object `big.bpf.o` cannot be used: SCENARIOS/big.bpf.o is larger than 4194304 bytes");
    }
}
