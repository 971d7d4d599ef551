//! The kinds of source: a tarball from a server, a git revision, a package of an archive.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::Path,
    thread,
};

use harness_builder::{
    digest::Sha256,
    mirror::{Archive, ArchiveError},
    progress::Progress,
};

use crate::stand_in::{Bench, run, write_source};

/// Serves one file to this many requests, then is gone; returns its address.
fn serve(body: Vec<u8>, requests: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/linux-9.9.tar.gz", listener.local_addr().unwrap());
    thread::spawn(move || {
        for _ in 0..requests {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            lines.map_while(Result::ok).find(String::is_empty);
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len()).unwrap();
            stream.write_all(&body).unwrap();
        }
    });
    url
}

fn tarball(bench: &Bench) -> Vec<u8> {
    run("tar", &["--transform", "s/^linux/linux-9.9/", "-czf", "linux.tar.gz", "linux"], &bench.path(""));
    fs::read(bench.path("linux.tar.gz")).unwrap()
}

fn tarball_source(url: &str, body: &[u8]) -> String {
    format!("[source.tarball]\nurl = '{url}'\nsha256 = '{}'\n", Sha256::of_reader(body).unwrap())
}

#[test]
fn a_tarball_is_fetched_once_and_built() {
    let bench = Bench::new();
    let body = tarball(&bench);
    let source = tarball_source(&serve(body.clone(), 1), &body);
    let kernel = bench.build(&bench.manifest(&source)).unwrap();
    assert_eq!((kernel.release(), kernel.record.objects_compiled), ("9.9.0", 2));
    // The server is gone: another configuration takes the source that is unpacked, and the objects.
    bench.fragment("CONFIG_BPF_SYSCALL=y\nCONFIG_NET=y\n");
    assert_eq!(bench.build(&bench.manifest(&source)).unwrap().record.objects_compiled, 0);
    // Without the tree the tarball in the cache is unpacked.
    fs::remove_dir_all(bench.path("cache/trees")).unwrap();
    bench.fragment("CONFIG_BPF_SYSCALL=y\nCONFIG_BPF_JIT=y\n");
    assert_eq!(bench.build(&bench.manifest(&source)).unwrap().record.objects_compiled, 2);
}

#[test]
fn a_tarball_with_another_sum_is_refused_and_forgotten() {
    let bench = Bench::new();
    let body = tarball(&bench);
    let source = tarball_source(&serve(body.clone(), 1), b"what was pinned");
    let message = bench.build(&bench.manifest(&source)).unwrap_err().to_string();
    for content in [&body[..], b"what was pinned"] {
        assert!(message.contains(&Sha256::of_reader(content).unwrap().to_string()), "{message}");
    }
    assert!(bench.leftovers().is_empty() && fs::read_dir(bench.path("cache/downloads")).unwrap().count() == 0);
}

#[test]
fn a_tarball_of_something_else_is_refused() {
    let bench = Bench::new();
    fs::remove_file(bench.path("linux/Makefile")).unwrap();
    let body = tarball(&bench);
    let source = tarball_source(&serve(body.clone(), 1), &body);
    let message = bench.build(&bench.manifest(&source)).unwrap_err().to_string();
    assert!(message.contains("holds no kernel source"), "{message}");
    assert!(bench.leftovers().is_empty());
}

/// A repository with two commits; their names.
fn repository(folder: &Path) -> [String; 2] {
    write_source(folder);
    run("git", &["init", "--quiet"], folder);
    let commit = |message| {
        run("git", &["add", "."], folder);
        let identity = ["-c", "user.name=t", "-c", "user.email=t@t.example", "-c", "commit.gpgsign=false"];
        run("git", &[&identity[..], &["commit", "--quiet", "-m", message]].concat(), folder);
        run("git", &["rev-parse", "HEAD"], folder)
    };
    let first = commit("first");
    let makefile = fs::read_to_string(folder.join("Makefile")).unwrap();
    fs::write(folder.join("Makefile"), makefile.replace("9.9.0", "9.9.1")).unwrap();
    [first, commit("second")]
}

#[test]
fn each_revision_of_a_repository_is_a_kernel_of_its_own() {
    let bench = Bench::new();
    let commits = repository(&bench.path("repository"));
    let source =
        |commit: &str| format!("[source.git]\nurl = '{}'\nrevision = '{commit}'\n", bench.path("repository").display());
    for (commit, release) in commits.iter().zip(["9.9.0", "9.9.1"]) {
        let kernel = bench.build(&bench.manifest(&source(commit))).unwrap();
        // The second one's objects are its own: the first one's tree is gone.
        assert_eq!((kernel.release(), kernel.record.objects_compiled), (release, 2));
    }
    let unknown = "0123456789abcdef0123456789abcdef01234567";
    let message = bench.build(&bench.manifest(&source(unknown))).unwrap_err().to_string();
    assert!(message.contains(&format!("has no commit {unknown}")), "{message}");
}

#[test]
fn a_repository_that_is_not_there_is_named() {
    let bench = Bench::new();
    let revision = "0123456789abcdef0123456789abcdef01234567";
    let manifest = bench.manifest(&format!("[source.git]\nurl = '/nonexistent/linux.git'\nrevision = '{revision}'\n"));
    let message = bench.build(&manifest).unwrap_err().to_string();
    assert!(message.contains("/nonexistent/linux.git") && message.contains("repeat it by hand"), "{message}");
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let bench = Bench::new();
    let message = bench.build(&bench.manifest("[source.tree]\npath = '../gone'\n")).unwrap_err().to_string();
    assert!(message.contains("gone holds no kernel source"), "{message}");
}

fn open_archive(mirror: &str) -> String {
    let bench = Bench::new();
    let mirror = mirror.parse().unwrap();
    let error = Archive::open(&bench.cache(), mirror, "trixie", &Progress::silent()).unwrap_err();
    assert!(matches!(error, ArchiveError::Lists { .. }), "{error}");
    error.to_string()
}

#[test]
fn an_archive_that_nobody_signed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dists = folder.path().join("dists/trixie/main/binary-amd64");
    fs::create_dir_all(&dists).unwrap();
    fs::write(dists.join("Packages"), "Package: linux-source-6.12\nVersion: 6.12.666-1\n").unwrap();
    fs::write(folder.path().join("dists/trixie/Release"), "Suite: trixie\nCodename: trixie\nComponents: main\n")
        .unwrap();
    let message = open_archive(&format!("file:{}", folder.path().display()));
    assert!(message.contains("package lists of trixie"), "{message}");
}

#[test]
fn an_archive_that_does_not_answer_is_named_with_the_way_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mirror = format!("http://{}/debian", listener.local_addr().unwrap());
    drop(listener);
    let message = open_archive(&mirror);
    assert!(message.contains(&mirror) && message.contains("BPF_TOKEN_HARNESS_MIRROR"), "{message}");
}
