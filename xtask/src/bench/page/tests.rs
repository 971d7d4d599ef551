use super::*;
use crate::bench::figures::Missing;

fn sample(millis: &[u64]) -> Sample {
    Sample::of(millis.iter().copied().map(Duration::from_millis)).unwrap()
}

fn missing<T>() -> Figure<T> {
    Err(Missing("no such program".to_owned()))
}

fn figures() -> Figures {
    Figures {
        host: Host { date: "2026-01-02".to_owned(), load: ["0.1".to_owned(), "0.9".to_owned()], ..Host::default() },
        subject: Workload {
            kernel: "6.12".to_owned(),
            release: "6.12.95".to_owned(),
            image: "minimal".to_owned(),
            scenarios: 3,
            attempts: 40,
            memory_mib: 512,
        },
        fresh: Ok(sample(&[5000, 4000, 9000])),
        warm: missing(),
        vmtest: missing(),
        virtme: missing(),
        repeats: Repeats { runs: 3, odd: Vec::new() },
        vms: missing(),
        costs: missing(),
        least_memory: missing(),
    }
}

#[test]
fn what_was_not_measured_says_why_and_shows_no_number() {
    let page = render(&figures());
    assert_eq!(page.matches("not measured: no such program").count(), 8, "{page}");
    assert!(page.contains("cannot be compared with one command of virtme-ng"), "{page}");
}

#[test]
fn a_sample_shows_how_often_and_its_spread() {
    let page = render(&figures());
    let row = "| `cargo xtask run --kernel 6.12 --fresh`: all scenarios | 3 | 4.00 s | 5.00 s | 9.00 s |";
    assert!(page.contains(row), "{page}");
}

#[test]
fn the_suite_is_compared_by_the_medians_and_a_remark_is_kept() {
    let virtme = Virtme { version: "virtme-ng 1.42".to_owned(), times: sample(&[10_000]), remark: "seen".to_owned() };
    let page = render(&Figures { virtme: Ok(virtme), ..figures() });
    assert!(page.contains("takes 0.50 times as long") && page.contains("- virtme-ng 1.42: seen.\n"), "{page}");
}

#[test]
fn runs_that_differ_are_named() {
    let odd = vec!["run 2: token/info".to_owned()];
    let page = render(&Figures { repeats: Repeats { runs: 3, odd }, ..figures() });
    assert!(page.contains("they differ.\n\n- run 2: token/info\n") && !page.contains("identical"), "{page}");
}

#[test]
fn a_boot_is_shown_by_medians_and_an_unseen_moment_as_such() {
    let vm = |agent, peak| VmTimes {
        agent: Some(Duration::from_millis(agent)),
        end: Duration::from_secs(4),
        peak_kib: Some(peak),
        ..VmTimes::default()
    };
    let page = render(&Figures { vms: Ok(vec![vm(900, 2048), vm(1100, 3072), vm(1000, 1024)]), ..figures() });
    assert!(page.contains("| the agent answers | 1.00 s | 1.10 s |"), "{page}");
    assert!(page.contains("| the first scenario begins | not seen | |"), "{page}");
    assert!(page.contains("largest of all VMs) | 3.0 MiB |"), "{page}");
}

#[test]
fn costs_have_units_and_memory_is_what_is_not_left() {
    let growth = |attempts, available_kib| Growth {
        subject: "map_create".to_owned(),
        attempts,
        micros: 1_500,
        micros_per_attempt: 150.4,
        resident_kib: 2048,
        descriptors: 9,
        available_kib,
    };
    let costs = GuestCosts {
        release: "6.12.95".to_owned(),
        btf_checksum: 1,
        config_checksum: None,
        record_sync: 2,
        bare_map_create: 3.4,
        bare_prog_load: 4.0,
        bare_container: 5.0,
        container: 6_060.0,
        growth: vec![growth(10, 500 * 1024), Growth { micros: 2_345_678, ..growth(1000, 499 * 1024) }],
    };
    let page = render(&Figures { costs: Ok(costs), ..figures() });
    assert!(page.contains("| map_create | 10 | 1.5 ms | 150 µs | 2.0 MiB | 9 | 500.0 MiB |"), "{page}");
    assert!(
        page.contains("(mean of 100) | 6.1 ms |") && page.contains("(all but `MemAvailable`) | 13.0 MiB |"),
        "{page}"
    );
    assert!(page.contains("| map_create | 1000 | 2.35 s |"), "{page}");
    assert!(!page.contains("proving the kernel's configuration"), "{page}");
}

#[test]
fn the_least_memory_tells_what_less_does() {
    let least = LeastMemory { passes: 96, fails: 92, failure: "the kernel panicked".to_owned() };
    let page = render(&Figures { least_memory: Ok(least), ..figures() });
    assert!(
        page.contains("come out the same | 96 MiB |") && page.contains("with 92 MiB: the kernel panicked."),
        "{page}"
    );
}
