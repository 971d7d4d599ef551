//! `validate`, `convert` and `caps` as their users call them: what they print, and how they end.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

const SOUND: &str = "[Service]\nPrivateUsers=yes\nDelegateNamespaces=mnt\nPrivateBPF=yes\n\
                     BPFDelegateCommands=BPFMapCreate\nBPFDelegateMaps=BPFMapTypeHash\n";
const MISSPELLED: &str = "[Service]\nPrivateUsers=yes\nDelegateNamespaces=mnt\nPrivateBPF=yes\n\
                          BPFDelegateCommands=map_create\nBPFDelegateMaps=BPFMapTypeHash\n";

const FILTER: &str = r#"
char LICENSE[] __attribute__((section("license"), used)) = "GPL";
__attribute__((section("socket"), used)) int keep_all(void *packet) { return 0; }
"#;

/// A folder of a user's, who calls the verbs in the project's.
struct User(TempDir);

impl User {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        // Nothing that these verbs say may depend on what was built before: there is no cache, and none can be made.
        command.args(words).current_dir(project()).env("BPF_TOKEN_HARNESS_CACHE", "/dev/null/cache");
        command.env_remove("GITHUB_ACTIONS").env_remove("CLICOLOR_FORCE");
        command
    }

    fn call(&self, words: &[&str], file: &Path) -> Said {
        Said::from(self.command(words).arg(file).output().unwrap())
    }

    fn pipe(&self, words: &[&str], text: &str) -> Said {
        let mut command = self.command(words);
        command.arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        Said::from(child.wait_with_output().unwrap())
    }
}

/// How a call ended.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[test]
fn a_sound_unit_is_let_through_and_kernels_that_agree_are_told_together() {
    let user = User::new();
    let said = user.call(&["validate", "--kernel=6.12", "--kernel=7.3"], &user.file("a.service", SOUND));
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    let summary = "a.service on 6.12, 7.3  a token; delegates cmds=map_create maps=hash; ";
    assert!(said.out.starts_with(summary) && said.out.ends_with("\na.service: nothing found\n"), "{said:?}");
}

#[test]
fn what_is_refused_ends_with_1_and_names_the_place() {
    let user = User::new();
    let file = user.file("a.service", MISSPELLED);
    let said = user.call(&["validate"], &file);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains(&format!("{}:5:21: error[wrong-spelling]: ", file.display())), "{said:?}");
    assert!(said.out.contains("\n    fix: write `BPFMapCreate`\n"), "{said:?}");
}

#[test]
fn standard_input_is_read_and_never_changed() {
    let user = User::new();
    let said = user.pipe(&["validate"], MISSPELLED);
    assert!(said.code == Some(1) && said.out.contains("<stdin>:5:21: error[wrong-spelling]: "), "{said:?}");
    let said = user.pipe(&["validate", "--fix"], MISSPELLED);
    assert!(said.code == Some(2) && said.err.contains("standard input"), "{said:?}");
    assert_eq!(user.pipe(&["validate"], SOUND).code, Some(0));
}

#[test]
fn files_without_a_delegation_or_that_cannot_be_read_end_with_codes_of_their_own() {
    let user = User::new();
    let said = user.call(&["validate"], &user.file("a.service", "[Service]\nUser=nobody\n"));
    assert_eq!((said.code, said.out.as_str()), (Some(4), ""), "{said:?}");
    assert!(said.err.contains("no delegation"), "{said:?}");
    for broken in
        [user.file("a.yaml", "config: [\n"), user.file("notes", "hello\n"), user.0.path().join("missing.service")]
    {
        let said = user.call(&["validate"], &broken);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{said:?}");
        assert!(said.err.contains(broken.to_str().unwrap()), "{said:?}");
    }
    let file = user.file("b.service", SOUND);
    assert_eq!(user.call(&["validate", "--kernel=0.1"], &file).code, Some(2));
    assert_eq!(user.call(&["validate", "--format=xml"], &file).code, Some(2));
}

#[test]
fn fixes_are_written_and_what_they_leave_decides() {
    let user = User::new();
    let file = user.file("a.service", MISSPELLED);
    let said = user.call(&["validate", "--fix"], &file);
    assert!(said.code == Some(0) && said.err.contains("1 changed"), "{said:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), SOUND);
    let guess = SOUND.replace("BPFMapCreate", "BPFMapCrate");
    let file = user.file("b.service", &guess);
    assert_eq!(user.call(&["validate", "--fix"], &file).code, Some(1));
    assert_eq!(fs::read_to_string(&file).unwrap(), guess);
}

#[test]
fn every_form_can_be_read_by_whom_it_is_for() {
    let user = User::new();
    let file = user.file("a.service", MISSPELLED);
    let form = |form: &str| {
        let said = user.call(&["validate", "--kernel=7.3", &format!("--format={form}")], &file);
        assert_eq!(said.code, Some(1), "{said:?}");
        said.out
    };
    let document: Value = serde_json::from_str(&form("json")).unwrap();
    let schema: Value =
        serde_json::from_slice(&fs::read(project().join("docs/findings.schema.json")).unwrap()).unwrap();
    jsonschema::validator_for(&schema).unwrap().validate(&document).unwrap();
    let count = document["configurations"][0]["findings"].as_array().unwrap().len();
    let log: Value = serde_json::from_str(&form("sarif")).unwrap();
    assert_eq!(
        (log["version"].as_str(), log["runs"][0]["results"].as_array().map(Vec::len)),
        (Some("2.1.0"), Some(count))
    );
    let annotations = form("github");
    assert_eq!(annotations.lines().filter(|line| line.starts_with("::error file=")).count(), count, "{annotations}");
}

#[test]
fn codes_are_explained_and_others_are_none() {
    let user = User::new();
    let said = Said::from(user.command(&["validate", "--explain", "misread-name"]).output().unwrap());
    assert!(said.code == Some(0) && said.out.starts_with("misread-name (error): "), "{said:?}");
    let said = Said::from(user.command(&["validate", "--explain", "no-such"]).output().unwrap());
    assert!(said.code == Some(2) && said.err.contains("`no-such` is no code"), "{said:?}");
}

#[test]
fn a_delegation_is_converted_there_and_back_and_losses_are_told() {
    let user = User::new();
    let unit = user.file("a.service", SOUND);
    let said = user.call(&["convert", "--to=incus"], &unit);
    assert!(said.out.contains("security.bpffs.delegate_maps") && said.out.contains("hash"), "{said:?}");
    let mount = user.call(&["convert", "--to=mount"], &unit);
    let back = user.pipe(&["convert", "--from=mount", "--to=systemd"], &mount.out);
    assert!(back.out.contains("BPFDelegateMaps=BPFMapTypeHash\n"), "{mount:?} {back:?}");
    let unspoken = "config:\n  security.bpffs.delegate_progs: netfilter\n";
    let said = user.call(&["convert", "--to=systemd"], &user.file("a.yaml", unspoken));
    assert!(said.code == Some(1) && said.err.contains("lost: "), "{said:?}");
    let refused = user.file("b.yaml", "config:\n  security.bpffs.delegate_maps: hashh\n");
    let said = user.call(&["convert", "--to=systemd"], &refused);
    assert!(said.code == Some(2) && said.err.contains("b.yaml:2:"), "{said:?}");
    assert_eq!(user.call(&["convert", "--to=systemd"], &user.file("c.service", "[Service]\n")).code, Some(2));
}

#[test]
fn objects_that_are_none_are_refused_by_both_verbs_that_read_them() {
    let user = User::new();
    let object = project().join("scenarios/libbpf/broken/no-elf.bpf.o");
    let said = user.call(&["caps"], &object);
    assert!(said.code == Some(2) && said.err.contains("no-elf.bpf.o"), "{said:?}");
    let unit = user.file("a.service", SOUND);
    let said = user.call(&["validate", "--object", object.to_str().unwrap(), "--"], &unit);
    assert!(said.code == Some(2) && said.err.contains("no-elf.bpf.o"), "{said:?}");
    assert_eq!(user.call(&["caps"], Path::new("/nonexistent.bpf.o")).code, Some(2));
}

#[test]
fn what_an_object_needs_is_told_once_for_kernels_that_agree_and_lets_it_load() {
    let user = User::new();
    let object = user.0.path().join("filter.bpf.o");
    let source = user.file("filter.bpf.c", FILTER);
    let mut clang = Command::new("clang");
    clang.args(["-target", "bpf", "-g", "-O2", "-c"]).arg(source).arg("-o").arg(&object);
    assert!(clang.status().expect("clang starts; `cargo xtask setup` installs it").success());
    let said = user.call(&["caps", "--kernel=6.12", "--kernel=7.3"], &object);
    assert!(said.code == Some(0) && said.out.starts_with("on 6.12, 7.3:\n    "), "{said:?}");
    assert!(said.out.contains("\nto paste:\n    "), "{said:?}");
    let said = user.call(&["caps", "--format=json"], &object);
    let document: Value = serde_json::from_str(&said.out).unwrap();
    assert!(!document["kernels"]["7.3"]["elements"].as_array().unwrap().is_empty(), "{document}");
    let pasted = user.call(&["caps", "--format=systemd"], &object).out;
    let unit = user.file("a.service", &pasted);
    let said = user.call(&["validate", "--object", object.to_str().unwrap(), "--"], &unit);
    assert_eq!(said.code, Some(0), "{pasted}{said:?}");
    // A filter's want of a call is told where something may make it.
    let unit = user.file("b.service", &format!("{pasted}SystemCallFilter=@system-service bpf\n"));
    let refused = "note[seccomp-refuses-bpf]: the system call filter refuses perf_event_open(2)";
    assert!(user.call(&["validate"], &unit).out.contains(refused));
    assert!(!user.call(&["validate", "--object", object.to_str().unwrap(), "--"], &unit).out.contains(refused));
}
