//! The samples for distributions call this program as it is.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use clap::Parser as _;

use crate::{Cli, status};

/// Every file below the folder of samples.
fn files() -> Vec<PathBuf> {
    fn below(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            match entry.path() {
                path if path.is_dir() => below(&path, files),
                path => files.push(path),
            }
        }
    }
    let mut files = Vec::new();
    below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist"), &mut files);
    files
}

/// The calls of the program in a text, as words.
fn calls(text: &str) -> Vec<Vec<String>> {
    let begins = ["/usr/sbin/bpf-guard ", "    bpf-guard ", "`bpf-guard "];
    let call = |line: &str| {
        let begin = begins.iter().find_map(|begin| line.split_once(begin))?.1;
        let end = begin.find(['`', ';', '|', '>']).unwrap_or(begin.len());
        let words = begin[..end].split_ascii_whitespace().map(|word| word.trim_matches('"').to_owned());
        Some(words.collect())
    };
    text.lines().filter(|line| !line.contains("copy_exec") && !line.contains("inst_binary")).filter_map(call).collect()
}

#[test]
fn each_call_is_one_that_the_program_takes() {
    let mut verbs = Vec::new();
    for path in files() {
        for words in calls(&fs::read_to_string(&path).unwrap()) {
            let line = words.join(" ");
            let arguments = std::iter::once("bpf-guard".to_owned()).chain(words);
            if let Err(error) = Cli::try_parse_from(arguments) {
                // A verb alone is a name in a text.
                assert!(!line.contains(' '), "{}: `bpf-guard {line}`: {error}", path.display());
            }
            verbs.push(line.split(' ').next().unwrap().to_owned());
        }
    }
    verbs.sort();
    verbs.dedup();
    assert_eq!(verbs, ["check", "early", "run", "status", "try", "verify"]);
}

#[test]
fn each_script_can_be_read_by_its_shell() {
    let mut scripts = 0;
    for path in files() {
        let text = fs::read_to_string(&path).unwrap();
        let Some(shell) = text.lines().next().and_then(|line| line.strip_prefix("#!")) else { continue };
        let output = Command::new(shell).arg("-n").arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        scripts += 1;
    }
    assert_eq!(scripts, 4);
}

#[test]
fn the_service_may_write_what_the_daemon_writes() {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist");
    let unit = fs::read_to_string(dist.join("systemd/bpf-guard.service")).unwrap();
    let folder = Path::new(guard_loader::MAPS_FILE).parent().unwrap();
    assert_eq!(Path::new(status::FILE).parent(), Some(folder));
    let folder = folder.display();
    assert!(unit.contains(&format!("ReadWritePaths={folder}\n")));
    assert!(unit.contains(&format!("ConditionPathExists={}\n", guard_loader::MAPS_FILE)));
    assert!(fs::read_to_string(dist.join("tmpfiles.d/bpf-guard.conf")).unwrap().contains(&format!("d {folder} 0700 ")));
    let log = unit.lines().find_map(|line| line.split_once("--log ")).unwrap().1;
    assert_eq!(Path::new(log).parent(), Some(Path::new("/var/log/bpf-guard")));
    assert!(unit.contains("LogsDirectory=bpf-guard\n"));
}

#[test]
fn the_page_says_how_much_a_killed_daemon_may_lose() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/guard.md");
    let round = 2 * guard_loader::MOST_AT_ONCE;
    let said = format!("up to {},{:03} records", round / 1000, round % 1000);
    assert!(fs::read_to_string(page).unwrap().contains(&said), "docs/guard.md does not say `{said}`");
}
