//! Builds: what is kept, what is rebuilt, and what happens when a build fails or is interrupted.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use harness_builder::{
    cache::{Area, Cache},
    kernel::{self, DEFAULT_ARGS, KernelError, Manifest},
    pins::Pins,
    progress::Progress,
};

use crate::stand_in::Bench;

#[test]
fn a_build_keeps_what_a_vm_needs() {
    let bench = Bench::new();
    let manifest = bench.tree();
    assert!(kernel::find_built(&manifest, &bench.cache()).unwrap().is_none());
    let kernel = bench.build(&manifest).unwrap();
    assert_eq!((kernel.name.as_str(), kernel.release()), ("9.9", "9.9.0"));
    assert!(fs::read(kernel.boot_image()).unwrap().starts_with(b"\x7fELF"));
    assert!(fs::read(kernel.btf()).unwrap().starts_with(&[0x9f, 0xeb]));
    assert_eq!(fs::read_to_string(kernel.config()).unwrap().trim(), "CONFIG_BPF_SYSCALL=y");
    let vocabulary = kernel.vocabulary().unwrap();
    assert_eq!(vocabulary.cmds.number("token_create"), Some(36));
    assert!(vocabulary.has_attr_member("map_token_fd") && !vocabulary.has_info_struct("bpf_token_info"));
    assert_eq!(kernel.args.iter().map(String::as_str).collect::<Vec<_>>(), [DEFAULT_ARGS, &["quiet"]].concat());
    assert_eq!(kernel.record.objects_compiled, 2);
    kernel.verify().unwrap();
}

#[test]
fn an_unchanged_kernel_is_not_built_again() {
    let bench = Bench::new();
    let manifest = bench.tree();
    let first = bench.build(&manifest).unwrap();
    let second = bench.build(&manifest).unwrap();
    assert_eq!((&first.key, first.record.built), (&second.key, second.record.built));
    assert_eq!(kernel::find_built(&manifest, &bench.cache()).unwrap().unwrap().key, first.key);
}

#[test]
fn an_edit_compiles_one_object_and_makes_another_kernel() {
    let bench = Bench::new();
    let manifest = bench.tree();
    let first = bench.build(&manifest).unwrap();
    fs::write(bench.path("linux/fork.c"), "int fork_count = 7;\n").unwrap();
    assert!(kernel::find_built(&manifest, &bench.cache()).unwrap().is_none());
    let second = bench.build(&manifest).unwrap();
    assert_ne!(first.key, second.key);
    assert_eq!(second.record.objects_compiled, 1);
    assert!(first.boot_image().exists(), "the earlier kernel is still there");
}

#[test]
fn an_edit_during_a_build_is_not_kept_under_the_old_key() {
    let bench = Bench::new();
    fs::write(bench.path("linux/fork.meanwhile"), "int fork_count = 7;\n").unwrap();
    let message = bench.shown(&bench.build(&bench.tree()).unwrap_err());
    insta::assert_snapshot!(message, @"/BENCH/kernels/../linux changed during the build of kernel 9.9, so nothing was kept; build it again when nobody edits it");
    assert_eq!(fs::read_dir(bench.path("cache/kernels")).unwrap().count(), 0);
    // The object is newer than the edit, but has the old text: make alone would use it.
    let again = bench.build(&bench.tree()).unwrap();
    assert_eq!(again.record.objects_compiled, 1);
    let boot = fs::read(again.boot_image()).unwrap();
    fs::remove_dir_all(bench.path("cache")).unwrap();
    let afresh = bench.build(&bench.tree()).unwrap();
    assert_eq!((afresh.record.objects_compiled, &afresh.key), (2, &again.key));
    assert!(fs::read(afresh.boot_image()).unwrap() == boot, "not a kernel of the current source");
}

#[test]
fn another_configuration_makes_another_kernel() {
    let bench = Bench::new();
    let first = bench.build(&bench.tree()).unwrap();
    bench.fragment("CONFIG_BPF_SYSCALL=y\nCONFIG_NET=y\n");
    let second = bench.build(&bench.tree()).unwrap();
    assert_ne!(first.key, second.key);
    assert_eq!(fs::read_to_string(second.config()).unwrap(), "\nCONFIG_BPF_SYSCALL=y\nCONFIG_NET=y\n\n");
}

#[test]
fn every_option_that_differs_is_listed_and_nothing_is_built() {
    let bench = Bench::new();
    bench.fragment("CONFIG_BPF_SYSCALL=y\nCONFIG_GONE=y\nCONFIG_UNMET=y\n");
    let manifest = bench.tree();
    let message = bench.shown(&bench.build(&manifest).unwrap_err());
    insta::assert_snapshot!(message, @r"
    /BENCH/kernels/9.9.toml: the resolved configuration differs from the fragments:
      CONFIG_GONE: requested y, but this kernel has no such option
      CONFIG_UNMET: requested y, resolved to n
    change the fragments, or add an [[exception]] with a reason to the manifest
    ");
    assert!(kernel::find_built(&manifest, &bench.cache()).unwrap().is_none() && bench.leftovers().is_empty());
}

#[test]
fn an_exception_with_a_reason_lets_an_option_differ() {
    let bench = Bench::new();
    bench.fragment("CONFIG_BPF_SYSCALL=y\nCONFIG_GONE=y\n");
    let exception = "[[exception]]\noption = 'CONFIG_GONE'\nvalue = 'absent'\nreason = 'renamed'\n";
    let manifest = bench.manifest(&format!("[source.tree]\npath = '../linux'\n{exception}"));
    bench.build(&manifest).unwrap();
}

#[test]
fn a_failed_build_shows_the_error_and_continues_where_it_stopped() {
    let bench = Bench::new();
    fs::write(bench.path("linux/token.c"), "this is not C\n").unwrap();
    let message = bench.shown(&bench.build(&bench.tree()).unwrap_err());
    let (command, output) = message.split_once("\nIts last output:\n").unwrap();
    let jobs = format!("--jobs={}", thread::available_parallelism().map_or(1, usize::from));
    insta::assert_snapshot!(command.replace(&jobs, "--jobs=N"), @r"
    a command failed (exit status: 2); to repeat it by hand:
      make --directory /BENCH/linux O=/BENCH/cache/trees/kernel-9.9/objects ARCH=x86_64 --jobs=N vmlinux
    ");
    assert!(output.lines().any(|line| line.starts_with("token.c:1:1: error: ")), "{output}");
    assert!(bench.leftovers().is_empty());
    fs::write(bench.path("linux/token.c"), include_str!("token.c")).unwrap();
    assert_eq!(bench.build(&bench.tree()).unwrap().record.objects_compiled, 1);
}

#[test]
fn a_damaged_build_is_found_and_built_again() {
    let bench = Bench::new();
    let manifest = bench.tree();
    let kernel = bench.build(&manifest).unwrap();
    let whole = fs::read(kernel.boot_image()).unwrap();
    fs::write(kernel.boot_image(), "").unwrap();
    assert!(kernel::find_built(&manifest, &bench.cache()).unwrap().is_none());
    let (progress, log) = Progress::captured();
    let again = kernel::build(&manifest, Pins::default(), &bench.cache(), &progress).unwrap();
    let note = bench.shown(&log.text().lines().next().unwrap().replace(&kernel.key, "KEY"));
    insta::assert_snapshot!(note, @"/BENCH/cache/kernels/9.9-KEY is damaged; building it again");
    assert_eq!(fs::read(again.boot_image()).unwrap(), whole);
    fs::write(again.boot_image(), vec![0; whole.len()]).unwrap();
    assert!(matches!(again.verify(), Err(KernelError::Damaged(..))));
}

/// Flips a bit in the middle of a file.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_kernel_with_a_flipped_bit_is_built_again() {
    let bench = Bench::new();
    let (manifest, cache) = (bench.tree(), bench.cache());
    let dir = bench.build(&manifest).unwrap().dir;
    let mut shown = Vec::new();
    let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    for name in names {
        flip(&dir.join(name));
        let (progress, log) = Progress::captured();
        // As before a VM starts.
        assert!(cache.remove_damaged(Area::Kernels, &dir, &progress).unwrap());
        bench.build(&manifest).unwrap();
        let text = bench.shown(&log.text()).replace(dir.file_name().unwrap().to_str().unwrap(), "KERNEL");
        // A child of another test holds the lock until it executes its program.
        shown.extend(text.lines().filter(|line| !line.starts_with("waiting for")).map(str::to_owned));
    }
    insta::assert_snapshot!(shown.join("\n"), @"
    /BENCH/cache/kernels/KERNEL/System.map has another SHA-256 sum than when it was built; building /BENCH/cache/kernels/KERNEL again
    /BENCH/cache/kernels/KERNEL/boot has another SHA-256 sum than when it was built; building /BENCH/cache/kernels/KERNEL again
    /BENCH/cache/kernels/KERNEL/config has another SHA-256 sum than when it was built; building /BENCH/cache/kernels/KERNEL again
    /BENCH/cache/kernels/KERNEL/record.json has another SHA-256 sum than when it was built; building /BENCH/cache/kernels/KERNEL again
    /BENCH/cache/kernels/KERNEL/vmlinux.btf has another SHA-256 sum than when it was built; building /BENCH/cache/kernels/KERNEL again
    /BENCH/cache/kernels/KERNEL/vocabulary.json has another SHA-256 sum than when it was built; building /BENCH/cache/kernels/KERNEL again
    ");
    // Files that are read without a VM are compared before that.
    for name in ["config", "record.json", "vocabulary.json"] {
        flip(&dir.join(name));
        assert!(kernel::find_built(&manifest, &cache).unwrap().is_none(), "{name}");
        bench.build(&manifest).unwrap();
    }
}

#[test]
fn a_kernel_of_an_older_version_is_compared_with_its_record_and_kept() {
    let bench = Bench::new();
    let (manifest, cache) = (bench.tree(), bench.cache());
    let kernel = bench.build(&manifest).unwrap();
    let sums = cache.root().join("sums");
    fs::remove_dir_all(&sums).unwrap();
    let due = Instant::now() + Duration::from_secs(10);
    // A child of another test holds the lock until it executes its program.
    while !sums.exists() && Instant::now() < due {
        assert_eq!(bench.build(&manifest).unwrap().record, kernel.record);
    }
    fs::remove_dir_all(&sums).unwrap();
    flip(&kernel.boot_image());
    assert!(kernel::find_built(&manifest, &cache).unwrap().is_none());
    assert_ne!(bench.build(&manifest).unwrap().record, kernel.record);
}

#[test]
fn concurrent_builds_build_once() {
    let bench = Bench::new();
    let manifest = bench.tree();
    let kernels: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(|| bench.build(&manifest).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(kernels[0].key, kernels[1].key);
    assert_eq!(kernels[0].record, kernels[1].record);
}

/// Variables for the process that the test kills: the manifest and the cache of its build.
const MANIFEST: &str = "STAND_IN_MANIFEST";
const CACHE: &str = "STAND_IN_CACHE";

#[test]
fn a_killed_build_continues_where_it_stopped() {
    if let (Some(manifest), Some(cache)) = (env::var_os(MANIFEST), env::var_os(CACHE)) {
        let manifest = Manifest::read(manifest.as_ref()).unwrap();
        kernel::build(&manifest, Pins::default(), &Cache::at(cache).unwrap(), &Progress::silent()).unwrap();
        return;
    }
    let bench = Bench::new();
    let manifest = bench.tree();
    // make -j starts both objects at once; the slow one is compiled, but still pausing, when the build is killed.
    fs::write(bench.path("linux/token.slow"), "").unwrap();
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "build::a_killed_build_continues_where_it_stopped"])
        .env(MANIFEST, &manifest.path)
        .env(CACHE, bench.path("cache"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let objects = bench.path("cache/trees/kernel-9.9/objects");
    wait_until("both objects exist", || ["fork.o", "token.o"].iter().all(|name| objects.join(name).exists()));
    child.kill().unwrap();
    child.wait().unwrap();
    // make holds the lock, too: kill it, as a power failure would.
    kill_make(&objects);
    assert!(kernel::find_built(&manifest, &bench.cache()).unwrap().is_none());
    fs::remove_file(bench.path("linux/token.slow")).unwrap();
    let kernel = bench.build(&bench.tree()).unwrap();
    assert_eq!(kernel.record.objects_compiled, 0, "the objects exist already");
    assert!(bench.leftovers().is_empty());
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "timed out waiting until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Kills the make that compiles these objects, and its children.
fn kill_make(objects: &Path) {
    let argument = format!("O={}", objects.display());
    let is_ours = |pid: &String| {
        let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments.starts_with("make\0") && arguments.contains(&argument)
    };
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    for pid in pids.filter(is_ours) {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let victims = children.split_whitespace().map(str::to_owned).chain([pid]);
        Command::new("kill").arg("-KILL").args(victims).stderr(Stdio::null()).status().unwrap();
    }
}
