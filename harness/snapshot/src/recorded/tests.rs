use harness_protocol::name::Environment;

use super::*;

/// An environment and the kernels it inherits snapshots from: `6.12-debian@minimal < 6.12`; the default image is `minimal`.
fn lineage(text: &str) -> Lineage {
    let mut names = text.split(" < ");
    let (kernel, image) =
        names.next().map(|environment| environment.split_once('@').unwrap_or((environment, "minimal"))).unwrap();
    let environment = Environment { kernel: kernel.parse().unwrap(), image: image.parse().unwrap() };
    Lineage { environment, alike: names.map(|name| name.parse().unwrap()).collect() }
}

/// Snapshots by what follows the scenario's name in their file names.
fn recorded(texts: &[(&str, &str)]) -> Recorded {
    let owner = |name: &str| Owner::of_file("x", &format!("x{name}.snap")).unwrap();
    Recorded { texts: texts.iter().map(|(name, text)| (owner(name), (*text).to_owned())).collect() }
}

/// Blesses these texts of a scenario whose first image is `minimal`, and checks that each then applies where it was given
/// and that nothing changed for environments that did not run.
fn bless(before: &Recorded, texts: &[(&str, &str)], held: &[&str]) -> Recorded {
    bless_for("minimal", before, texts, held)
}

fn bless_for(image: &str, before: &Recorded, texts: &[(&str, &str)], held: &[&str]) -> Recorded {
    let texts: Vec<_> = texts.iter().map(|(environment, text)| (lineage(environment), (*text).to_owned())).collect();
    let held: Vec<_> = held.iter().map(|environment| lineage(environment)).collect();
    let after = before.blessed(&Blessing { texts: &texts, held: &held, image: &image.parse().unwrap() });
    for (lineage, text) in &texts {
        assert!(same(after.for_environment(lineage).unwrap(), text), "{lineage:?} gave {text}: {after:?}");
    }
    for lineage in held.iter().filter(|lineage| before.for_environment(lineage).is_some()) {
        assert_eq!(after.for_environment(lineage), before.for_environment(lineage), "{lineage:?}: {after:?}");
    }
    after
}

#[test]
fn kernels_that_agree_share_one_snapshot() {
    let first = bless(&recorded(&[]), &[("6.12", "a"), ("7.3", "a\n")], &[]);
    assert_eq!(first, recorded(&[("", "a")]));
    let joined = bless(&recorded(&[("", "a"), ("@7.3", "b")]), &[("6.12", "b"), ("7.3", "b")], &[]);
    assert_eq!(joined, recorded(&[("", "b")]));
}

#[test]
fn a_kernel_that_differs_has_its_own_snapshot() {
    let before = recorded(&[("", "a")]);
    let bless = |one, other| bless(&before, &[("6.12", one), ("7.3", other)], &[]);
    assert_eq!(bless("a", "b"), recorded(&[("", "a"), ("@7.3", "b")]));
    assert_eq!(bless("b", "a"), recorded(&[("", "a"), ("@6.12", "b")]));
    assert_eq!(bless("b", "c"), recorded(&[("", "b"), ("@7.3", "c")]));
}

#[test]
fn a_kernel_that_did_not_run_keeps_its_snapshot() {
    let before = recorded(&[("", "a")]);
    assert_eq!(bless(&before, &[("7.3", "b")], &["6.12"]), recorded(&[("", "a"), ("@7.3", "b")]));
    assert_eq!(bless(&before, &[("7.3", "b")], &[]), recorded(&[("", "b")]));
}

#[test]
fn a_kernel_inherits_snapshots() {
    let before = recorded(&[("", "a"), ("@7.3", "b")]);
    for (environment, holder, text) in
        [("7.3-debian < 7.3", "@7.3", "b"), ("6.12-debian < 6.12", "", "a"), ("7.3", "@7.3", "b")]
    {
        assert_eq!(before.for_environment(&lineage(environment)), Some(text), "{environment}");
        assert_eq!(before.holder(&lineage(environment)).unwrap().to_string(), holder, "{environment}");
    }
    let debian = "7.3-debian < 7.3";
    assert_eq!(bless(&before, &[(debian, "b")], &["6.12"]), before);
    let own = recorded(&[("", "a"), ("@7.3", "b"), ("@7.3-debian", "a")]);
    assert_eq!(bless(&before, &[(debian, "a")], &["6.12"]), own);
    assert_eq!(bless(&own, &[(debian, "b"), ("7.3", "b")], &["6.12"]), before);
    assert_eq!(bless(&own, &[(debian, "a"), ("7.3", "a")], &["6.12"]), recorded(&[("", "a")]));
}

#[test]
fn snapshots_of_an_image_take_precedence_over_those_of_a_kernel() {
    let all = recorded(&[("", "a"), ("@7.3", "b"), ("@@s", "c"), ("@7.3@s", "d")]);
    for (environment, text) in
        [("6.12@s", "c"), ("7.3@s", "d"), ("7.3-debian@s < 7.3", "d"), ("7.3", "b"), ("6.12", "a")]
    {
        assert_eq!(all.for_environment(&lineage(environment)), Some(text), "{environment}");
    }
    assert_eq!(recorded(&[("", "a"), ("@7.3", "b")]).for_environment(&lineage("7.3@s")), Some("b"));
    assert_eq!(recorded(&[("", "a"), ("@7.3", "b"), ("@@s", "c")]).for_environment(&lineage("7.3@s")), Some("c"));
}

#[test]
fn images_that_agree_need_no_file_of_their_own() {
    let four = [("6.12", "a"), ("7.3", "b"), ("6.12@s", "a"), ("7.3@s", "b")];
    let two = recorded(&[("", "a"), ("@7.3", "b")]);
    assert_eq!(bless(&recorded(&[]), &four, &[]), two);
    let stale = recorded(&[("", "a"), ("@7.3", "b"), ("@@s", "c"), ("@7.3@s", "d")]);
    assert_eq!(bless(&stale, &four, &[]), two);
    assert_eq!(bless(&stale, &four[2..], &[]), two);
}

#[test]
fn an_image_that_differs_on_all_kernels_has_one_file() {
    let before = recorded(&[("", "a"), ("@7.3", "b")]);
    let both = recorded(&[("", "a"), ("@7.3", "b"), ("@@s", "c")]);
    assert_eq!(bless(&before, &[("6.12@s", "c"), ("7.3@s", "c")], &["6.12", "7.3"]), both);
    assert_eq!(bless(&before, &[("7.3@s", "c")], &["6.12", "7.3"]), both);
    let each = recorded(&[("", "a"), ("@7.3", "b"), ("@@s", "c"), ("@7.3@s", "d")]);
    assert_eq!(bless(&before, &[("6.12@s", "c"), ("7.3@s", "d")], &["6.12", "7.3"]), each);
}

#[test]
fn an_image_that_differs_on_one_kernel_leaves_the_other_one_as_it_was() {
    let before = recorded(&[("", "a"), ("@7.3", "b")]);
    let one = recorded(&[("", "a"), ("@7.3", "b"), ("@6.12@s", "c")]);
    assert_eq!(bless(&before, &[("6.12@s", "c"), ("7.3@s", "b")], &["6.12", "7.3"]), one);
    // The image's snapshot that applies to a kernel that did not run stays, too.
    let held = recorded(&[("", "a"), ("@@s", "c")]);
    let own = recorded(&[("", "a"), ("@@s", "c"), ("@6.12@s", "a")]);
    assert_eq!(bless(&held, &[("6.12@s", "a")], &["6.12", "7.3", "7.3@s"]), own);
}

#[test]
fn snapshots_of_the_first_image_apply_to_all() {
    let unit = |texts: &[(&str, &str)], before: &Recorded| bless_for("s-2", before, texts, &[]);
    let none = recorded(&[]);
    assert_eq!(unit(&[("6.12@s-1", "a"), ("6.12@s-2", "b")], &none), recorded(&[("", "b"), ("@@s-1", "a")]));
    // Without any snapshot, whatever runs counts as the first image.
    let other = unit(&[("6.12@s-1", "a")], &none);
    assert_eq!(other, recorded(&[("", "a")]));
    assert_eq!(unit(&[("6.12@s-1", "a"), ("6.12@s-2", "b")], &other), recorded(&[("", "b"), ("@@s-1", "a")]));
    let held = bless_for("s-2", &other, &[("6.12@s-1", "c")], &["6.12@s-2"]);
    assert_eq!(held, recorded(&[("", "a"), ("@@s-1", "c")]));
}

#[test]
fn every_environment_gets_its_text_whatever_was_recorded() {
    let environments = ["6.12", "7.3", "7.3-debian < 7.3", "6.12@s", "7.3@s", "7.3-debian@s < 7.3"];
    let owners = ["", "@6.12", "@7.3", "@@s", "@@minimal", "@7.3@s", "@7.3@minimal"];
    let letter = |number: usize| ["a", "b", "c"][number % 3];
    for case in 0..3_usize.pow(6) {
        let give = |at: usize| letter(case / 3_usize.pow(at as u32));
        let texts: Vec<_> = environments.iter().enumerate().map(|(at, environment)| (*environment, give(at))).collect();
        let chosen = owners.iter().enumerate().filter(|(at, _)| case.wrapping_mul(2_654_435_761) >> (7 + at) & 1 == 1);
        let before: Vec<_> = chosen.map(|(at, owner)| (*owner, letter(case + at))).collect();
        // All of them, and some of them while others keep their snapshots: `bless` checks each.
        let all = bless(&recorded(&before), &texts, &[]);
        assert_eq!(bless(&all, &texts, &[]), all, "blessing again changes nothing: {texts:?}");
        bless(&recorded(&before), &texts[3..], &environments[..3]);
    }
}
