//! Pinned versions that have left the mirror: what is used instead, and what `--locked` and `pin` do.
//!
//! The mirror is a folder, which the apt configuration of each call trusts without a signature.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
};

use serde_json::Value;

/// What a stand-in for a kernel's source consists of.
const SOURCE: [(&str, &str); 3] = [
    ("Makefile", include_str!("../../harness/builder/tests/kernel/Makefile.stand-in")),
    ("token.c", include_str!("../../harness/builder/tests/kernel/token.c")),
    ("fork.c", "int fork_count;\n"),
];

/// A project with one kernel, a mirror, and a cache.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    /// Makes a project whose kernel pins a version of `linux-source-9.9` with this sum.
    fn new(version: &str, sum: &str) -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        for folder in ["kernels/fragments", "images", "scenarios"] {
            fs::create_dir_all(bench.path("project").join(folder)).unwrap();
        }
        fs::write(bench.path("project/Cargo.toml"), "").unwrap();
        fs::write(bench.path("project/kernels/fragments/a.config"), "CONFIG_BPF_SYSCALL=y\n").unwrap();
        let manifest = format!(
            "summary = 'stand-in'\nfragments = ['a']\n[source.debian]\npackage = \"linux-source-9.9\"\n\
             version = \"{version}\"\nsuite = \"trixie\"\nsha256 = \"{sum}\"\n"
        );
        fs::write(bench.path("project/kernels/9.9.toml"), manifest).unwrap();
        let trusting = "Acquire::AllowInsecureRepositories \"true\";\nAPT::Get::AllowUnauthenticated \"true\";\n";
        fs::write(bench.path("apt.conf"), trusting).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a source package of this version; returns its file.
    fn package(&self, version: &str) -> PathBuf {
        let folder = tempfile::tempdir().unwrap();
        let (tree, source) = (folder.path().join("tree"), folder.path().join("linux"));
        fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        fs::create_dir_all(tree.join("usr/src")).unwrap();
        fs::create_dir(&source).unwrap();
        for (name, text) in SOURCE {
            fs::write(source.join(name), text.replace("9.9.0", version.split('-').next().unwrap())).unwrap();
        }
        fs::write(tree.join("DEBIAN/control"), control(version) + "Description: d\n").unwrap();
        let tarball = tree.join("usr/src/linux-source-9.9.tar.gz");
        run("tar", &["-czf", path(&tarball), "-C", path(folder.path()), "linux"]);
        let file = self.path(&format!("{version}.deb"));
        run("dpkg-deb", &["--root-owner-group", "--build", path(&tree), path(&file)]);
        file
    }

    /// Makes a mirror with this version only.
    fn mirror(&self, version: &str) {
        let (file, mirror) = (self.package(version), self.path("mirror"));
        let lists = mirror.join("dists/trixie/main/binary-amd64");
        fs::create_dir_all(&lists).unwrap();
        fs::create_dir_all(mirror.join("pool")).unwrap();
        fs::copy(&file, mirror.join("pool/source.deb")).unwrap();
        let (size, sum) = (fs::metadata(&file).unwrap().len(), sum(&file));
        let control = control(version);
        let packages = format!("{control}Filename: pool/source.deb\nSize: {size}\nSHA256: {sum}\nDescription: d\n\n");
        fs::write(lists.join("Packages"), &packages).unwrap();
        let (size, sum) = (packages.len(), self::sum(&lists.join("Packages")));
        let release = format!(
            "Suite: stable\nCodename: trixie\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nComponents: main\n\
             Architectures: amd64\nSHA256:\n {sum} {size} main/binary-amd64/Packages\n"
        );
        fs::write(mirror.join("dists/trixie/Release"), release).unwrap();
    }

    /// Calls the program in the project.
    fn call(&self, line: &str, variables: &[(&str, &str)]) -> Call {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(line.split_whitespace()).current_dir(self.path("project"));
        command.env_remove("CARGO_MANIFEST_DIR").env_remove("BPF_TOKEN_HARNESS_SNAPSHOT").env("TERM", "dumb");
        command.env("BPF_TOKEN_HARNESS_CACHE", self.path("cache")).env("APT_CONFIG", self.path("apt.conf"));
        command.env("BPF_TOKEN_HARNESS_MIRROR", format!("file:{}", self.path("mirror").display()));
        command.envs(variables.iter().copied());
        Call::of(command.output().unwrap(), self.folder.path())
    }

    /// The only kernel in the cache: its folder, and its record.
    fn kernel(&self) -> (PathBuf, Value) {
        let kernels: Vec<PathBuf> =
            fs::read_dir(self.path("cache/kernels")).unwrap().map(|entry| entry.unwrap().path()).collect();
        let [kernel] = &kernels[..] else { panic!("{kernels:?}") };
        (kernel.clone(), serde_json::from_str(&fs::read_to_string(kernel.join("record.json")).unwrap()).unwrap())
    }

    fn manifest(&self) -> String {
        fs::read_to_string(self.path("project/kernels/9.9.toml")).unwrap()
    }
}

fn control(version: &str) -> String {
    format!("Package: linux-source-9.9\nVersion: {version}\nArchitecture: all\nMaintainer: m\n")
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs a program that must succeed; returns its output.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn sum(file: &Path) -> String {
    run("sha256sum", &[path(file)])[..64].to_owned()
}

/// What a call printed, without the bench's folder, sums and times, and how it ended.
#[derive(Debug)]
struct Call {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Call {
    fn of(output: Output, folder: &Path) -> Self {
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).replace(path(folder), "/BENCH");
            let timeless = |line: &str| match line.rsplit_once(" (") {
                Some((head, time)) if time.ends_with(" s)") => head.to_owned(),
                _ => line.to_owned(),
            };
            text.lines().map(|line| timeless(line) + "\n").collect::<String>()
        };
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// A sum that no package has.
const GONE: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

const BUILD: &str = "kernel build 9.9 --no-install";
const LOCKED: &str = "kernel build 9.9 --no-install --locked";

#[test]
fn the_newest_version_takes_the_place_of_one_that_has_left_the_mirror() {
    let bench = Bench::new("9.9.1-1", GONE);
    bench.mirror("9.9.2-1");
    let locked = bench.call(LOCKED, &[]);
    insta::assert_snapshot!("locked", locked.err);
    assert_eq!(locked.code, Some(3));

    let first = bench.call(BUILD, &[]);
    insta::assert_snapshot!("replaced", first.err);
    assert_eq!(first.code, Some(0));
    let (kernel, record) = bench.kernel();
    insta::assert_snapshot!(record["replaced"], @r#"[{"package":"linux-source-9.9","pinned":"9.9.1-1","used":"9.9.2-1"}]"#);
    let source = format!("linux-source-9.9 9.9.2-1 {}", sum(&bench.path("9.9.2-1.deb")));
    assert_eq!((record["source"].as_str(), record["release"].as_str()), (Some(&*source), Some("9.9.2")));

    // A warm run needs no mirror, and `--locked` takes no replacement from the cache.
    fs::rename(bench.path("mirror"), bench.path("away")).unwrap();
    let warm = bench.call(BUILD, &[]);
    assert_eq!((warm.code, &warm.out), (Some(0), &first.out), "{}", warm.err);
    assert!(!warm.err.contains("package lists"), "{}", warm.err);
    assert_eq!(bench.call(LOCKED, &[]).code, Some(3));
    fs::rename(bench.path("away"), bench.path("mirror")).unwrap();

    // Pinned, it is the same build.
    let pinned = bench.call("pin --all --no-run --no-install", &[]);
    assert_eq!((pinned.code, pinned.out.as_str()), (Some(0), "kernel 9.9: linux-source-9.9 9.9.1-1 -> 9.9.2-1\n"));
    assert!(bench.manifest().contains(&sum(&bench.path("9.9.2-1.deb"))));
    let locked = bench.call(LOCKED, &[]);
    assert_eq!((locked.code, &locked.out), (Some(0), &first.out), "{}", locked.err);
    assert_eq!(bench.kernel().0, kernel);
    let again = bench.call("pin --all --no-run --no-install", &[]);
    assert_eq!(again.out, "every pin is the newest version already\n");
}

#[test]
fn a_kernel_named_after_a_release_gets_no_other() {
    let bench = Bench::new("9.9.1-1", GONE);
    bench.mirror("9.9.2-1");
    fs::rename(bench.path("project/kernels/9.9.toml"), bench.path("project/kernels/9.9.1.toml")).unwrap();
    let call = bench.call("kernel build 9.9.1 --no-install", &[]);
    assert_eq!(call.code, Some(3));
    insta::assert_snapshot!("another_release", call.err);
}

#[test]
fn a_snapshot_archive_supplies_the_pinned_version() {
    let bench = Bench::new("9.9.1-1", GONE);
    bench.mirror("9.9.2-1");
    let file = bench.package("9.9.1-1");
    let manifest = bench.manifest().replace(GONE, &sum(&file));
    fs::write(bench.path("project/kernels/9.9.toml"), manifest).unwrap();
    let base = serve(fs::read(&file).unwrap());
    let call = bench.call(LOCKED, &[("BPF_TOKEN_HARNESS_SNAPSHOT", &base)]);
    assert_eq!(call.code, Some(0), "{}", call.err);
    insta::assert_snapshot!("snapshot", call.err.replace(&base, "SNAPSHOT"));
    let record = bench.kernel().1;
    assert_eq!((record["release"].as_str(), record.get("replaced")), (Some("9.9.1"), None));
}

#[test]
fn an_unreachable_snapshot_archive_stops_nobody() {
    let bench = Bench::new("9.9.1-1", GONE);
    bench.mirror("9.9.2-1");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let call = bench.call(BUILD, &[("BPF_TOKEN_HARNESS_SNAPSHOT", &base)]);
    assert_eq!(call.code, Some(0), "{}", call.err);
    let note = call.err.lines().find(|line| line.contains("snapshot")).unwrap().replace(&base, "SNAPSHOT");
    insta::assert_snapshot!(note, @"the snapshot archive SNAPSHOT does not supply linux-source-9.9=9.9.1-1: SNAPSHOT/mr/binary/linux-source-9.9/9.9.1-1/binfiles: io: Connection refused (os error 111)");
    assert_eq!(bench.kernel().1["release"], "9.9.2");
}

/// Serves a file as a snapshot archive does: first the names of the files of version 9.9.1-1, then the file.
fn serve(body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let names = br#"{"result": [{"architecture": "all", "hash": "0123"}]}"#.to_vec();
        for (path, body) in [("/mr/binary/linux-source-9.9/9.9.1-1/binfiles", names), ("/file/0123", body)] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            assert_eq!(lines.next().unwrap().split(' ').nth(1), Some(path));
            lines.find(String::is_empty);
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len()).unwrap();
            stream.write_all(&body).unwrap();
        }
    });
    url
}
