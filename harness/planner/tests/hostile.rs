//! Reading any file ends soon, with an error that has a position, and nothing panics.

mod common;

use std::time::{Duration, Instant};

use harness_diagnostics::{limits::MOST_BYTES, report::Report};
use harness_planner::{check::check, expand};
use harness_scenario::file;
use harness_uapi::{configuration::Configuration, resolver::KernelProfile};

use common::{kernel, known, problems};

/// Far more than any test here takes, so that only a hang fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A small generator of pseudo-random numbers (xorshift), so that every run tries the same input.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides).unwrap()).unwrap()
    }
}

/// Reads bytes up to a plan. The report must be printable, with positions inside the text.
fn read(bytes: &[u8]) -> Result<(), Report> {
    let file = file::parse_bytes("x.toml", "x".parse().unwrap(), bytes)?;
    let checked = check(&file, &known())?;
    let (name, release, configuration) = ("7.3".parse().unwrap(), "7.3".parse().unwrap(), Configuration::default());
    let (newest, configuration) = (kernel("7.3"), &configuration);
    let target = KernelProfile {
        name: &name,
        image: &"minimal".parse().unwrap(),
        release,
        vocabulary: newest.vocabulary(),
        configuration,
    };
    expand::expand(&checked, target).map(drop)
}

#[track_caller]
fn refused(bytes: &[u8]) -> String {
    let start = Instant::now();
    let report = read(bytes).expect_err("must be refused");
    assert!(start.elapsed() < PATIENCE, "took {:?}", start.elapsed());
    assert!(!report.problems().is_empty());
    report.problems().iter().for_each(|problem| assert!(report.position(problem).0 >= 1));
    report.to_string()
}

#[test]
fn ten_megabytes() {
    insta::assert_snapshot!(refused(&vec![b'#'; 10 * MOST_BYTES]), @"x.toml:1:1: the file has more than 1048576 bytes, the limit for a scenario (split it into several scenarios)");
    insta::assert_snapshot!(refused(&vec![0xff; MOST_BYTES + 1]), @"x.toml:1:1: the file has more than 1048576 bytes, the limit for a scenario (split it into several scenarios)");
}

#[test]
fn random_bytes() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for size in [1, 2, 16, 256, 4096, MOST_BYTES] {
        let bytes: Vec<u8> = (0..size).map(|_| u8::try_from(dice.roll(256)).unwrap()).collect();
        refused(&bytes);
        let ascii: Vec<u8> = bytes.iter().map(|byte| byte & 0x7f).collect();
        refused(&ascii);
    }
}

#[test]
fn depth_and_repetition() {
    let fill = |unit: &str| unit.repeat(MOST_BYTES / unit.len());
    for text in ["[", "a=[", "a={b=", "a.", "[[a]]\n", "[a.b]\n", "a=1\n", "'''", "\"\\", "summary='x'\n"].map(fill) {
        refused(text.as_bytes());
    }
    let nested = format!("summary = 'x'\n[vm]\nsysctl = {}1{}\n", "{ a = ".repeat(200), " }".repeat(200));
    refused(nested.as_bytes());
    let many: String = (0..20_000).map(|n| format!("[containers.c{n}]\n")).collect();
    insta::assert_snapshot!(refused(format!("summary = 'x'\n{many}").as_bytes()), @"
    x.toml:1:1: the key `attempt` is missing (write `[[attempt]]`, or `[sweep]` to attempt everything of one kind)
    x.toml:2:2: 20000 entries, more than the limit of 16
    ");
}

#[test]
fn a_long_file_with_a_large_matrix() {
    let names = |count: usize| (0..count).map(|n| format!("'n{n}'")).collect::<Vec<_>>().join(", ");
    let padding = "'delegate_cmds=0', ".repeat(40_000);
    let text = format!(
        "summary = 'x'\n[matrix]\na = [{}]\n[[attempt]]\nop = 'mount_delegate'\noptions = [{padding} 'x={{a}}']\n",
        names(9_000)
    );
    insta::assert_snapshot!(refused(text.as_bytes()), @"x.toml:2:1: this matrix has too many combinations for a file of this length (split it into several scenarios)");
    let axes: String = (0..1000).map(|n| format!("a{n} = ['x', 'y']\n")).collect();
    let used: String = (0..1000).map(|n| format!("'{{a{n}}}', ")).collect();
    let text = format!("summary = 'x'\n[matrix]\n{axes}[[attempt]]\nop = 'mount_delegate'\noptions = [{used}]\n");
    insta::assert_snapshot!(refused(text.as_bytes()), @"x.toml:2:1: this matrix makes far too many attempts; the limit is 10000 (split it into several scenarios)");
}

#[test]
fn the_largest_scenario_that_is_allowed_is_read() {
    let start = Instant::now();
    let names = |count: usize| (0..count).map(|n| format!("'{n}'")).collect::<Vec<_>>().join(", ");
    let text = format!(
        "summary = 'x'\n[matrix]\na = [{0}]\nb = [{0}]\n[[attempt]]\nby = 'host'\nop = 'mount_delegate'\noptions = ['delegate_cmds=0x{{a}}{{b}}']\n",
        names(100)
    );
    assert_eq!(problems(&text), Vec::<String>::new());
    assert!(start.elapsed() < PATIENCE, "took {:?}", start.elapsed());
}

/// Damages correct scenarios as a typing error can, and in other ways.
#[test]
fn damaged_scenarios() {
    const SEEDS: [&str; 3] = [
        include_str!("../../../scenarios/objects/pinning.toml"),
        include_str!("../../../scenarios/links/cgroup-skb.toml"),
        include_str!("../../../scenarios/mount/separators.toml"),
    ];
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let mut wrong = 0;
    for round in 0..600 {
        let mut bytes = SEEDS[round % SEEDS.len()].as_bytes().to_vec();
        for _ in 0..=dice.roll(4) {
            damage(&mut bytes, &mut dice);
        }
        wrong += usize::from(read(&bytes).is_err_and(|report| !report.to_string().is_empty()));
    }
    assert!(wrong > 300, "only {wrong} of 600 were refused");
}

fn damage(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let (at, other) = (dice.roll(bytes.len()), dice.roll(bytes.len()));
    let piece = bytes[at.min(other)..at.max(other)].to_vec();
    match dice.roll(5) {
        0 => bytes[at] = u8::try_from(dice.roll(256)).unwrap(),
        1 => drop(bytes.remove(at)),
        2 => bytes.truncate(at + 1),
        3 => drop(bytes.splice(at..at, piece)),
        _ => bytes.insert(at, b"[]{}='\"\n.#,"[dice.roll(11)]),
    }
}
