//! Calls that are refused before anything is built.

use std::process::{Command, Stdio};

/// Calls the program without a terminal, and with a cache that nothing can be built in.
fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(arguments).env("BPF_TOKEN_HARNESS_CACHE", "/dev/null/cache").stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.stdout.is_empty(), "{output:?}");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_shell_without_a_terminal_builds_nothing() {
    let (code, message) = refused(&["shell", "--no-install"]);
    assert_eq!(code, Some(2), "{message}");
    insta::assert_snapshot!(message, @"error: a shell needs a terminal, but the standard input is not one; to run scenarios, use `cargo xtask run`");
}

#[test]
fn a_registry_without_certificates_of_authorities_is_told_what_to_install() {
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none.pem");
    std::fs::write(&none, "").unwrap();
    for scheme in ["oci", "oci+http"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["kernel", "pull", "6.12", "--from"]).arg(format!("{scheme}://127.0.0.1:1/kernels"));
        // In place of the system's own (rustls-native-certs).
        command.env("SSL_CERT_FILE", &none).env("SSL_CERT_DIR", folder.path().join("none"));
        command.env("BPF_TOKEN_HARNESS_CACHE", folder.path().join("cache"));
        let output = command.stdin(Stdio::null()).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{message}");
        assert!(message.contains("`apt-get install ca-certificates`"), "{message}");
    }
}
