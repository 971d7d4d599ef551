//! What attempts and containers cost here, beside the bare system calls they are made of.

use std::{collections::BTreeMap, fmt, fs::File, path::Path, time::Instant};

use harness_model::plan::{Actor, Attempt, Call, Case, Container, ExpectedKernel, Scenario, Token};
use rustix::thread::UnshareFlags;
use serde::Serialize;

use crate::{
    bpf::{self, MapSpec, ProgSpec},
    bpffs,
    error::{During, SysError},
    kernel,
    party::{Needs, Party, PartyError},
    process::{self, Fork},
    pseudofile,
    run::{self, RunError},
    scenario::{self, World},
};

/// The result, printed as one object of JSON. Times are in microseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// `uname -r`.
    release: String,
    /// Reading and summing `/sys/kernel/btf/vmlinux`.
    btf_checksum: u64,
    /// The same of `/proc/config.gz`; nothing if the kernel has none.
    config_checksum: Option<u64>,
    /// Making an announcement durable.
    record_sync: u64,
    /// One `BPF_MAP_CREATE` and `close` in a bare loop.
    bare_map_create: f64,
    /// One `BPF_PROG_LOAD` of two instructions and `close` in a bare loop.
    bare_prog_load: f64,
    /// One `fork`, `unshare` of user and mount namespaces in the child, its end and `wait`.
    bare_container: f64,
    /// One container with all that belongs to it, made and gone again.
    container: f64,
    /// Scenarios of one container and so many attempts.
    growth: Vec<Growth>,
}

/// A scenario of `attempts` attempts, each made three times: as root, in the control container and for real.
#[derive(Debug, Serialize)]
struct Growth {
    attempts: usize,
    micros: u64,
    micros_per_attempt: f64,
    /// The guest program itself, after the scenario, in KiB.
    resident_kib: u64,
    /// Descriptors it has open then.
    descriptors: usize,
    /// What the whole machine can still use then, in KiB.
    available_kib: u64,
}

/// Measures, with a record in `folder` as a run has it.
pub(crate) fn run(folder: &Path) -> Result<Report, RunError> {
    let mut world = run::open(folder)?;
    // Nothing costs its usual price the first time.
    scenario::run(&mut world, &scenario_of("warm-up", 10))?;
    let (_, record_sync) = timed(|| world.record.sync());
    Ok(Report {
        release: kernel::release(),
        btf_checksum: checksum(ExpectedKernel { btf_crc32: Some(0), ..Default::default() }),
        config_checksum: File::open("/proc/config.gz")
            .is_ok()
            .then(|| checksum(ExpectedKernel { config_crc32: Some(0), ..Default::default() })),
        record_sync,
        bare_map_create: mean(1000, || bpf::map_create(HASH, None, None).map(drop).during(|| "BPF_MAP_CREATE"))?,
        bare_prog_load: mean(1000, || bpf::prog_load(TRIVIAL, None).map(drop).during(|| "BPF_PROG_LOAD"))?,
        bare_container: mean(100, bare_container)?,
        container: container(&world)?,
        growth: [10, 100, 1000].into_iter().map(|count| growth(&mut world, count)).collect::<Result<_, _>>()?,
    })
}

const HASH: MapSpec = MapSpec { map_type: 1, key_size: 4, value_size: 4, max_entries: 1, flags: 0 };
const TRIVIAL: ProgSpec<'_> = ProgSpec { prog_type: 1, expected_attach_type: 0, flags: 0, returns: 0, license: c"GPL" };

fn timed<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let start = Instant::now();
    let result = work();
    (result, u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX))
}

/// How long one of `count` repetitions takes.
fn mean<E>(count: u32, mut work: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    let (result, micros) = timed(|| (0..count).try_for_each(|_| work()));
    result.map(|()| micros as f64 / f64::from(count))
}

/// Asked for a checksum nobody has, the proof costs what it always costs.
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

fn container(world: &World) -> Result<f64, RunError> {
    let plan = container_plan();
    let made = mean(100, || {
        let (mut party, _) = Party::container(&world.hierarchy, "bench", &plan, None, Needs::default())?;
        party.confine(&plan.caps)
    });
    made.map_err(|error: PartyError| RunError::Bench(error.to_string()))
}

fn growth(world: &mut World, attempts: usize) -> Result<Growth, RunError> {
    let scenario = scenario_of("growth", attempts);
    let (result, micros) = timed(|| scenario::run(world, &scenario));
    result?;
    Ok(Growth {
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

/// Half of the attempts are allowed, half denied, none is saved.
fn scenario_of(name: &str, attempts: usize) -> Scenario {
    let plan = container_plan();
    let attempt = |index| Attempt {
        actor: Actor::Container(plan.name.clone()),
        caps: None,
        token: if index % 2 == 0 { Token::Own } else { Token::None },
        call: Call::MapCreate {
            map_type: HASH.map_type,
            key_size: HASH.key_size,
            value_size: HASH.value_size,
            max_entries: HASH.max_entries,
            map_flags: HASH.flags,
            inner_map: None,
        },
        save: None,
    };
    let attempts = (0..attempts).map(attempt).collect();
    Scenario {
        name: name.parse().expect("the word is a name"),
        deadline_ms: 0,
        sysctls: BTreeMap::new(),
        own_vm: false,
        cases: vec![Case { sysctls: BTreeMap::new(), containers: vec![plan.clone()], attempts }],
    }
}

fn container_plan() -> Container {
    Container {
        name: "main".parse().expect("the word is a name"),
        parent: None,
        uid: 1000,
        gid: 1000,
        namespaces: Vec::new(),
        caps: vec![39],
        options: bpffs::delegate_any(),
        token: true,
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
    fn half_of_the_attempts_hand_over_a_token() {
        let scenario = scenario_of("growth", 10);
        let own = scenario.cases[0].attempts.iter().filter(|attempt| attempt.token == Token::Own).count();
        assert_eq!(own, 5);
    }
}
