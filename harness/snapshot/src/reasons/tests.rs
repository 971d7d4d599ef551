use harness_diagnostics::limits::MOST_BYTES;

use super::*;
use crate::reasons::edit::{explained, forgotten};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn parsed(text: &str) -> Reasons {
    Reasons::parse("differences.toml", text.as_bytes()).unwrap()
}

fn scenario(name: &str) -> ScenarioName {
    name.parse().unwrap()
}

/// An owner as in its file names, without the first `@`: `7.3`, `@systemd-257`, `7.3@systemd-257`.
fn owner(text: &str) -> Owner {
    Owner::of_file("x", &format!("x@{text}.snap")).unwrap()
}

/// Snapshots from a list such as `a/b@7.3 a/b@@systemd-257 a/c`; a scenario without an owner has no such snapshots.
fn own(list: &str) -> OwnSnapshots {
    let mut own = OwnSnapshots::new();
    for word in list.split(' ') {
        let (name, of) = Owner::split(word).map_or((word, None), |(name, of)| (name, Some(of)));
        own.entry(scenario(name)).or_default().extend(of);
    }
    own
}

fn environment(kernel: &str) -> Environment {
    Environment { kernel: kernel.parse().unwrap(), image: "minimal".parse().unwrap() }
}

fn complaints(text: &str, snapshots: &str) -> Vec<String> {
    parsed(text).complaints(&own(snapshots)).into_iter().map(|complaint| complaint.text).collect()
}

const TWO: &str = "\
# Newest first.
[[difference]]
reason = \"A token describes itself\"
commit = \"0123456789abcdef0123456789abcdef01234567\"
kernels = [\"7.3\"] # and later
scenarios = [\"token/info\", \"sweeps/cmds\"]

# Why this one is odd.
[[difference]]
reason = \"Debian's configuration\"
kernels = [\"*-debian\"]
scenarios = [
    \"maps/a\",
    \"maps/b\",
]
";

#[test]
fn a_reason_is_found_by_scenario_and_kernel() {
    let reasons = parsed(TWO);
    let found = reasons.of(&scenario("token/info"), &owner("7.3"));
    assert_eq!(found, [Explanation::new("A token describes itself", Some(COMMIT.parse().unwrap())).unwrap()]);
    assert!(reasons.covers(&scenario("maps/b"), &owner("7.2-debian")));
    assert!(!reasons.covers(&scenario("maps/b"), &owner("7.3")));
    assert!(!reasons.covers(&scenario("token/info2"), &owner("7.3")));
    assert_eq!(reasons.iter().count(), 2);
    assert!(parsed("").of(&scenario("a"), &owner("7.3")).is_empty());
}

#[test]
fn files_that_cannot_be_read_are_refused() {
    let refused = |bytes: &[u8]| Reasons::parse("differences.toml", bytes).unwrap_err().to_string();
    let texts = [refused(&[0xff]), refused(&vec![b'#'; MOST_BYTES + 1])];
    insta::assert_snapshot!(texts.join("\n"), @"
    differences.toml:1:1: the file is not UTF-8 text: invalid utf-8 sequence of 1 bytes from index 0
    differences.toml:1:1: the file is larger than 1048576 bytes, the limit
    ");
}

#[test]
fn a_reason_is_one_sentence_on_one_line() {
    let refused = |text: &str| Explanation::new(text, None).unwrap_err().to_string();
    let long = "x".repeat(301);
    let texts = [" \t", "a\nb", "\u{1b}[2J", &long].map(refused);
    insta::assert_snapshot!(texts.join("\n"), @"
    the reason is empty; say why the verdicts differ
    the reason has line breaks or control characters; write one sentence on one line
    the reason has line breaks or control characters; write one sentence on one line
    the reason is longer than 300 bytes; write one sentence
    ");
    assert_eq!(Explanation::new(" so ", None).unwrap().reason, "so");
}

#[test]
fn a_commit_is_a_full_hash() {
    let long = "é".repeat(20);
    let wrong = ["", "0123", "0123456789ABCDEF0123456789abcdef01234567", &long];
    let texts = wrong.map(|text| text.parse::<Commit>().unwrap_err().to_string());
    insta::assert_snapshot!(texts.join("\n"), @"
    `` is not a commit hash; write all 40 hexadecimal digits in lower case
    `0123` is not a commit hash; write all 40 hexadecimal digits in lower case
    `0123456789ABCDEF0123456789abcdef01234567` is not a commit hash; write all 40 hexadecimal digits in lower case
    `éééééééééééééééééééé` is not a commit hash; write all 40 hexadecimal digits in lower case
    ");
    assert_eq!(COMMIT.parse::<Commit>().unwrap().short(), "0123456789ab");
}

#[test]
fn matching_reasons_and_snapshots_are_not_reported() {
    let all = "token/info@7.3 sweeps/cmds@7.3 maps/a@7.2-debian maps/b@7.2-debian maps/c";
    assert_eq!(complaints(TWO, all), Vec::<String>::new());
}

#[test]
fn a_new_reason_is_added_at_the_end_and_the_rest_is_untouched() {
    let explanation = Explanation::new("Newer \"still\"", None).unwrap();
    let text = explained(TWO, &explanation, &[(scenario("a/b"), owner("7.3"))]).unwrap();
    let added = "\n[[difference]]\nreason = 'Newer \"still\"'\nkernels = [\"7.3\"]\nscenarios = [\"a/b\"]\n";
    assert_eq!(text, format!("{TWO}{added}"));
    assert_eq!(explained("", &explanation, &[(scenario("a/b"), owner("7.3"))]).unwrap(), added[1..]);
}

#[test]
fn the_same_reason_is_extended() {
    let known = Explanation::new("A token describes itself", Some(COMMIT.parse().unwrap())).unwrap();
    let pairs = [(scenario("token/info"), owner("7.3")), (scenario("maps/c"), owner("7.2-debian"))];
    let text = explained(TWO, &known, &pairs).unwrap();
    let joined = TWO
        .replace("[\"7.3\"] # and", "[\"7.3\", \"7.2-debian\"] # and")
        .replace("\"sweeps/cmds\"]", "\"sweeps/cmds\", \"maps/c\"]");
    assert_eq!(text, joined);
    let debian = Explanation::new("Debian's configuration", None).unwrap();
    let text = explained(TWO, &debian, &[(scenario("maps/c"), owner("7.3-debian"))]).unwrap();
    assert_eq!(text, TWO.replace("    \"maps/b\",\n", "    \"maps/b\",\n    \"maps/c\",\n"));
    let other_commit = Explanation::new("A token describes itself", None).unwrap();
    assert_eq!(parsed(&explained(TWO, &other_commit, &pairs).unwrap()).iter().count(), 3);
}

#[test]
fn a_removed_snapshot_takes_its_reason_along() {
    let gone = [scenario("sweeps/cmds")];
    let left = own("token/info@7.3 sweeps/cmds maps/a@7.2-debian maps/b@7.2-debian");
    let text = forgotten(TWO, &gone, &left).unwrap();
    assert_eq!(text, TWO.replace(", \"sweeps/cmds\"", ""));
    let gone = [scenario("token/info")];
    let first = forgotten(TWO, &gone, &own("token/info sweeps/cmds@7.3")).unwrap();
    assert_eq!(first, TWO.replace("\"token/info\", ", ""));
    let gone = [scenario("maps/a"), scenario("maps/b")];
    let text = forgotten(TWO, &gone, &own("token/info@7.3 sweeps/cmds@7.3 maps/a maps/b")).unwrap();
    insta::assert_snapshot!(text, @r#"
    # Newest first.
    [[difference]]
    reason = "A token describes itself"
    commit = "0123456789abcdef0123456789abcdef01234567"
    kernels = ["7.3"] # and later
    scenarios = ["token/info", "sweeps/cmds"]
    "#);
    // Other entries without snapshots are left alone.
    assert_eq!(forgotten(TWO, &[], &own("a/b")).unwrap(), TWO);
}

#[test]
fn a_file_of_another_form_is_not_edited() {
    let explanation = Explanation::new("x", None).unwrap();
    let pairs = [(scenario("a"), owner("7.3"))];
    let wrong = ["difference = 1", "a = [", "[[difference]]\nreason = \"x\"\nkernels = 1\nscenarios = []\n"];
    let texts = wrong.map(|text| explained(text, &explanation, &pairs).unwrap_err().to_string());
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn an_entry_may_lift_expectations() {
    let text = "[[difference]]\nreason = 'r'\nkernels = ['7.3-*']\nscenarios = ['a/b']\nexpect = 'otherwise'\n";
    let reasons = Reasons::parse("d.toml", text.as_bytes()).unwrap();
    let lifts =
        |scenario: &str, kernel: &str| reasons.lifts_expectations(&scenario.parse().unwrap(), &environment(kernel));
    assert!(lifts("a/b", "7.3-unpriv0") && !lifts("a/b", "7.3") && !lifts("a/c", "7.3-unpriv0"));
    let plain = text.replace("expect = 'otherwise'\n", "");
    let plain = Reasons::parse("d.toml", plain.as_bytes()).unwrap();
    assert!(!plain.lifts_expectations(&"a/b".parse().unwrap(), &environment("7.3-unpriv0")));
}

const IMAGES: &str = "\
[[difference]]
reason = \"Before `PrivateBPF=`\"
images = [\"systemd-257\"]
scenarios = [\"a/b\", \"a/c\"]

[[difference]]
reason = \"Together\"
kernels = [\"6.*\"]
images = [\"systemd-262\"]
scenarios = [\"a/b\"]
";

#[test]
fn a_reason_can_be_for_images() {
    let reasons = parsed(IMAGES);
    let covers = |of: &str| reasons.covers(&scenario("a/b"), &owner(of));
    assert!(covers("@systemd-257") && covers("7.3@systemd-257") && covers("6.12@systemd-262"));
    assert!(!covers("@systemd-262") && !covers("7.3@systemd-262") && !covers("6.12"));
    // A kernel's reason also covers its snapshots with an image.
    assert!(parsed(TWO).covers(&scenario("maps/a"), &owner("6.1-debian@systemd-257")));
    assert!(!parsed(TWO).covers(&scenario("maps/a"), &owner("@systemd-257")));
}

#[test]
fn matching_reasons_and_snapshots_of_images_are_not_reported() {
    let all = "a/b@@systemd-257 a/c@7.3@systemd-257 a/b@6.12@systemd-262";
    assert_eq!(complaints(IMAGES, all), Vec::<String>::new());
}

#[test]
fn a_reason_for_an_image_is_added_to_an_entry_for_images() {
    let because = Explanation::new("Before `PrivateBPF=`", None).unwrap();
    let joined = explained(IMAGES, &because, &[(scenario("a/d"), owner("@systemd-256"))]).unwrap();
    let (old, new) = (
        "[\"systemd-257\"]\nscenarios = [\"a/b\", \"a/c\"]",
        "[\"systemd-257\", \"systemd-256\"]\nscenarios = [\"a/b\", \"a/c\", \"a/d\"]",
    );
    assert_eq!(joined, IMAGES.replacen(old, new, 1));
    // The same reason for a kernel is a new entry: in one entry, it would be for that kernel with that image.
    let apart = explained(IMAGES, &because, &[(scenario("a/d"), owner("7.3"))]).unwrap();
    let entry = "\n[[difference]]\nreason = \"Before `PrivateBPF=`\"\nkernels = [\"7.3\"]\nscenarios = [\"a/d\"]\n";
    assert_eq!(apart, format!("{IMAGES}{entry}"));
    let gone = forgotten(IMAGES, &[scenario("a/b")], &own("a/c@@systemd-257 a/b")).unwrap();
    assert_eq!(
        gone,
        "[[difference]]\nreason = \"Before `PrivateBPF=`\"\nimages = [\"systemd-257\"]\nscenarios = [\"a/c\"]\n"
    );
}
