//! The samples for other projects' CI: pages show the files as they are, the files can be read, and their commands have only verbs and
//! options that there are. `.ci/readers` holds them against the schemas of their services.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt, path::Path};

use saphyr_parser::{Event, Parser};

/// The pages below `docs/ci`, each with the files that it shows.
const PAGES: [(&str, &[&str]); 6] = [
    ("github", &["github/bpf.yml", "github/comment.yml"]),
    ("gitlab", &["gitlab/.gitlab-ci.yml"]),
    ("kernelci", &["lava/job.yml"]),
    ("debian", &["debian/tests/control", "debian/tests/bpf-token"]),
    ("fedora", &["fedora/main.fmf", "fedora/test.sh"]),
    ("kubernetes", &["kubernetes/job.yml"]),
];

/// The verbs of which samples name options.
const VERBS: [&str; 5] = ["validate", "run", "report", "merge", "test"];

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the keys of a YAML file, wherever they are.
fn words(yaml: &str) -> BTreeSet<String> {
    let events = Parser::new_from_str(yaml).map(|event| event.unwrap_or_else(|error| panic!("{error}\n{yaml}")).0);
    let scalar = |event: Event<'_>| if let Event::Scalar(text, ..) = event { Some(text.into_owned()) } else { None };
    events.filter_map(scalar).collect()
}

#[test]
fn pages_show_their_files() {
    for (page, files) in PAGES {
        let shown = text(&format!("docs/ci/{page}.md"));
        for file in files {
            let file_text = text(&format!("docs/ci/{file}"));
            assert!(shown.contains(&format!("\n{file_text}```\n")), "docs/ci/{page}.md does not show {file} as it is");
            assert!(shown.contains(&format!("({file})")), "docs/ci/{page}.md does not link {file}");
        }
        assert!(text("docs/ci.md").contains(&format!("(ci/{page}.md)")), "docs/ci.md does not name {page}");
    }
}

#[test]
fn scripts_can_be_executed() {
    for file in
        PAGES.iter().flat_map(|(_, files)| *files).filter(|file| text(&format!("docs/ci/{file}")).starts_with("#!"))
    {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/ci").join(file);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "docs/ci/{file} has mode {mode:o}");
    }
}

#[test]
fn yaml_can_be_read_and_the_action_has_the_inputs_that_are_used() {
    let files =
        PAGES.iter().flat_map(|(_, files)| *files).filter(|file| file.ends_with(".yml") || file.ends_with(".fmf"));
    for file in files {
        assert!(words(&text(&format!("docs/ci/{file}"))).len() > 5, "{file}");
    }
    let action = text("action.yml");
    let inputs = action.split("\ninputs:\n").nth(1).unwrap().split("\noutputs:\n").next().unwrap();
    let inputs: BTreeSet<&str> = inputs
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .map(|line| line.trim().trim_end_matches(':'))
        .collect();
    let page = text("docs/ci/github.md");
    let documented: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(inputs, documented, "the inputs of action.yml, and those on docs/ci/github.md");
    let sample = text("docs/ci/github/bpf.yml");
    let used =
        sample.split("        with:\n").nth(1).unwrap().lines().map(|line| line.trim().split(':').next().unwrap());
    for input in used {
        assert!(inputs.contains(input), "{input} is no input of action.yml");
    }
    assert!(sample.lines().count() <= 12, "the sample has {} lines", sample.lines().count());
    let script = text(".ci/action");
    for line in action.lines().filter(|line| line.contains(": ${{ inputs.") && line.starts_with("        ")) {
        let variable = line.trim().split(':').next().unwrap();
        let is_used = variable == "name" || script.contains(&format!("${variable}"));
        assert!(is_used, "`.ci/action` does not use {variable}");
    }
}

#[test]
fn actions_are_named_by_their_commits() {
    for file in ["action.yml", "docs/ci/github/bpf.yml", "docs/ci/github/comment.yml"] {
        for line in text(file).lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("uses: ")) {
            let (name, rest) = line.split_once('@').unwrap();
            let commit = rest.split(' ').next().unwrap();
            let is_pinned = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(is_pinned || name == "OWNER/bpf-token-harness", "{file}: {line}");
        }
    }
}

#[test]
fn commands_of_samples_have_only_options_that_there_are() {
    let commands = text("docs/commands.md");
    let section = |verb: &str| {
        let heading = format!("## cargo xtask {verb}\n");
        let from = commands.find(&heading).unwrap_or_else(|| panic!("docs/commands.md has no {heading}"));
        commands[from + heading.len()..].split("\n## ").next().unwrap()
    };
    let mut checked = 0;
    let pages = PAGES.iter().map(|(page, _)| format!("docs/ci/{page}.md")).chain([".ci/action".to_owned()]);
    for page in pages {
        for line in text(&page).replace("\\\n", " ").lines() {
            let words: Vec<&str> = line.split_whitespace().map(|word| word.trim_matches(['"', '(', ')'])).collect();
            let program = words.windows(2).position(|pair| {
                matches!(pair[0], "xtask" | "$HARNESS" | "${program[@]}" | ".ci/run") && VERBS.contains(&pair[1])
            });
            let Some(at) = program else { continue };
            let options = words[at + 2..].iter().take_while(|word| !matches!(**word, "|" | "||" | ">" | "#"));
            for option in options.filter(|word| word.starts_with("--")) {
                assert!(section(words[at + 1]).contains(*option), "{page}: `{}` has no {option}", words[at + 1]);
                checked += 1;
            }
        }
    }
    assert!(checked >= 20, "{checked}");
}
