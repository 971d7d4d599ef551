//! What a real bash offers for `cargo xtask …`.

use std::{path::Path, process::Command};

const PROGRAM: &str = env!("CARGO_BIN_EXE_xtask");

/// What bash offers for the last of these words, in this folder.
fn offered(words: &[&str], folder: &Path) -> Vec<String> {
    let script = Command::new(PROGRAM).args(["completions", "bash"]).output().unwrap();
    assert!(script.status.success());
    let words: String = words.iter().map(|word| format!(" '{word}'")).collect();
    let ask = format!(
        "{}\nCOMP_WORDS=({words}) COMP_TYPE=9\nCOMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))\n\
         _cargo_or_xtask cargo \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        String::from_utf8(script.stdout).unwrap()
    );
    // Without a target folder to look into, it asks the program that wrote it.
    let no_target = tempfile::tempdir().unwrap();
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", &ask]).current_dir(folder).env("CARGO_TARGET_DIR", no_target.path());
    let answer = bash.output().unwrap();
    String::from_utf8(answer.stdout).unwrap().lines().map(str::to_owned).filter(|line| !line.is_empty()).collect()
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[test]
fn verbs_kernels_and_scenarios_are_completed_after_cargo_xtask() {
    assert_eq!(offered(&["cargo", "xtask", "ru"], project()), ["run"]);
    assert_eq!(offered(&["cargo", "+stable", "xtask", "kernel", "pa"], &project().join("harness")), ["path"]);
    assert_eq!(offered(&["cargo", "xtask", "run", "--kernel", "7.3-d"], project()), ["7.3-debian"]);
    assert_eq!(offered(&["cargo", "xtask", "run", "--filter", "=", "maps/no-tok"], project()), ["maps/no-token"]);
}

#[test]
fn nothing_is_offered_for_other_verbs_of_cargo_or_in_other_folders() {
    assert!(offered(&["cargo", "bui"], project()).is_empty());
    assert!(offered(&["cargo", "xtask", "ru"], Path::new("/")).is_empty());
    assert!(offered(&["cargo", "run", "xtask", "ru"], project()).is_empty());
}

#[test]
fn what_completed_cargo_before_goes_on_doing_so() {
    let script = Command::new(PROGRAM).args(["completions", "bash"]).output().unwrap();
    let ask = format!(
        "_before() {{ COMPREPLY=(before-$2); }}; complete -F _before cargo\n{}\n\
         COMP_WORDS=(cargo bui) COMP_CWORD=1; _cargo_or_xtask cargo bui cargo; echo ${{COMPREPLY[0]}}\ncomplete -p cargo",
        String::from_utf8(script.stdout).unwrap()
    );
    let answer = Command::new("bash").args(["--norc", "-c", &ask]).current_dir(project()).output().unwrap();
    let said = String::from_utf8(answer.stdout).unwrap();
    assert!(said.starts_with("before-bui\n") && said.contains("-F _cargo_or_xtask cargo"), "{said}");
}
