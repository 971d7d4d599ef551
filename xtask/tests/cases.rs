//! Files that people have: what `validate` says of each in `harness/findings/tests/cases`, by its exit code and the codes of
//! errors and warnings.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;

/// A file, the exit code, and the codes that are found; `note` is before that of a note.
type Case = (&'static str, i32, &'static [&'static str]);

const CASES: &[Case] = &[
    ("a01-network.service", 0, &["note nothing-delegated"]),
    ("a03-profile.sh", 1, &["unknown-name"]),
    ("a04-compose.yaml", 1, &["bpffs-of-the-host", "command-without-types"]),
    ("a05-helm.yaml", 2, &[]),
    ("a06-configuration.nix", 2, &[]),
    ("a07-config.json", 2, &[]),
    ("a08-Dockerfile", 1, &["bpffs-of-the-host", "command-without-types"]),
    ("a09-show.txt", 2, &[]),
    ("a10-comment.service", 1, &["unknown-name", "maps-without-map-create"]),
    ("a11-empty-path.sh", 1, &["token-path-elsewhere"]),
    ("a12-deploy.sh", 0, &[]),
    ("a13-cluster.tf", 2, &["value-not-known"]),
    ("a14-plain.mountinfo", 4, &[]),
    ("a15-privileged.conf", 1, &["front-end-complains", "no-user-namespace", "command-without-types"]),
    ("a16-manifest.yaml", 4, &[]),
    ("a17-bind.service", 0, &[]),
    ("a18-instance.json", 0, &[]),
    ("a19-echo.sh", 1, &["bpffs-of-the-host", "command-without-types"]),
    ("a20-unit.service.in", 2, &[]),
    ("a21-mask.yaml", 0, &["narrow-mask"]),
    ("a22-half-misspelt.service", 1, &["front-end-complains", "nothing-delegated"]),
    ("sys-fs-bpf-agent.mount", 1, &["bpffs-of-the-host", "command-without-types"]),
    ("sys-fs-bpf.mount", 4, &[]),
    ("c01-hardening-only.service", 0, &["note nothing-delegated"]),
    ("c03b-setup.sh", 1, &["bpffs-of-the-host", "value-not-known"]),
    ("c03c.sh", 1, &["bpffs-of-the-host", "comma-ends-option", "programs-without-prog-load"]),
    ("c08-bwrap.mounts", 1, &["bpffs-of-the-host"]),
    ("c11-ansible.yml", 1, &["unknown-name"]),
    ("c12-main.tf", 1, &["command-without-effect", "programs-without-prog-load"]),
    ("c13-incus.sh", 1, &["command-without-effect", "programs-without-prog-load"]),
    ("c13b-incus-set.sh", 1, &["command-without-effect", "programs-without-prog-load"]),
    ("c13c-lxc.sh", 0, &[]),
    ("c16b-daemonset.yaml", 1, &["bpffs-of-the-host"]),
    ("c17-wrong-keys.service", 1, &["front-end-complains"]),
    ("c18-run.sh", 0, &[]),
    ("c18c-nspath.service", 1, &["bpffs-of-the-host"]),
    ("c18e-full.service", 0, &[]),
    ("c19-path.service", 1, &["token-path-elsewhere"]),
    ("c19b-hidden.service", 1, &["bpffs-not-reachable"]),
    ("c21-quadlet.container", 2, &[]),
    ("c22-backup.yaml", 1, &["command-without-types", "programs-without-attach-types"]),
    ("c22c-expanded.yaml", 1, &["no-cap-bpf", "seccomp-refuses-bpf"]),
    ("c23-lxc.conf", 1, &["front-end-complains"]),
    ("c24.mountinfo", 1, &["bpffs-of-the-host", "command-without-types"]),
    ("c24b-findmnt.txt", 1, &["bpffs-of-the-host", "programs-without-prog-load"]),
    ("c24e.fstab", 4, &[]),
    ("c24f.sh", 4, &[]),
    ("c25-masks.sh", 1, &["bpffs-of-the-host", "narrow-mask"]),
    ("c42b-go-xdp.service", 0, &[]),
    ("c45-agent.service.j2", 2, &[]),
    ("c46-cloud-init.yaml", 1, &["no-user-namespace", "bpffs-of-the-host", "command-without-types"]),
    ("c47-ci.yml", 1, &["unknown-name", "maps-without-map-create"]),
    ("c48-check.sh", 2, &["value-not-known"]),
    ("c49-mounthost.sh", 1, &["bpffs-of-the-host"]),
    ("c52/usr/lib/systemd/system/agent.service", 0, &["repeated-option"]),
    ("c52/etc/systemd/system/agent.service.d/add-ringbuf.conf", 0, &["repeated-option"]),
    ("c53.nspawn", 2, &[]),
    ("d01-quoted-unit.yaml", 2, &[]),
    ("d02-ignition.json", 2, &[]),
    ("d03-incus-query.sh", 1, &["unknown-name"]),
    ("d04-lxc-query.sh", 2, &[]),
    ("d05-tee-fstab.sh", 1, &["bpffs-of-the-host", "command-without-types"]),
    ("d06-printf-unit.sh", 2, &[]),
    ("d07-oci.json", 2, &[]),
    ("d08-one-of-two.yaml", 2, &["not-read"]),
    ("d09-looks.sh", 0, &[]),
    ("d10-compose-list.yaml", 1, &["bpffs-of-the-host", "command-without-types"]),
    ("d11-flake.nix", 2, &[]),
    ("d12-blueprint.toml", 2, &[]),
    ("d13-cloud-init.json", 2, &[]),
    ("s2.sh", 1, &["bpffs-of-the-host"]),
];

/// Codes that are about what is delegated, not whether it works.
const OF_REACH: [&str; 2] = ["delegates-any", "reaches-the-host"];

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../harness/findings/tests/cases"))
}

fn judged(file: &str) -> (i32, BTreeSet<String>, String) {
    judged_with(file, &["--kernel", "6.12", "7.3"])
}

fn judged_with(file: &str, options: &[&str]) -> (i32, BTreeSet<String>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("validate").arg(folder().join(file)).args(["--format", "json"]).args(options);
    let output = command.output().unwrap();
    let mut codes = BTreeSet::new();
    if let Ok(document) = serde_json::from_slice::<Value>(&output.stdout) {
        let configurations = document["configurations"].as_array().unwrap();
        for finding in configurations.iter().flat_map(|one| one["findings"].as_array().unwrap()) {
            let (code, level) = (finding["code"].as_str().unwrap(), finding["level"].as_str().unwrap());
            let note = if level == "note" { "note " } else { "" };
            codes.insert(format!("{note}{code}"));
        }
    }
    codes.retain(|code| !OF_REACH.contains(&code.as_str()));
    (output.status.code().unwrap(), codes, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn files_are_judged_or_refused() {
    let mut wrong = Vec::new();
    for (file, code, codes) in CASES {
        let expected: BTreeSet<String> = codes.iter().map(|code| (*code).to_owned()).collect();
        let (exit, found, error) = judged(file);
        if (exit, &found) != (*code, &expected) {
            wrong.push(format!("{file}: exit {exit}, {found:?} {error}; expected {code}, {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The same file with another option, by its exit code.
#[test]
fn options_change_the_answer() {
    let cases: [(&str, &[&str], i32); 4] = [
        ("c18e-full.service", &["--systemd", "257"], 1),
        ("c18e-full.service", &["--systemd", "258"], 0),
        ("c01-hardening-only.service", &["--systemd", "258"], 0),
        ("a18-instance.json", &["--systemd", "257"], 0),
    ];
    for (file, options, code) in cases {
        assert_eq!(judged_with(file, options).0, code, "{file} {options:?}");
    }
    let (code, codes, _) = judged_with("c18e-full.service", &["--kernel", "6.12-debian"]);
    assert_eq!((code, codes), (0, BTreeSet::from(["distribution-differs".to_owned()])));
}

#[test]
fn each_file_has_a_row() {
    let listed: BTreeSet<&str> = CASES.iter().map(|(file, ..)| file.split('/').next().unwrap()).collect();
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let unlisted: Vec<String> = files.filter(|file| !listed.contains(file.as_str())).collect();
    assert_eq!(unlisted, [""; 0]);
}
