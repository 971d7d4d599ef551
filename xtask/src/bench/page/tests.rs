use super::*;
use crate::bench::figures::{Missing, Suite};

fn sample(millis: &[u64]) -> Sample {
    Sample::of(millis.iter().copied().map(Duration::from_millis)).unwrap()
}

fn missing<T>() -> Figure<T> {
    Err(Missing("no such program".to_owned()))
}

fn figures() -> Figures {
    Figures {
        host: Host {
            date: "2026-01-02".to_owned(),
            processor: "Some CPU".to_owned(),
            processors: 2,
            system: "Linux 6.12.95 x86_64".to_owned(),
            qemu: "7.2".to_owned(),
            acceleration: "tcg: /dev/kvm does not open".to_owned(),
            load: ["0.1".to_owned(), "0.9".to_owned()],
        },
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
        suite: Suite { units: vec![("6.12".parse().unwrap(), missing())], warm: missing(), many: missing() },
    }
}

/// Compares a page with the snapshot of this name.
fn compare(name: &str, page: &str) {
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(format!("bench__{name}"), page);
    });
}

fn vm(agent: u64, peak: u64) -> VmTimes {
    VmTimes {
        agent: Some(Duration::from_millis(agent)),
        end: Duration::from_secs(4),
        peak_kib: Some(peak),
        ..VmTimes::default()
    }
}

fn costs() -> GuestCosts {
    let growth = |attempts, available_kib| Growth {
        call: "map_create".to_owned(),
        containers: 1,
        attempts,
        micros: 1_500,
        micros_per_attempt: 150.4,
        resident_kib: 2048,
        descriptors: 9,
        available_kib,
    };
    GuestCosts {
        release: "6.12.95".to_owned(),
        btf_checksum: 1,
        config_checksum: None,
        record_sync: 2,
        bare_map_create: 3.4,
        bare_prog_load: 4.0,
        bare_container: 5.0,
        container: 6_060.0,
        growth: vec![growth(10, 500 * 1024), Growth { micros: 2_345_678, ..growth(1000, 499 * 1024) }],
    }
}

#[test]
fn what_was_not_measured_says_why_and_shows_no_number() {
    compare("missing", &render(&figures()));
}

#[test]
fn everything_that_was_measured_is_shown() {
    let virtme = Virtme { version: "virtme-ng 1.42".to_owned(), times: sample(&[10_000]), remark: "seen".to_owned() };
    let failure = "the kernel panicked".to_owned();
    let measured = Figures {
        warm: Ok(sample(&[300, 200])),
        vmtest: Ok(sample(&[2000])),
        virtme: Ok(virtme),
        repeats: Repeats { runs: 3, odd: vec!["run 2: token/info".to_owned()] },
        // One moment was not seen in any of them.
        vms: Ok(vec![vm(900, 2048), vm(1100, 3072), vm(1000, 1024)]),
        costs: Ok(costs()),
        least_memory: Ok(LeastMemory { passes: 96, fails: 92, failure }),
        suite: Suite {
            units: vec![("6.12".parse().unwrap(), Ok(sample(&[130_000])))],
            warm: Ok(sample(&[400, 600])),
            many: Ok(sample(&[900])),
        },
        ..figures()
    };
    compare("measured", &render(&measured));
}

#[test]
fn one_run_alone_proves_nothing() {
    let said = |runs| repeats(&Repeats { runs, odd: Vec::new() });
    assert!(said(1).contains("not known") && said(2).contains("identical in all runs"));
}
