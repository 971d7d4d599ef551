//! The object files that scenarios load: found by the names written in them, and put where a guest finds them.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use harness_builder::{digest::Sha256, objects::Objects};
use harness_protocol::plan::{Call, LARGEST_OBJECT, OBJECTS_FOLDER, Scenario};

use crate::{capacity::lock, file};

/// What the name of a prebuilt object ends with.
const OBJECT: &str = ".bpf.o";

/// Objects by the names a plan has for them, which are made of their contents.
#[derive(Debug)]
pub struct ObjectFiles {
    /// What was compiled from the project's sources; `None` where nothing is compiled.
    built: Option<Objects>,
    /// The plans' names of those, by their own.
    named: Mutex<BTreeMap<String, String>>,
    held: Mutex<BTreeMap<String, Arc<[u8]>>>,
}

impl ObjectFiles {
    /// An empty shelf, beside what was built from the project's sources.
    pub(crate) fn beside(built: Objects) -> Self {
        Self { built: Some(built), named: Mutex::default(), held: Mutex::default() }
    }

    /// A shelf that knows what objects were called in plans elsewhere, and has none that were compiled.
    pub(crate) fn recorded(named: BTreeMap<String, String>) -> Self {
        Self { built: None, named: Mutex::new(named), held: Mutex::default() }
    }

    /// What plans call the compiled objects fetched until now.
    pub(crate) fn names(&self) -> BTreeMap<String, String> {
        lock(&self.named).clone()
    }

    /// Finds every object a scenario loads and gives it the name that a guest knows it by; `folder` is the scenario's.
    ///
    /// # Errors
    /// What is wrong with an object, in a sentence.
    pub(crate) fn fetch(&self, scenario: &mut Scenario, folder: &Path) -> Result<(), String> {
        for file in files_of(scenario) {
            let Some(path) = self.path(file, folder) else {
                *file =
                    self.names().remove(file).ok_or_else(|| format!("the store does not know the object `{file}`"))?;
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

    /// Takes the bytes of an object; what a plan calls it.
    pub(crate) fn hold(&self, stem: &str, bytes: Arc<[u8]>) -> String {
        let name = format!("{stem}-{}{OBJECT}", Sha256::of_parts([&*bytes]).short());
        lock(&self.held).insert(name.clone(), bytes);
        name
    }

    /// Where an object is; `None` for one that would have to be compiled.
    fn path(&self, file: &str, folder: &Path) -> Option<PathBuf> {
        if file.ends_with(OBJECT) { Some(folder.join(file)) } else { Some(self.built.as_ref()?.path(file)) }
    }

    /// Puts the objects that these scenarios load into a guest's run folder.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub(crate) fn put(&self, scenarios: &[Scenario], share: &Path) -> io::Result<()> {
        let held = lock(&self.held);
        let attempts = scenarios.iter().flat_map(|scenario| &scenario.cases).flat_map(|case| &case.attempts);
        let loads =
            attempts.filter_map(|attempt| if let Call::Object(load) = &attempt.call { Some(load) } else { None });
        let names = loads.flat_map(|load| load.files());
        for (name, bytes) in names.filter_map(|name| held.get_key_value(name)) {
            let folder = share.join(OBJECTS_FOLDER);
            fs::create_dir_all(&folder)?;
            fs::write(folder.join(name), bytes)?;
        }
        Ok(())
    }
}

fn files_of(scenario: &mut Scenario) -> impl Iterator<Item = &mut String> {
    let attempts = scenario.cases.iter_mut().flat_map(|case| &mut case.attempts);
    let loads =
        attempts.filter_map(|attempt| if let Call::Object(load) = &mut attempt.call { Some(load) } else { None });
    loads.flat_map(|load| load.files_mut())
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
        let cache = Cache::at(cache).unwrap();
        ObjectFiles::beside(objects::build(Path::new("/nonexistent"), &cache, &Progress::silent()).unwrap())
    }

    fn scenario(file: &str) -> Scenario {
        let call = Call::Object(ObjectLoad { file: file.to_owned(), ..Default::default() });
        let attempt = Attempt::new(Actor::Host, Token::None, call);
        let (sysctls, lsm) = Default::default();
        let cases = vec![Case { sysctls: BTreeMap::new(), containers: vec![], attempts: vec![attempt] }];
        Scenario { name: "a/b".parse().unwrap(), deadline_ms: 1, sysctls, lsm, lockdown: None, own_vm: false, cases }
    }

    #[test]
    fn an_object_goes_from_beside_its_scenario_to_the_guest() {
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
    fn where_nothing_is_compiled_recorded_names_do() {
        let folder = tempfile::tempdir().unwrap();
        let object_files = ObjectFiles::recorded([("x".to_owned(), "x-12.bpf.o".to_owned())].into());
        let mut plan = scenario("x");
        object_files.fetch(&mut plan, folder.path()).unwrap();
        assert_eq!(files_of(&mut plan).next().unwrap(), "x-12.bpf.o");
        assert_eq!(
            object_files.fetch(&mut scenario("y"), folder.path()).unwrap_err(),
            "the store does not know the object `y`"
        );
    }

    #[test]
    fn an_object_that_is_not_there_or_too_large_is_named() {
        let (cache, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let object_files = object_files(cache.path());
        let why = object_files.fetch(&mut scenario("no-such"), folder.path()).unwrap_err();
        assert!(why.starts_with("the object `no-such` cannot be used: ") && why.contains("No such file"), "{why}");
        fs::File::create(folder.path().join("big.bpf.o")).unwrap().set_len(LARGEST_OBJECT + 1).unwrap();
        let why = object_files.fetch(&mut scenario("big.bpf.o"), folder.path()).unwrap_err();
        assert!(why.ends_with("is larger than 4194304 bytes"), "{why}");
    }
}
