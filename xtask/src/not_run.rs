//! Tests that were skipped, and the committed list of those that may be.

use std::{collections::BTreeSet, fmt, fs, path::Path};

use anyhow::{Context, Result};
use glob::Pattern;
use serde::{Deserialize, Deserializer, de::Error as _};

/// The list, below the project's folder.
pub(crate) const LIST: &str = "xtask/not-run.toml";

/// A test that was skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SkippedTest {
    /// Its name.
    pub(crate) name: String,
    /// The reason that its test program gives; empty if there is none.
    pub(crate) says: String,
}

impl SkippedTest {
    /// Reads a line of a test program: libtest's `test NAME ... ignored, REASON`, or libtest-mimic's
    /// `test NAME ... ignored (REASON)`. Returns `None` for any other line.
    pub(crate) fn of_line(line: &str) -> Option<Self> {
        let (name, result) = result_of_test(line)?;
        let says = result.strip_prefix("ignored")?;
        let says = match says.strip_prefix(" (") {
            Some(says) => says.strip_suffix(')').unwrap_or(says),
            None => says.strip_prefix(", ").unwrap_or(says),
        };
        Some(Self { name: name.to_owned(), says: says.to_owned() })
    }
}

/// Returns a test's name and what is behind it in the line that a test program prints once it has ended, such as `ok`. Returns
/// `None` for any other line.
pub(crate) fn result_of_test(line: &str) -> Option<(&str, &str)> {
    let (name, result) = line.strip_prefix("test ")?.split_once(" ... ")?;
    Some((name.trim_end(), result))
}

impl fmt::Display for SkippedTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.says {
            "" => f.write_str(&self.name),
            says => write!(f, "{}: {says}", self.name),
        }
    }
}

/// Why tests may be skipped.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// A glob of their names.
    #[serde(deserialize_with = "glob")]
    tests: Pattern,
    /// A glob of what their test program says; any by default.
    #[serde(default = "anything", deserialize_with = "glob")]
    says: Pattern,
    /// The reason.
    reason: String,
}

fn glob<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pattern, D::Error> {
    let text = String::deserialize(deserializer)?;
    Pattern::new(&text).map_err(|error| D::Error::custom(format!("`{text}` is not a glob: {error}")))
}

fn anything() -> Pattern {
    Pattern::new("*").expect("it is a glob")
}

impl Entry {
    fn matches(&self, test: &SkippedTest) -> bool {
        self.tests.matches(&test.name) && self.says.matches(&test.says)
    }
}

/// The tests that may be skipped.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NotRunList {
    #[serde(rename = "entry")]
    entries: Vec<Entry>,
}

/// Skipped tests, compared with the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotRun {
    /// The tests.
    pub(crate) text: String,
    /// Entries of the list that no test needed; a part of all tests needs only some.
    pub(crate) unused: String,
    /// How many are not in the list.
    pub(crate) unlisted: usize,
}

impl NotRunList {
    /// Reads the list of the project in this folder.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let path = root.join(LIST);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not valid", path.display()))
    }

    /// Compares skipped tests with the list.
    pub(crate) fn judge(&self, skipped: &[SkippedTest]) -> NotRun {
        let (mut listed, mut unlisted, mut used) = (String::new(), Vec::new(), BTreeSet::new());
        for test in skipped {
            match self.entries.iter().position(|entry| entry.matches(test)) {
                Some(at) => {
                    used.insert(at);
                    listed += &format!("not run: {test}\n    {}\n", self.entries[at].reason);
                }
                None => unlisted.push(format!("error: not run, and not in {LIST}: {test}\n")),
            }
        }
        let unused = self.entries.iter().enumerate().filter(|(at, _)| !used.contains(at));
        let notes = unused.map(|(_, entry)| format!("note: no skipped test matches here: {} ({LIST})\n", entry.reason));
        NotRun { unused: notes.collect(), unlisted: unlisted.len(), text: listed + &unlisted.concat() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
    }

    /// Lines of test programs that skip what the committed list names.
    const LISTED: [&str; 5] = [
        "test picture ... ignored, shows the crates and the circles, and proves nothing",
        "test systemd ... ignored",
        "test 6.12::helpers/every-type                ... ignored (kernel 6.12 is 6.12, but the scenario is for >=7.0)",
        "test 7.3::systemd/any ... ignored (image systemd-262 cannot be built: images/systemd-262.toml: cannot fetch a package)",
        "test memory_that_ends ... ignored (no kernel is built: `cargo xtask kernel build 6.12`)",
    ];

    fn judged(lines: &[&str]) -> NotRun {
        let skipped: Vec<SkippedTest> = lines.iter().filter_map(|line| SkippedTest::of_line(line)).collect();
        assert_eq!(skipped.len(), lines.len());
        NotRunList::read(project()).unwrap().judge(&skipped)
    }

    #[test]
    fn skipped_tests_have_names_and_reasons() {
        let read = |line: &str| SkippedTest::of_line(line).map(|test| (test.name, test.says));
        let test = |name: &str, says: &str| Some((name.to_owned(), says.to_owned()));
        assert_eq!(read("test a::b ... ignored"), test("a::b", ""));
        assert_eq!(read("test a::b ... ignored, because"), test("a::b", "because"));
        assert_eq!(read("test 7.3::a/b   ... ignored (it (this) lacks x)"), test("7.3::a/b", "it (this) lacks x"));
        assert_eq!(read("test src/lib.rs - x (line 3) ... ignored"), test("src/lib.rs - x (line 3)", ""));
        for other in ["test a ... ok", "test a ... FAILED", "running 1 test", "note: test a ... ignored"] {
            assert_eq!(read(other), None);
        }
    }

    #[test]
    fn what_is_listed_may_be_skipped() {
        insta::assert_snapshot!(judged(&LISTED).text, @r"
        not run: picture: shows the crates and the circles, and proves nothing
            it only prints
        not run: systemd
            the host has no systemd 258 or later; a later step compares units with the systemd of an image
        not run: 6.12::helpers/every-type: kernel 6.12 is 6.12, but the scenario is for >=7.0
            the scenario's own `kernels` leaves this kernel out
        not run: 7.3::systemd/any: image systemd-262 cannot be built: images/systemd-262.toml: cannot fetch a package
            this machine tried to build the image, and recorded that its packages have left the mirror
        not run: memory_that_ends: no kernel is built: `cargo xtask kernel build 6.12`
            BPF_TOKEN_HARNESS_KERNELS names no default kernel, and these tests need one
        ");
        insta::assert_snapshot!(judged(&LISTED).unused, @r"
        note: no skipped test matches here: the scenario's own `config` leaves this kernel out (xtask/not-run.toml)
        note: no skipped test matches here: BPF_TOKEN_HARNESS_KERNELS leaves out a default kernel, and these tests need all (xtask/not-run.toml)
        note: no skipped test matches here: a service manager in test mode needs root, to mount file systems in a mount namespace (xtask/not-run.toml)
        note: no skipped test matches here: it writes files for programs that are not ours; .ci/readers calls it and them (xtask/not-run.toml)
        note: no skipped test matches here: the host's kernel has no Landlock, so nothing keeps QEMU in its folders; `doctor` shows that (xtask/not-run.toml)
        note: no skipped test matches here: it takes twice as long to build as a default kernel; fake guests show the same in every run (xtask/not-run.toml)
        note: no skipped test matches here: it takes as long to build as a default kernel; the scenarios guard/attacks/reload-* reload policies on those (xtask/not-run.toml)
        ");
        assert_eq!(judged(&LISTED).unlisted, 0);
    }

    #[test]
    fn what_is_not_listed_is_an_error() {
        let lines = [
            "test 7.3::token/new ... ignored",
            "test two_images ... ignored (the image is not built: `cargo xtask image build systemd-262`)",
            "test 7.3::token/old ... ignored (the image is minimal, but the scenario is for systemd-257)",
        ];
        let errors: Vec<String> =
            judged(&lines).text.lines().filter(|line| line.starts_with("error")).map(str::to_owned).collect();
        insta::assert_snapshot!(errors.join("\n"), @r"
        error: not run, and not in xtask/not-run.toml: 7.3::token/new
        error: not run, and not in xtask/not-run.toml: two_images: the image is not built: `cargo xtask image build systemd-262`
        error: not run, and not in xtask/not-run.toml: 7.3::token/old: the image is minimal, but the scenario is for systemd-257
        ");
        assert_eq!(judged(&lines).unlisted, 3);
    }
}
