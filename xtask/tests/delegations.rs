//! `validate`, `convert` and `caps` as their users call them: what they print, and how they end.
//!
//! What people read is compared as a whole, with a snapshot per call. Inputs are files in `fixtures/delegations`.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

const FIXTURES: &str = "xtask/tests/fixtures/delegations";

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The text of a fixture.
fn fixture(name: &str) -> String {
    fs::read_to_string(project().join(FIXTURES).join(name)).unwrap()
}

/// The words of a call; the name of a fixture becomes its path.
fn words(line: &str) -> Vec<String> {
    let is_fixture = |word: &str| !word.contains('/') && project().join(FIXTURES).join(word).is_file();
    let word = |word: &str| if is_fixture(word) { format!("{FIXTURES}/{word}") } else { word.to_owned() };
    line.split_whitespace().map(word).collect()
}

fn command(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    // Nothing that these verbs print may depend on what was built before: there is no cache, and none can be made.
    command.args(words(line)).current_dir(project()).env("BPF_TOKEN_HARNESS_CACHE", "/dev/null/cache");
    command.env_remove("GITHUB_ACTIONS").env_remove("CLICOLOR_FORCE");
    command
}

fn call(line: &str) -> Call {
    Call::from(command(line).output().unwrap())
}

fn pipe(line: &str, text: &str) -> Call {
    let mut child = command(line).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    Call::from(child.wait_with_output().unwrap())
}

/// What a call printed, and how it ended.
#[derive(Debug)]
struct Call {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Call {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Call {
    /// All of it, for a snapshot.
    fn text(&self) -> String {
        let code = self.code.map_or("none".to_owned(), |code| code.to_string());
        format!("exit code: {code}\n--- standard output\n{}--- standard error\n{}", self.out, self.err)
    }
}

/// Compares a call with the snapshot of this name.
fn compare(name: &str, line: &str, call: &Call) {
    insta::with_settings!({ description => format!("cargo xtask {line}"), omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(format!("delegations__{name}"), call.text());
    });
}

fn compare_call(name: &str, line: &str) {
    compare(name, line, &call(line));
}

/// A folder of a user's, for files that change.
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

    /// Compiles a fixture.
    fn object(&self, source: &str) -> PathBuf {
        let object = self.0.path().join(source).with_extension("o");
        let mut clang = Command::new("clang");
        clang.args(["-target", "bpf", "-g", "-O2", "-c"]).arg(project().join(FIXTURES).join(source));
        let status = clang.arg("-o").arg(&object).status().expect("clang starts; `cargo xtask setup` installs it");
        assert!(status.success());
        object
    }

    /// A call with a file of the folder, whose path is shown as `FOLDER/…`.
    fn call(&self, line: &str, file: &Path) -> Call {
        let mut call = Call::from(command(line).arg(file).output().unwrap());
        let folder = self.0.path().to_str().unwrap();
        (call.out, call.err) = (call.out.replace(folder, "FOLDER"), call.err.replace(folder, "FOLDER"));
        call
    }
}

#[test]
fn units_are_judged() {
    compare_call("sound_unit", "validate --kernel=6.12 --kernel=7.3 sound.service");
    compare_call("misspelled_unit", "validate misspelled.service");
}

#[test]
fn findings_keep_their_colours_in_a_pipe_if_these_are_forced() {
    let forced = |name: &str| {
        let mut command = command("validate misspelled.service");
        Call::from(command.env_remove("NO_COLOR").env(name, "1").output().unwrap()).out
    };
    assert!(forced("CLICOLOR_FORCE").contains("\u{1b}["));
    assert!(!forced("CLICOLOR").contains("\u{1b}["));
}

#[test]
fn standard_input_is_read_and_never_changed() {
    for (name, line) in [("standard_input", "validate -"), ("standard_input_fixed", "validate --fix -")] {
        compare(name, line, &pipe(line, &fixture("misspelled.service")));
    }
    assert_eq!(pipe("validate -", &fixture("sound.service")).code, Some(0));
}

#[test]
fn files_without_a_delegation_or_that_cannot_be_read_end_with_codes_of_their_own() {
    compare_call("no_delegation", "validate plain.service");
    compare_call("broken_yaml", "validate broken.yaml");
    compare_call("unknown_form", "validate notes");
    compare_call("manifest_is_no_unit", "validate Cargo.toml");
    compare_call("missing_file", "validate missing.service");
    compare_call("no_policy", "validate --policy=/dev/null sound.service");
    compare_call("unknown_format", "validate --format=xml sound.service");
    // The message lists all kernels.
    assert_eq!(call("validate --kernel=0.1 sound.service").code, Some(2));
}

#[test]
fn fixes_are_written_and_what_they_leave_decides() {
    let user = User::new();
    let file = user.file("a.service", &fixture("misspelled.service"));
    compare("fixed", "validate --fix a.service", &user.call("validate --fix", &file));
    assert_eq!(fs::read_to_string(&file).unwrap(), fixture("sound.service"));
    let guess = fixture("sound.service").replace("BPFMapCreate", "BPFMapCrate");
    let file = user.file("b.service", &guess);
    assert_eq!(user.call("validate --fix", &file).code, Some(1));
    assert_eq!(fs::read_to_string(&file).unwrap(), guess);
}

#[test]
fn every_form_can_be_read_by_whom_it_is_for() {
    let form = |form: &str| {
        let call = call(&format!("validate --kernel=7.3 --format={form} misspelled.service"));
        assert_eq!(call.code, Some(1), "{call:?}");
        call.out
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
fn codes_are_explained() {
    compare_call("explained_code", "validate --explain misread-name");
    compare_call("unknown_code", "validate --explain no-such");
}

#[test]
fn a_delegation_is_converted_there_and_back() {
    compare_call("unit_to_incus", "convert --to=incus sound.service");
    let mount = call("convert --to=mount sound.service");
    let line = "convert --from=mount --to=systemd -";
    compare("mount_to_systemd", line, &pipe(line, &mount.out));
}

#[test]
fn what_cannot_be_converted_is_reported() {
    compare_call("lost_name", "convert --to=systemd unspeakable.yaml");
    compare_call("refused_name", "convert --to=systemd refused.yaml");
    compare_call("nothing_to_convert", "convert --to=systemd empty.service");
}

#[test]
fn files_that_are_not_objects_are_refused_by_both_verbs_that_read_them() {
    let object = "scenarios/libbpf/broken/no-elf.bpf.o";
    compare_call("caps_of_no_object", &format!("caps {object}"));
    compare_call("validate_with_no_object", &format!("validate --object {object} -- sound.service"));
    let user = User::new();
    compare("missing_object", "caps FOLDER/missing.bpf.o", &user.call("caps", &user.0.path().join("missing.bpf.o")));
}

#[test]
fn an_object_that_no_delegation_makes_load_gets_no_unit() {
    let user = User::new();
    let object = user.object("replaces.bpf.c");
    for (name, line) in [
        ("no_kernel_delegates", "caps --kernel=6.12"),
        ("one_kernel_delegates", "caps --kernel=6.12 --kernel=7.3"),
        ("no_unit_to_paste", "caps --kernel=6.12 --format=systemd"),
    ] {
        compare(name, &format!("{line} replaces.bpf.o"), &user.call(line, &object));
    }
    let call = user.call("caps --kernel=6.12 --format=json", &object);
    assert_eq!(call.code, Some(1), "{call:?}");
    assert!(serde_json::from_str::<Value>(&call.out).is_ok(), "{call:?}");
    let line = "caps --kernel=6.1-debian";
    compare("kernel_without_tokens", &format!("{line} filter.bpf.o"), &user.call(line, &user.object("filter.bpf.c")));
    let line = "caps --kernel=7.3";
    compare("refused_by_libbpf", &format!("{line} legacy.bpf.o"), &user.call(line, &user.object("legacy.bpf.c")));
}

#[test]
fn what_an_object_needs_lets_it_load() {
    let user = User::new();
    let object = user.object("filter.bpf.c");
    let line = "caps --kernel=6.12 --kernel=7.3";
    compare("needs_of_an_object", &format!("{line} filter.bpf.o"), &user.call(line, &object));
    let call = user.call("caps --format=json", &object);
    let document: Value = serde_json::from_str(&call.out).unwrap();
    assert!(!document["kernels"]["7.3"]["elements"].as_array().unwrap().is_empty(), "{document}");

    let pasted = user.call("caps --format=systemd", &object).out;
    let with_object = format!("validate --object {} --", object.display());
    let unit = user.file("a.service", &pasted);
    let call = user.call(&with_object, &unit);
    assert_eq!(call.code, Some(0), "{pasted}{call:?}");
    // A call that the filter refuses is reported only where something may make it.
    let unit = user.file("b.service", &format!("{pasted}SystemCallFilter=@system-service bpf\n"));
    compare("filter_without_object", "validate b.service", &user.call("validate", &unit));
    compare("filter_with_object", "validate --object filter.bpf.o b.service", &user.call(&with_object, &unit));
}

/// Calls outside of any checkout, in a folder with one unit.
fn outside(line: &str) -> Call {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(project().join(FIXTURES).join("sound.service"), folder.path().join("sound.service")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(line.split_whitespace()).current_dir(&folder).env_remove("CARGO_MANIFEST_DIR");
    Call::from(command.output().unwrap())
}

#[test]
fn configurations_are_judged_outside_of_a_checkout_and_for_any_release() {
    let judged = outside("validate sound.service --kernel 6.8 6.10 7.3");
    assert!(judged.out.contains("Linux 6.8 has no tokens"), "{judged:?}");
    assert!(judged.out.contains("on 6.10, 7.3"), "{judged:?}");
    // No manifest is of this release, and the first release of every name around it is known.
    let between = outside("validate sound.service --kernel 7.1");
    assert!(between.out.contains("on 7.1") && !between.err.contains("not known"), "{between:?}");
    assert_eq!(
        outside("convert sound.service --to mount").err.lines().filter(|line| line.starts_with("error")).count(),
        0
    );
    let none = outside("validate sound.service --kernel nothing");
    assert_eq!(none.code, Some(2));
    assert!(none.err.contains("no kernel is named `nothing`; outside of a checkout there are 6.1-debian"), "{none:?}");
    // A VM needs manifests and scenarios.
    assert!(outside("validate sound.service --prove").err.contains("run this in the project"));
}

#[test]
fn a_list_does_not_take_the_file_behind_it() {
    let (natural, plain) =
        (outside("validate --kernel 6.12 sound.service"), outside("validate sound.service --kernel 6.12"));
    assert_eq!((natural.code, &natural.out), (plain.code, &plain.out));
    assert!(natural.out.contains("on 6.12"), "{natural:?}");
    assert_eq!(outside("validate --kernel 6.12").code, Some(2));
    let object = outside("validate --object sound.service");
    assert!(object.err.contains("no FILE to check"), "{object:?}");
}

#[test]
fn what_a_token_grants_is_said_in_words_and_held_against_a_threshold() {
    compare_call("grants", "grants sound.service --kernel 6.12 6.1-debian");
    compare_call("grants_above_threshold", "grants sound.service --kernel 6.12 --threshold 0.4");
    assert_eq!(call("grants sound.service --kernel 6.12 --threshold 0.5").code, Some(0));
    assert_eq!(call("grants plain.service").code, Some(4));
    assert_eq!(call("grants sound.service --threshold 11").code, Some(2));
    let added = call("validate sound.service --grants --kernel 6.12").out;
    assert!(added.ends_with(&call("grants sound.service --kernel 6.12").out), "{added}");
    let document = valid("what-a-token-grants", &call("grants sound.service --format json --kernel 7.3"));
    assert_eq!(document["configurations"][0]["kernels"][0]["exposure"], 0.5);
}

/// The JSON document that a call printed, which is as its schema says.
fn valid(schema: &str, call: &Call) -> Value {
    let schema = fs::read_to_string(project().join(format!("docs/{schema}.schema.json"))).unwrap();
    let validator = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    let document: Value = serde_json::from_str(&call.out).unwrap();
    assert!(validator.is_valid(&document), "{document}");
    document
}

#[test]
fn documents_are_as_their_schemas_say() {
    let user = User::new();
    let object = user.object("filter.bpf.c");
    let needs = valid("caps", &user.call("caps --kernel=6.12 --format=json", &object));
    assert_eq!(needs["kernels"]["6.12"]["loaders"], serde_json::json!(["libbpf 1.7"]));
    let converted = call("convert sound.service --to incus --format json");
    let document = valid("convert", &converted);
    assert_eq!((converted.code, &document["to"]), (Some(1), &Value::from("incus")));
    assert!(document["configurations"][0]["text"].as_str().unwrap().contains("security.bpffs.delegate_maps=hash"));
    assert!(!document["configurations"][0]["lost"].as_array().unwrap().is_empty() && converted.err.is_empty());
}

#[test]
fn an_object_is_judged_for_the_loader_that_loads_it() {
    let user = User::new();
    let object = user.object("xdp.bpf.c");
    let by = |loader: &str| user.call(&format!("validate go-xdp.service --kernel 7.3 {loader} --object"), &object);
    // No trial load, and the attach type of the section is always passed: the unit delegates just what is needed.
    let go = by("--loader cilium-ebpf");
    assert_eq!(go.code, Some(0), "{go:?}");
    assert!(!go.out.contains("beyond-objects") && !go.out.contains("object-refused"), "{}", go.out);
    assert!(go.out.contains("xdp.bpf.o by cilium/ebpf 0.22"), "{}", go.out);
    // libbpf first loads a socket filter, which the unit does not delegate.
    let libbpf = by("--loader libbpf");
    assert!(libbpf.code == Some(1) && libbpf.out.contains("lacks program type socket_filter"), "{libbpf:?}");
    assert!(libbpf.out.contains("no object needs the attach types xdp"), "{}", libbpf.out);
    // Unless it is known who loads the object, nothing that another loader needs is called too much.
    assert!(!by("").out.contains("no object needs the attach types xdp"));
    let aya = by("--loader aya");
    assert!(aya.code == Some(1) && aya.out.contains("another loader: aya 0.16 passes no token"), "{aya:?}");
}
