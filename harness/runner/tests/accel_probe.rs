//! The accelerator probe, run with a real QEMU and with scripts that fail as on a host without support.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::{Duration, Instant},
};

use harness_runner::{
    accel::{
        Accel,
        probe::{Proof, run},
    },
    qemu::Qemu,
};

const LONG: Duration = Duration::from_secs(30);

fn script(folder: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = folder.path().join("qemu");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn the_rom_runs_to_its_end_on_a_processor_that_works() {
    let qemu = Qemu::find().expect("these tests need QEMU");
    assert_eq!(run(qemu.path(), Accel::Tcg, LONG), Proof::Ran);
}

#[test]
fn an_emulation_failure_is_reported_before_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let qemu = script(&folder, "echo 'KVM internal error. Suberror: 1' >&2; exec sleep 60");
    let started = Instant::now();
    assert_eq!(run(&qemu, Accel::Kvm, LONG), Proof::Failed("KVM internal error. Suberror: 1".to_owned()));
    assert!(started.elapsed() < LONG / 2, "{:?}", started.elapsed());
}

#[test]
fn a_guest_that_hangs_or_ends_otherwise_has_not_run() {
    let folder = tempfile::tempdir().unwrap();
    for (text, expected) in [
        ("exec sleep 60", "it did not end in time"),
        ("exit 0", "QEMU ended with exit status: 0"),
        (
            "echo 'Could not access KVM kernel module' >&2; exit 1",
            "QEMU ended with exit status: 1: Could not access KVM kernel module",
        ),
    ] {
        let proof = run(&script(&folder, text), Accel::Kvm, Duration::from_millis(300));
        assert_eq!(proof, Proof::Failed(expected.to_owned()), "{text}");
    }
}

#[test]
fn a_guest_has_not_run_without_qemu() {
    let folder = tempfile::tempdir().unwrap();
    let proof = run(&folder.path().join("qemu"), Accel::Kvm, LONG);
    assert_eq!(proof, Proof::Failed("No such file or directory (os error 2)".to_owned()));
}
