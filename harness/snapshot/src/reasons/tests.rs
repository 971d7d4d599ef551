use super::*;
use crate::reasons::edit::{explained, forgotten};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn parsed(text: &str) -> Reasons {
    Reasons::parse("differences.toml", text.as_bytes()).unwrap()
}

fn messages(text: &str) -> Vec<String> {
    let report = Reasons::parse("differences.toml", text.as_bytes()).unwrap_err();
    report.to_string().lines().map(str::to_owned).collect()
}

fn scenario(name: &str) -> ScenarioName {
    name.parse().unwrap()
}

/// An owner as its files have it, without the first `@`: `7.3`, `@systemd-257`, `7.3@systemd-257`.
fn owner(text: &str) -> Owner {
    Owner::of_file("x", &format!("x@{text}.snap")).unwrap()
}

/// Snapshots as `a/b@7.3 a/b@@systemd-257 a/c`: a scenario without more has none of its own.
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
fn all_that_is_wrong_is_told_with_its_place() {
    let found = messages(
        "[[difference]]\nreason = ''\ncommit = 'abc'\nkernels = ['[']\nscenarios = ['../a', 'b', 'b']\n\
         [[difference]]\nreason = 'x'\nkernels = []\nscenarios = ['a']\n",
    );
    let expected = [
        "2:10: a reason says why",
        "3:10: `abc` is no commit",
        "4:12: Pattern syntax error",
        "5:14: `..` cannot name a scenario",
        "5:27: `b` is listed twice",
        "8:11: a reason is for one or more kernels",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (line, part) in found.iter().zip(expected) {
        assert!(line.starts_with(&format!("differences.toml:{part}")), "{part}: {line}");
    }
}

#[test]
fn keys_and_types_are_checked_like_those_of_scenarios() {
    let found = messages("[[diference]]\n[[difference]]\nreasons = 'x'\nkernels = '7.3'\nscenarios = ['a']\n");
    let expected = ["did you mean `difference`", "did you mean `reason`", "expected a list", "`reason` is missing"];
    for part in expected {
        assert!(found.iter().any(|line| line.contains(part)), "{part} is not in {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    assert!(messages("a = [")[0].contains("this is no TOML"));
    assert!(Reasons::parse("x", &[0xff]).unwrap_err().to_string().contains("no text"));
    assert!(Reasons::parse("x", &vec![b'#'; MOST_BYTES + 1]).unwrap_err().to_string().contains("more than"));
}

#[test]
fn a_reason_is_one_line_that_somebody_reads() {
    assert_eq!(Explanation::new(" \t", None), Err(BadReason::Empty));
    assert_eq!(Explanation::new("a\nb", None), Err(BadReason::Lines));
    assert_eq!(Explanation::new("\u{1b}[2J", None), Err(BadReason::Lines));
    assert_eq!(Explanation::new(&"x".repeat(301), None), Err(BadReason::Long));
    assert_eq!(Explanation::new(" so ", None).unwrap().reason, "so");
    for bad in ["", "0123", "0123456789ABCDEF0123456789abcdef01234567", &"é".repeat(20)] {
        assert!(bad.parse::<Commit>().is_err(), "{bad}");
    }
    assert_eq!(COMMIT.parse::<Commit>().unwrap().short(), "0123456789ab");
}

#[test]
fn what_fits_is_not_complained_about() {
    let all = "token/info@7.3 sweeps/cmds@7.3 maps/a@7.2-debian maps/b@7.2-debian maps/c";
    assert_eq!(complaints(TWO, all), Vec::<String>::new());
}

#[test]
fn a_snapshot_without_a_reason_is_told_with_what_to_do() {
    let found = complaints(TWO, "token/info@7.3 token/info@6.1 sweeps/cmds@7.3 maps/a@7.2-debian maps/b@7.2-debian");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("token/info@6.1.snap says that 6.1 differs, and differences.toml does not"));
    assert!(found[0].contains("bless --kernel 6.1 --filter token/info --reason TEXT"), "{}", found[0]);
}

#[test]
fn a_reason_that_applies_no_more_is_told_with_its_place() {
    let found = complaints(TWO, "token/info@7.3 sweeps/cmds maps/a@7.3 maps/aa");
    let expected = [
        "maps/a@7.3.snap says",
        "differences.toml:6:28: this reason applies to `sweeps/cmds` no more (take it out",
        "differences.toml:13:5: this reason applies to `maps/a` no more (take it out",
        "differences.toml:14:5: this reason applies to `maps/b` no more (there is no such scenario; did you mean `maps/a",
        "differences.toml:11:12: this reason applies to kernel `*-debian` no more",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (line, part) in found.iter().zip(expected) {
        assert!(line.starts_with(part), "{part}: {line}");
    }
}

#[test]
fn a_new_reason_stands_at_the_end_and_the_rest_is_untouched() {
    let explanation = Explanation::new("Newer \"still\"", None).unwrap();
    let text = explained(TWO, &explanation, &[(scenario("a/b"), owner("7.3"))]).unwrap();
    let added = "\n[[difference]]\nreason = 'Newer \"still\"'\nkernels = [\"7.3\"]\nscenarios = [\"a/b\"]\n";
    assert_eq!(text, format!("{TWO}{added}"));
    assert_eq!(explained("", &explanation, &[(scenario("a/b"), owner("7.3"))]).unwrap(), added[1..]);
}

#[test]
fn the_same_reason_is_joined() {
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
    assert_eq!(parsed(&text).iter().count(), 1);
    assert!(text.starts_with("# Newest first.\n[[difference]]\nreason = \"A token"), "{text}");
    // What is idle for another reason is not this change's business.
    assert_eq!(forgotten(TWO, &[], &own("a/b")).unwrap(), TWO);
}

#[test]
fn a_file_of_another_form_is_not_edited() {
    let explanation = Explanation::new("x", None).unwrap();
    let pairs = [(scenario("a"), owner("7.3"))];
    for text in ["difference = 1", "a = [", "[[difference]]\nreason = \"x\"\nkernels = 1\nscenarios = []\n"] {
        assert!(explained(text, &explanation, &pairs).is_err(), "{text}");
    }
}

#[test]
fn an_entry_may_say_that_expectations_are_for_other_kernels() {
    let text = "[[difference]]\nreason = 'r'\nkernels = ['7.3-*']\nscenarios = ['a/b']\nexpect = 'otherwise'\n";
    let reasons = Reasons::parse("d.toml", text.as_bytes()).unwrap();
    let lifts =
        |scenario: &str, kernel: &str| reasons.lifts_expectations(&scenario.parse().unwrap(), &environment(kernel));
    assert!(lifts("a/b", "7.3-unpriv0") && !lifts("a/b", "7.3") && !lifts("a/c", "7.3-unpriv0"));
    let plain = text.replace("expect = 'otherwise'\n", "");
    let plain = Reasons::parse("d.toml", plain.as_bytes()).unwrap();
    assert!(!plain.lifts_expectations(&"a/b".parse().unwrap(), &environment("7.3-unpriv0")));
    let wrong = Reasons::parse("d.toml", text.replace("otherwise", "denied").as_bytes()).unwrap_err().to_string();
    assert!(wrong.starts_with("d.toml:5:10: ") && wrong.contains("otherwise"), "{wrong}");
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
    // A kernel's reason is one for whatever it has with an image, too.
    assert!(parsed(TWO).covers(&scenario("maps/a"), &owner("6.1-debian@systemd-257")));
    assert!(!parsed(TWO).covers(&scenario("maps/a"), &owner("@systemd-257")));
    let wrong = messages("[[difference]]\nreason = 'x'\nscenarios = ['a']\n");
    assert!(matches!(&wrong[..], [line] if line.contains("for `kernels` or `images`")), "{wrong:?}");
    assert!(
        messages("[[difference]]\nreason = 'x'\nimages = []\nscenarios = ['a']\n")[0].contains("this list is empty")
    );
}

#[test]
fn an_image_without_a_reason_and_a_reason_without_an_image_are_told() {
    let fits = "a/b@@systemd-257 a/c@7.3@systemd-257 a/b@6.12@systemd-262";
    assert_eq!(complaints(IMAGES, fits), Vec::<String>::new());
    let found = complaints(IMAGES, "a/b@@systemd-257 a/b@7.3@systemd-262 a/c");
    let expected = [
        "a/b@7.3@systemd-262.snap says that 7.3@systemd-262 differs",
        "differences.toml:4:21: this reason applies to `a/c` no more",
        "differences.toml:10:14: this reason applies to `a/b` no more",
        "differences.toml:8:12: this reason applies to kernel `6.*` no more",
        "differences.toml:9:11: this reason applies to image `systemd-262` no more",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (line, part) in found.iter().zip(expected) {
        assert!(line.starts_with(part), "{part}: {line}");
    }
    assert!(found[0].contains("bless --kernel 7.3 --image systemd-262 --filter a/b --reason TEXT"), "{}", found[0]);
}

#[test]
fn a_reason_for_an_image_joins_one_for_images_and_goes_with_it() {
    let because = Explanation::new("Before `PrivateBPF=`", None).unwrap();
    let joined = explained(IMAGES, &because, &[(scenario("a/d"), owner("@systemd-256"))]).unwrap();
    assert!(
        joined.contains("images = [\"systemd-257\", \"systemd-256\"]\nscenarios = [\"a/b\", \"a/c\", \"a/d\"]"),
        "{joined}"
    );
    // The same sentence on a kernel is another entry: in one they would be for that kernel with that image.
    let apart = explained(IMAGES, &because, &[(scenario("a/d"), owner("7.3"))]).unwrap();
    assert!(apart.starts_with(IMAGES) && apart.ends_with("kernels = [\"7.3\"]\nscenarios = [\"a/d\"]\n"), "{apart}");
    let gone = forgotten(IMAGES, &[scenario("a/b")], &own("a/c@@systemd-257 a/b")).unwrap();
    assert_eq!(
        gone,
        "[[difference]]\nreason = \"Before `PrivateBPF=`\"\nimages = [\"systemd-257\"]\nscenarios = [\"a/c\"]\n"
    );
}
