use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use super::*;
use crate::{digest::Sha256, kernel};

const SUM: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// A machine: its manifests and its cache.
struct Machine {
    folder: tempfile::TempDir,
    cache: Cache,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("cache")).unwrap();
        let kernels = folder.path().join("kernels");
        fs::create_dir_all(&kernels).unwrap();
        let text = format!(
            "summary = 's'\n[source.prebuilt.debian]\nsuite = 's'\nversion = '1'\npackages = {{ p = '{SUM}' }}\n"
        );
        fs::write(kernels.join("9.9.toml"), text).unwrap();
        Self { folder, cache }
    }

    fn manifest(&self) -> Manifest {
        Manifest::read(&self.folder.path().join("kernels/9.9.toml")).unwrap()
    }

    /// Puts a kernel into the cache as a build does.
    fn build(&self) -> Kernel {
        let manifest = self.manifest();
        let inputs = Inputs::of(&manifest).unwrap();
        let entry = self.cache.entry(Area::Kernels, &entry_name(&manifest, &inputs.key(None))).unwrap();
        let lock = entry.lock(&Progress::silent()).unwrap();
        let staging = lock.stage_folder().unwrap();
        for file in record::ALWAYS {
            fs::write(staging.path().join(file), format!("the {file}")).unwrap();
        }
        let record = Record {
            files: record::files(staging.path()).unwrap(),
            ..Record::not_compiled(manifest.build_name().clone(), "9.9.1", &inputs.source)
        };
        fs::write(staging.path().join(record::FILE_NAME), serde_json::to_string(&record).unwrap()).unwrap();
        staging.publish().unwrap();
        kernel::find_built(&manifest, &self.cache).unwrap().unwrap()
    }

    fn push(&self, place: &Place, how: Push) -> Result<bool, SharingError> {
        push(&self.manifest(), &self.build(), place, how, &Progress::silent())
    }

    fn pull(&self, place: &Place) -> Result<Kernel, SharingError> {
        pull(&self.manifest(), place, &self.cache, &Progress::silent())
    }

    /// What is in the cache's folder of kernels.
    fn kernels(&self) -> usize {
        fs::read_dir(self.cache.folder(Area::Kernels).unwrap()).unwrap().count()
    }
}

/// A folder with a shared kernel.
fn shared() -> (tempfile::TempDir, Place, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::Folder(folder.path().join("place"));
    let machine = Machine::new();
    assert!(machine.push(&place, Push::Missing).unwrap());
    let kernel = folder.path().join("place").join(name(&machine.manifest()).unwrap());
    (folder, place, kernel)
}

/// An error with its causes; the parts that differ from run to run have names.
fn message(error: SharingError, place: &Place) -> String {
    let name = name(&Machine::new().manifest()).unwrap();
    chain(&error).replace(&place.to_string(), "PLACE").replace(&name, "NAME")
}

#[test]
fn what_one_machine_pushes_another_pulls_and_finds() {
    let (_folder, place, _) = shared();
    let machine = Machine::new();
    assert!(kernel::find_built(&machine.manifest(), &machine.cache).unwrap().is_none());
    let kernel = machine.pull(&place).unwrap();
    assert_eq!(fs::read_to_string(kernel.boot_image()).unwrap(), "the boot");
    assert_eq!(kernel.record.pulled.as_deref(), Some(place.to_string().as_str()));
    let found = kernel::find_built(&machine.manifest(), &machine.cache).unwrap().unwrap();
    assert_eq!((found.key, found.dir), (kernel.key, kernel.dir));
    // A second time nothing is transferred, and what was pulled is pushed as it was built.
    let other = Place::Folder(machine.folder.path().join("other"));
    machine.pull(&place).unwrap();
    assert!(
        push(
            &machine.manifest(),
            &kernel::find_built(&machine.manifest(), &machine.cache).unwrap().unwrap(),
            &other,
            Push::Missing,
            &Progress::silent()
        )
        .unwrap()
    );
    assert_eq!(Machine::new().pull(&other).unwrap().record.pulled, Some(other.to_string()));
}

#[test]
fn a_shared_kernel_stays_unless_it_is_replaced() {
    let (_folder, place, kernel) = shared();
    fs::write(kernel.join("boot"), "the boob").unwrap();
    assert!(!Machine::new().push(&place, Push::Missing).unwrap());
    assert!(Machine::new().pull(&place).is_err());
    assert!(Machine::new().push(&place, Push::Replace).unwrap());
    Machine::new().pull(&place).unwrap();
    assert_eq!(fs::read_dir(kernel.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn what_arrives_damaged_is_named_and_not_kept() {
    type Damage<'a> = (&'a str, &'a dyn Fn(&Path));
    let damage: [Damage<'_>; 6] = [
        ("flipped", &|kernel| fs::write(kernel.join("boot"), "the boob").unwrap()),
        ("longer", &|kernel| fs::write(kernel.join("boot"), "the boot and more").unwrap()),
        ("missing", &|kernel| fs::remove_file(kernel.join("config")).unwrap()),
        ("no record", &|kernel| fs::write(kernel.join("record.json"), "{").unwrap()),
        ("foreign", &|kernel| edit(kernel, |record| record.source = "another".to_owned())),
        ("leads out", &|kernel| {
            edit(kernel, |record| {
                let file = record.files["boot"].clone();
                record.files.insert("../../boot".to_owned(), file);
            });
        }),
    ];
    let mut text = String::new();
    for (what, damage) in damage {
        let (_folder, place, kernel) = shared();
        damage(&kernel);
        let machine = Machine::new();
        text += &format!("{what}: {}\n", message(machine.pull(&place).unwrap_err(), &place));
        assert_eq!(machine.kernels(), 0);
    }
    insta::assert_snapshot!(without_paths(&text));
}

/// Replaces the paths of staging folders, which are below a temporary one.
fn without_paths(text: &str) -> String {
    let line = |line: &str| match (line.find(std::env::temp_dir().to_str().unwrap()), line.find(".partial-")) {
        (Some(start), Some(end)) if start < end => {
            let rest = &line[end..];
            format!("{}STAGING{}\n", &line[..start], rest.find('/').map_or("", |at| &rest[at..]))
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

fn edit(kernel: &Path, change: impl Fn(&mut Record)) {
    let path = kernel.join(record::FILE_NAME);
    let mut record: Record = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut record);
    fs::write(path, serde_json::to_string(&record).unwrap()).unwrap();
}

#[test]
fn a_record_that_would_fill_the_disk_is_refused() {
    let machine = Machine::new();
    let kernel = machine.build();
    let inputs = Inputs::of(&machine.manifest()).unwrap();
    let checked = |bytes: u64| {
        let mut record = kernel.record.clone();
        record.files.get_mut("boot").unwrap().bytes = bytes;
        check(&record, &machine.manifest(), &inputs)
    };
    assert_eq!(checked(1 << 30), Ok(()));
    for bytes in [MOST_BYTES + 1, u64::MAX] {
        assert_eq!(checked(bytes), Err("its record has more bytes than a kernel".to_owned()));
    }
}

#[test]
fn a_place_without_the_kernel_and_one_that_is_gone_differ() {
    let folder = tempfile::tempdir().unwrap();
    let text = |place: Place| message(Machine::new().pull(&place).unwrap_err(), &place);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let refused = |place: Place| message(Machine::new().push(&place, Push::Missing).unwrap_err(), &place);
    let texts = [
        text(Place::Folder(folder.path().to_owned())),
        text(Place::Folder(folder.path().join("gone"))),
        text(Place::Http(format!("http://127.0.0.1:{port}"))),
        refused(Place::Http("http://h/k".to_owned())),
    ];
    insta::assert_snapshot!(texts.join("\n"));
    let gone = text(format!("oci+http://127.0.0.1:{port}/k").parse().unwrap());
    assert!(gone.starts_with("cannot reach PLACE; check the address, that the server runs"), "{gone}");
    let untrusted = SharingError::unreachable("oci://h/k".to_owned(), "invalid peer certificate: UnknownIssuer".into());
    assert!(
        untrusted.to_string().starts_with("oci://h/k has a certificate that this system does not trust"),
        "{untrusted}"
    );
}

/// A server's answers: by path a status, a type and a body. A body that ends early is announced as longer.
type Answers = Arc<Mutex<BTreeMap<String, (u16, &'static str, Vec<u8>, usize)>>>;

fn serve(answers: &Answers) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answers = Arc::clone(answers);
    thread::spawn(move || listener.incoming().flatten().for_each(|stream| answer(stream, &answers)));
    address
}

fn answer(mut stream: TcpStream, answers: &Answers) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    lines.by_ref().take_while(|line| !line.is_empty()).for_each(drop);
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let known = answers.lock().unwrap().get(&path).cloned();
    let missing = if path.contains("/blobs/") { "BLOB_UNKNOWN" } else { "MANIFEST_UNKNOWN" };
    let missing = format!(r#"{{"errors":[{{"code":"{missing}","message":"m"}}]}}"#);
    let (status, kind, body, cut) = known.unwrap_or((404, "application/json", missing.into_bytes(), 0));
    let head = format!(
        "HTTP/1.1 {status} S\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body[..body.len() - cut]));
}

#[test]
fn an_http_server_serves_a_folder() {
    let (_folder, _, kernel) = shared();
    let answers = Answers::default();
    let name = kernel.file_name().unwrap().to_str().unwrap().to_owned();
    for entry in fs::read_dir(&kernel).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap();
        let body = fs::read(&path).unwrap();
        answers.lock().unwrap().insert(format!("/k/{name}/{file}"), (200, "application/octet-stream", body, 0));
    }
    let place: Place = format!("http://{}/k", serve(&answers)).parse().unwrap();
    let kernel = Machine::new().pull(&place).unwrap();
    assert_eq!(kernel.record.files.len(), record::ALWAYS.len());
    let boot = format!("/k/{name}/boot");
    answers.lock().unwrap().get_mut(&boot).unwrap().2 = b"the boob".to_vec();
    let wrong = message(Machine::new().pull(&place).unwrap_err(), &place);
    answers.lock().unwrap().remove(&boot);
    insta::assert_snapshot!(format!("{wrong}\n{}", message(Machine::new().pull(&place).unwrap_err(), &place)));
}

/// The answers of a registry that has the kernel.
fn registry() -> (Answers, String) {
    let machine = Machine::new();
    let kernel = machine.build();
    let name = name(&machine.manifest()).unwrap();
    let answers = Answers::default();
    let add = |path: String, kind, body: Vec<u8>| answers.lock().unwrap().insert(path, (200, kind, body, 0));
    let sum = |bytes: &[u8]| format!("sha256:{}", Sha256::of_reader(bytes).unwrap());
    let mut layers = Vec::new();
    for file in kernel.record.files.keys() {
        let body = fs::read(kernel.dir.join(file)).unwrap();
        layers.push(serde_json::json!({
            "mediaType": "application/octet-stream", "digest": sum(&body), "size": body.len(),
            "annotations": { "org.opencontainers.image.title": file },
        }));
        add(format!("/v2/k/blobs/{}", sum(&body)), "application/octet-stream", body);
    }
    let record = serde_json::to_vec(&kernel.record).unwrap();
    let config = serde_json::json!({
        "mediaType": "application/vnd.bpf-token-harness.kernel.v1+json", "digest": sum(&record), "size": record.len(),
    });
    add(format!("/v2/k/blobs/{}", sum(&record)), "application/octet-stream", record);
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = serde_json::json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers });
    add(format!("/v2/k/manifests/{name}"), kind, serde_json::to_vec(&manifest).unwrap());
    add("/v2/".to_owned(), "application/json", b"{}".to_vec());
    (answers, name)
}

#[test]
fn a_registry_has_kernels_as_tags() {
    let (answers, _) = registry();
    let place: Place = format!("oci+http://{}/k", serve(&answers)).parse().unwrap();
    let machine = Machine::new();
    let kernel = machine.pull(&place).unwrap();
    assert_eq!(fs::read_to_string(kernel.config()).unwrap(), "the config");
    assert_eq!(kernel.record.pulled, Some(place.to_string()));
}

#[test]
fn what_a_registry_does_wrong_is_named_and_nothing_is_kept() {
    let boot = format!("/v2/k/blobs/sha256:{}", Sha256::of_reader(b"the boot".as_slice()).unwrap());
    type Wrong<'a> = (&'a str, &'a dyn Fn(&Answers, &str));
    let wrong: [Wrong<'_>; 6] = [
        ("flipped", &|answers, _| answers.lock().unwrap().get_mut(&boot).unwrap().2 = b"the boob".to_vec()),
        ("endless", &|answers, _| answers.lock().unwrap().get_mut(&boot).unwrap().2 = vec![0; 1 << 20]),
        ("cut", &|answers, _| answers.lock().unwrap().get_mut(&boot).unwrap().3 = 3),
        ("gone", &|answers, _| drop(answers.lock().unwrap().remove(&boot))),
        ("unknown", &|answers, name| drop(answers.lock().unwrap().remove(&format!("/v2/k/manifests/{name}")))),
        ("refused", &|answers, name| {
            answers.lock().unwrap().get_mut(&format!("/v2/k/manifests/{name}")).unwrap().0 = 401
        }),
    ];
    let mut text = String::new();
    for (what, change) in wrong {
        let (answers, name) = registry();
        change(&answers, &name);
        let place: Place = format!("oci+http://{}/k", serve(&answers)).parse().unwrap();
        let machine = Machine::new();
        text += &format!("{what}: {}\n", message(machine.pull(&place).unwrap_err(), &place));
        assert_eq!(machine.kernels(), 0);
    }
    insta::assert_snapshot!(text);
}
