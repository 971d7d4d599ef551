//! Pages that lead through commands are what their reader gets: the commands are called in their order, in a folder of the test's, and
//! print what the page shows. What boots VMs is called without them, and compared up to where they would tell.

use std::{fs, path::Path, process::Command};

/// The folder that the page works in.
const FOLDER: &str = "target/ship";
/// A page below `docs`.
struct Page {
    name: &'static str,
    /// The files in its folder that it shows.
    files: &'static [&'static str],
    /// How many of its commands are called, at least.
    commands: usize,
    links: usize,
}

const PAGES: [Page; 2] = [
    Page { name: "ship-a-unit", files: &["first-try.service", "packets.service"], commands: 6, links: 11 },
    Page { name: "tokens-and-policy", files: &["flows.service"], commands: 1, links: 5 },
];

impl Page {
    fn text(&self) -> String {
        fs::read_to_string(project().join("docs").join(self.name).with_extension("md")).unwrap()
    }
}

/// What the page leaves out: whole lines, or the rest of one.
const LEFT_OUT: char = '…';
/// A line that stands for whole lines.
const ALL_OF_IT: &str = "…";
/// Where VMs begin to tell.
const VM: &str = "    in the VM: ";

/// A command of the page and what it prints.
struct Shown<'a> {
    command: String,
    lines: Vec<&'a str>,
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The contents of its blocks in this language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let opening = format!("```{language}\n");
    page.split(&opening).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

fn shown(block: &str) -> Vec<Shown<'_>> {
    let mut all: Vec<Shown<'_>> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), all.last_mut()) {
            (Some(command), _) => all.push(Shown { command: command.to_owned(), lines: Vec::new() }),
            (None, Some(last)) if last.command.ends_with('\\') => {
                last.command.pop();
                last.command += line.trim_start();
            }
            (None, last) => last.expect("a block begins with a command").lines.push(line),
        }
    }
    all
}

/// What a command prints here, its errors first, with the page's folder in place of the test's.
fn said(command: &str, folder: &str) -> String {
    let command = command.replace(FOLDER, folder).replace("cargo xtask", env!("CARGO_BIN_EXE_xtask"));
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec 2>&1; {command}")]).current_dir(project());
    // Nothing that is shown may depend on what was built before.
    shell.env("BPF_TOKEN_HARNESS_CACHE", "/dev/null/cache").env_remove("GITHUB_ACTIONS").env_remove("CLICOLOR_FORCE");
    String::from_utf8(shell.output().unwrap().stdout).unwrap().replace(folder, FOLDER)
}

/// What a proof would print without VMs: what they print is left out.
fn without_vms(lines: Vec<&str>) -> Vec<&str> {
    let is_of_vm = |line: &str| line.starts_with(' ') || line.contains(" was started as written in image ");
    let first = lines.iter().position(|line| line.starts_with(VM)).unwrap_or(lines.len());
    let (before, behind) = lines.split_at(first);
    let behind = behind.iter().map(|line| if is_of_vm(line) { ALL_OF_IT } else { *line });
    before.iter().copied().chain(behind).collect()
}

/// Whether these lines are those, but for what is left out.
fn is_shown(said: &[&str], shown: &[&str]) -> bool {
    let Some((first, rest)) = shown.split_first() else { return said.is_empty() };
    if *first == ALL_OF_IT {
        return (0..=said.len()).any(|skipped| is_shown(&said[skipped..], rest));
    }
    let Some((line, others)) = said.split_first() else { return false };
    let is_same = first.strip_suffix(LEFT_OUT).map_or(line == first, |begun| line.starts_with(begun));
    is_same && is_shown(others, rest)
}

#[test]
fn commands_print_what_is_shown() {
    for page in PAGES {
        let text = page.text();
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("ship").to_str().unwrap().to_owned();
        let mut judged = 0;
        for Shown { command, lines } in blocks(&text, "console").into_iter().flat_map(shown) {
            if command.starts_with("cargo xtask run ") {
                continue;
            }
            if let Some((_, written)) =
                command.strip_prefix("cargo xtask caps --exec ").and_then(|rest| rest.split_once("> "))
            {
                fs::copy(project().join("docs/ship-a-unit/needs.json"), written.replace(FOLDER, &folder)).unwrap();
                continue;
            }
            let printed = said(&command.replace(" --prove", ""), &folder);
            let (here, there) = (printed.lines().collect::<Vec<_>>(), without_vms(lines));
            assert!(is_shown(&here, &there), "{}: $ {command}\n{printed}\nand not\n{}", page.name, there.join("\n"));
            judged += usize::from(command.starts_with("cargo xtask"));
        }
        assert!(judged >= page.commands, "{}: only {judged} commands of ours are on the page", page.name);
    }
}

#[test]
fn files_are_shown_as_they_are() {
    for page in PAGES {
        let text = page.text();
        let shown = blocks(&text, "ini");
        for name in page.files {
            let file = fs::read_to_string(project().join("docs").join(page.name).join(name)).unwrap();
            assert!(shown.contains(&file.as_str()), "{name} is another");
        }
    }
    let policy = fs::read_to_string(project().join("scenarios/guard/unit-under-a-policy.guard.toml")).unwrap();
    assert!(blocks(&PAGES[1].text(), "toml").contains(&policy.as_str()), "the policy is another");
}

#[test]
fn links_lead_somewhere() {
    for page in PAGES {
        let text = page.text();
        let links = text.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap());
        let local: Vec<&str> = links.filter(|link| !link.is_empty() && !link.starts_with("https://")).collect();
        assert!(local.len() >= page.links, "{}: {local:?}", page.name);
        for link in local {
            assert!(project().join("docs").join(link).exists(), "{}: {link}", page.name);
        }
    }
}

#[test]
fn what_is_left_out_is_left_out_and_nothing_else() {
    let said = ["a", "b", "c d", "e"];
    for shown in [&["a", "b", "c d", "e"][..], &["a", "…", "e"], &["…", "c…", "e"], &["a", "b", "…"]] {
        assert!(is_shown(&said, shown), "{shown:?}");
    }
    for shown in [&["a", "b", "c d"][..], &["a", "…", "c d"], &["b", "…"], &["a", "…", "x", "…"]] {
        assert!(!is_shown(&said, shown), "{shown:?}");
    }
}
