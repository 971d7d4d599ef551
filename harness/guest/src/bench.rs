//! Measures what attempts and containers cost here, next to the bare system calls they consist of.

pub(crate) mod guarded;

use std::{collections::BTreeMap, fmt, fs::File, path::Path, time::Instant};

use harness_protocol::{
    mount_option::delegate_any,
    plan::{
        Actor, Attempt, Body, Call, Case, Container, ExpectedKernel, FORMAT, MapTypes, Plan, ProgTarget, Scenario,
        Token,
    },
};
use rustix::thread::UnshareFlags;
use serde::Serialize;

use crate::{
    actor::{ActorError, Needs, RunningActor},
    bpf::{self, MapSpec, ProgSpec},
    error::{During, SysError},
    kernel,
    process::{self, Fork},
    pseudofile,
    run::{self, RunError},
    scenario::{self, SharedResources},
};

/// The measurements, printed as one JSON object. Times are in microseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// `uname -r`.
    release: String,
    /// Reading `/sys/kernel/btf/vmlinux` and computing its checksum.
    btf_checksum: u64,
    /// The same for `/proc/config.gz`; `None` if the kernel has none.
    config_checksum: Option<u64>,
    /// Making a record durable.
    record_sync: u64,
    /// One `BPF_MAP_CREATE` and `close` in a bare loop.
    bare_map_create: f64,
    /// One `BPF_PROG_LOAD` of two instructions and `close` in a bare loop.
    bare_prog_load: f64,
    /// One `fork`, `unshare` of user and mount namespaces in the child, its end, and `wait`.
    bare_container: f64,
    /// Setting up one complete container and ending it.
    container: f64,
    /// Scenarios with a growing number of attempts, and of containers.
    growth: Vec<Growth>,
}

/// A scenario of `attempts` attempts, each made three times: as root, in the control container, and for real. Its containers
/// have the same share of them.
#[derive(Debug, Serialize)]
struct Growth {
    /// What is attempted.
    call: MeasuredCall,
    containers: usize,
    attempts: usize,
    micros: u64,
    micros_per_attempt: f64,
    /// Resident memory of the guest program after the scenario, in KiB.
    resident_kib: u64,
    /// Descriptors that it has open then.
    descriptors: usize,
    /// Memory available on the whole machine then, in KiB.
    available_kib: u64,
}

/// What a measured scenario attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum MeasuredCall {
    /// `BPF_MAP_CREATE` with a token.
    MapCreate,
    /// `BPF_PROG_LOAD` with a token.
    ProgLoad,
    /// `BPF_MAP_CREATE` without the token: each is denied, and its cause is searched for.
    Denied,
}

/// The measured scenarios: what is attempted, by how many containers, and how often. The first one is a warm-up and is not
/// reported.
const MEASURED: [(MeasuredCall, usize, usize); 9] = [
    (MeasuredCall::MapCreate, 1, 10),
    (MeasuredCall::MapCreate, 1, 10),
    (MeasuredCall::MapCreate, 1, 100),
    (MeasuredCall::MapCreate, 1, 1_000),
    (MeasuredCall::MapCreate, 1, 10_000),
    (MeasuredCall::MapCreate, 10, 1_000),
    (MeasuredCall::MapCreate, 100, 1_000),
    (MeasuredCall::ProgLoad, 1, 1_000),
    (MeasuredCall::Denied, 1, 100),
];

/// Takes all measurements, with a record in `folder` as in a run.
pub(crate) fn run(folder: &Path) -> Result<Report, RunError> {
    let mut shared = run::open(folder, plan())?;
    let mut measured = (0..MEASURED.len()).map(|number| growth(&mut shared, number)).collect::<Result<Vec<_>, _>>()?;
    let growth = measured.split_off(1);
    let (_, record_sync) = timed(|| shared.record.sync());
    Ok(Report {
        release: kernel::release(),
        btf_checksum: checksum(ExpectedKernel { btf_crc32: Some(0), ..Default::default() }),
        config_checksum: File::open("/proc/config.gz")
            .is_ok()
            .then(|| checksum(ExpectedKernel { config_crc32: Some(0), ..Default::default() })),
        record_sync,
        bare_map_create: mean(1000, || bpf::map_create(HASH, None).map(drop).during(|| "BPF_MAP_CREATE"))?,
        bare_prog_load: mean(1000, || bpf::prog_load(TRIVIAL, None).map(drop).during(|| "BPF_PROG_LOAD"))?,
        bare_container: mean(100, bare_container)?,
        container: container(&shared)?,
        growth,
    })
}

const HASH: MapSpec<'_> = MapSpec {
    map_type: 1,
    key_size: 4,
    value_size: 4,
    max_entries: 1,
    flags: 0,
    extra: 0,
    inner: None,
    types: None,
    structure: 0,
    exclusive: None,
};
const TRIVIAL: ProgSpec<'_> = ProgSpec { prog_type: 1, ..ProgSpec::PLAIN };

fn timed<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let start = Instant::now();
    let result = work();
    (result, u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX))
}

/// Returns the mean time of `count` repetitions.
fn mean<E>(count: u32, mut work: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    let (result, micros) = timed(|| (0..count).try_for_each(|_| work()));
    result.map(|()| micros as f64 / f64::from(count))
}

/// Times the check of the kernel's identity. The expected checksum matches no kernel; the check costs the same.
fn checksum(expected: ExpectedKernel) -> u64 {
    timed(|| kernel::prove(&expected).is_ok()).1
}

fn bare_container() -> Result<(), SysError> {
    match process::fork()? {
        Fork::Child => {
            let entered = process::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS);
            process::leave(i32::from(entered.is_err()))
        }
        Fork::Parent(child) => {
            process::reap(child);
            Ok(())
        }
    }
}

fn container(shared: &SharedResources) -> Result<f64, RunError> {
    let plan = container_plan(0);
    let made = mean(100, || {
        let made = RunningActor::container(&shared.context, "bench", &plan, None, Needs::default())?;
        let mut actor = made.actor;
        actor.confine(&plan)
    });
    made.map_err(|error: ActorError| RunError::Bench(error.to_string()))
}

fn growth(shared: &mut SharedResources, number: usize) -> Result<Growth, RunError> {
    let (call, containers, attempts) = MEASURED[number];
    let (result, micros) = timed(|| scenario::run(shared, number as u32));
    result?;
    Ok(Growth {
        call,
        containers,
        attempts,
        micros,
        micros_per_attempt: micros as f64 / attempts as f64,
        resident_kib: kib("/proc/self/status", "VmRSS:")?,
        descriptors: std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
        available_kib: kib("/proc/meminfo", "MemAvailable:")?,
    })
}

fn kib(path: &str, field: &str) -> Result<u64, SysError> {
    let text = pseudofile::read(path)?;
    let number = text.lines().find_map(|line| line.strip_prefix(field)?.split_whitespace().next()?.parse().ok());
    Ok(number.unwrap_or(0))
}

fn plan() -> Plan {
    let kernel = ExpectedKernel::default();
    let scenarios = MEASURED.iter().enumerate().map(|(number, measured)| scenario_of(number, *measured));
    Plan { format: FORMAT, kernel, marks_console: false, guard: None, scenarios: scenarios.collect() }
}

fn scenario_of(number: usize, (call, containers, attempts): (MeasuredCall, usize, usize)) -> Scenario {
    let containers: Vec<Container> = (0..containers).map(container_plan).collect();
    let attempt = |container: &Container| {
        Attempt::new(
            Actor::Container(container.name.clone()),
            if call == MeasuredCall::Denied { Token::None } else { Token::Own },
            call_of(call),
        )
    };
    // Each container makes its attempts in one go, as in most scenarios.
    let each = attempts / containers.len();
    let attempts = containers.iter().flat_map(|container| vec![attempt(container); each]).collect();
    let case = Case { sysctls: BTreeMap::new(), containers, attempts };
    Scenario::new(format!("bench/{number}").parse().expect("the words are a name"), 0, vec![case])
}

fn call_of(call: MeasuredCall) -> Call {
    match call {
        MeasuredCall::MapCreate | MeasuredCall::Denied => Call::MapCreate {
            map_type: HASH.map_type,
            key_size: HASH.key_size,
            value_size: HASH.value_size,
            max_entries: HASH.max_entries,
            map_flags: HASH.flags,
            inner_map: None,
            map_extra: HASH.extra,
            types: MapTypes::None,
            exclusive: None,
        },
        MeasuredCall::ProgLoad => Call::ProgLoad {
            prog_type: TRIVIAL.prog_type,
            expected_attach_type: TRIVIAL.expected_attach_type,
            prog_flags: TRIVIAL.flags,
            body: Body::Returns(0),
            license: TRIVIAL.license.to_string_lossy().into_owned(),
            target: ProgTarget::None,
            types: None,
            maps: vec![],
            signature: None,
        },
    }
}

fn container_plan(number: usize) -> Container {
    Container {
        name: format!("c{number}").parse().expect("the word is a name"),
        parent: None,
        uid: 1000,
        gid: 1000,
        namespaces: Vec::new(),
        caps: vec![39],
        options: delegate_any(),
        token: true,
        unshare: true,
        loginuid: None,
        restrictions: Default::default(),
        unit: None,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_is_of_all_repetitions_and_stops_at_a_failure() {
        let mut count = 0;
        let mean = mean(5, || {
            count += 1;
            std::thread::sleep(std::time::Duration::from_millis(1));
            Ok::<_, ()>(())
        });
        assert!(mean.unwrap() >= 1000.0);
        assert_eq!(count, 5);
        assert_eq!(super::mean(5, || Err::<(), _>("no")), Err("no"));
    }

    #[test]
    fn scenarios_have_as_many_attempts_and_containers_as_they_say_and_only_denied_ones_lack_a_token() {
        let plan = plan();
        for (scenario, (call, containers, attempts)) in plan.scenarios.iter().zip(MEASURED) {
            let case = &scenario.cases[0];
            assert_eq!((case.containers.len(), case.attempts.len()), (containers, attempts));
            let without = |attempt: &Attempt| attempt.token == Token::None;
            assert!(case.attempts.iter().all(|attempt| without(attempt) == (call == MeasuredCall::Denied)));
        }
    }
}
