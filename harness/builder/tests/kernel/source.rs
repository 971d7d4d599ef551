//! The kinds of sources: a tarball from a server, a git revision, a package of an archive.

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

/// Serves a file for this many requests and then stops; returns its URL.
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
    // The server is gone: another configuration reuses the unpacked source and the objects.
    bench.fragment("CONFIG_BPF_SYSCALL=y\nCONFIG_NET=y\n");
    assert_eq!(bench.build(&bench.manifest(&source)).unwrap().record.objects_compiled, 0);
    // Without the tree, the tarball in the cache is unpacked again.
    fs::remove_dir_all(bench.path("cache/trees")).unwrap();
    bench.fragment("CONFIG_BPF_SYSCALL=y\nCONFIG_BPF_JIT=y\n");
    assert_eq!(bench.build(&bench.manifest(&source)).unwrap().record.objects_compiled, 2);
}

#[test]
fn a_tarball_with_another_sum_is_refused_and_discarded() {
    let bench = Bench::new();
    let body = tarball(&bench);
    let url = serve(body.clone(), 1);
    let source = tarball_source(&url, b"what was pinned");
    let message = bench.build(&bench.manifest(&source)).unwrap_err().to_string();
    let message = message.replace(&url, "URL").replace(&Sha256::of_reader(&body[..]).unwrap().to_string(), "RECEIVED");
    insta::assert_snapshot!(message, @r"
    URL has the wrong SHA-256 sum:
      pinned   d3d4167c99134fcdb82d20cd672944bbf6f261136122e9235b57d4eba3d33327
      received RECEIVED
    the download was discarded; if the file was replaced on purpose, write the received sum into the manifest
    ");
    assert!(bench.leftovers().is_empty() && fs::read_dir(bench.path("cache/downloads")).unwrap().count() == 0);
}

#[test]
fn a_tarball_of_something_else_is_refused() {
    let bench = Bench::new();
    fs::remove_file(bench.path("linux/Makefile")).unwrap();
    let body = tarball(&bench);
    let source = tarball_source(&serve(body.clone(), 1), &body);
    let message = bench.shown(&bench.build(&bench.manifest(&source)).unwrap_err());
    insta::assert_snapshot!(message, @"/BENCH/cache/trees/.partial-kernel-9.9/source is not a kernel source: it has no Makefile");
    assert!(bench.leftovers().is_empty());
}

/// Makes a repository with two commits; returns their hashes.
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
        // The second revision compiles its own objects: its tree replaces the first one.
        assert_eq!((kernel.release(), kernel.record.objects_compiled), (release, 2));
    }
    let unknown = "0123456789abcdef0123456789abcdef01234567";
    let message = bench.shown(&bench.build(&bench.manifest(&source(unknown))).unwrap_err());
    insta::assert_snapshot!(message, @"/BENCH/repository has no commit 0123456789abcdef0123456789abcdef01234567; check that it was pushed there");
}

#[test]
fn a_missing_repository_is_named() {
    let bench = Bench::new();
    let revision = "0123456789abcdef0123456789abcdef01234567";
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("linux.git").display().to_string();
    let manifest = bench.manifest(&format!("[source.git]\nurl = '{missing}'\nrevision = '{revision}'\n"));
    let message = bench.shown(&bench.build(&manifest).unwrap_err());
    let (command, _) = message.split_once("\nIts last output:\n").unwrap();
    let sum = Sha256::of_parts([missing.as_bytes()]).short();
    insta::assert_snapshot!(command.replace(&sum, "SUM").replace(&missing, "MISSING"), @r"
    a command failed (exit status: 128); to repeat it by hand:
      git --git-dir /BENCH/cache/downloads/git-SUM fetch --quiet -- MISSING '+refs/*:refs/fetched/*'
    ");
}

#[test]
fn a_missing_folder_is_named() {
    let bench = Bench::new();
    let message = bench.shown(&bench.build(&bench.manifest("[source.tree]\npath = '../gone'\n")).unwrap_err());
    insta::assert_snapshot!(message, @"/BENCH/kernels/../gone is not a kernel source: it has no Makefile");
}

fn open_archive(mirror: &str) -> String {
    let bench = Bench::new();
    let mirror = mirror.parse().unwrap();
    let error = Archive::open(&bench.cache(), mirror, "trixie", &Progress::silent()).unwrap_err();
    assert!(matches!(error, ArchiveError::Lists { .. }), "{error}");
    error.to_string()
}

#[test]
fn an_unsigned_archive_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dists = folder.path().join("dists/trixie/main/binary-amd64");
    fs::create_dir_all(&dists).unwrap();
    fs::write(dists.join("Packages"), "Package: linux-source-6.12\nVersion: 6.12.666-1\n").unwrap();
    fs::write(folder.path().join("dists/trixie/Release"), "Suite: trixie\nCodename: trixie\nComponents: main\n")
        .unwrap();
    let message = open_archive(&format!("file:{}", folder.path().display()));
    let message = message.replace(folder.path().to_str().unwrap(), "/ARCHIVE");
    insta::assert_snapshot!(message, @"cannot read the package lists of trixie from file:/ARCHIVE; check the network, or set BPF_TOKEN_HARNESS_MIRROR to another mirror");
}

#[test]
fn an_unreachable_archive_is_named_with_advice() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mirror = format!("http://{}/debian", listener.local_addr().unwrap());
    drop(listener);
    let message = open_archive(&mirror).replace(&mirror, "MIRROR");
    insta::assert_snapshot!(message, @"cannot read the package lists of trixie from MIRROR; check the network, or set BPF_TOKEN_HARNESS_MIRROR to another mirror");
}
