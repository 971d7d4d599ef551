//! What to do next with the batches that wait: a function of what runs, what is free and what waits.

use std::time::{Duration, Instant};

use crate::capacity::RunningVms;

/// How long to wait for memory that others than our own VMs hold.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing waits.
    Nothing,
    /// The batch at this place in the queue gets its VM.
    Start(usize),
    /// As many VMs run as may.
    AwaitJob,
    /// There is too little memory for any batch; so much is left.
    AwaitMemory {
        /// In MiB.
        free_mib: u64,
    },
    /// There has been too little memory for long although no VM of ours holds any: the first batch is given up.
    Refuse {
        /// In MiB.
        free_mib: u64,
    },
}

/// What to do next with batches that need so much memory each, the most urgent first; `free` is what the host has left, all in
/// MiB.
///
/// A VM takes what it was promised little by little, so the whole promise of each that runs is held back. A smaller batch
/// overtakes one that does not fit; the larger one gets its turn when the others have ended.
pub(super) fn decide(needs: &[u64], yard: &RunningVms, jobs: usize, free: u64, now: Instant) -> Decision {
    if needs.is_empty() {
        return Decision::Nothing;
    }
    if yard.running >= jobs {
        return Decision::AwaitJob;
    }
    let free_mib = free.saturating_sub(yard.promised_mib);
    let waited = yard.starving.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
    match needs.iter().position(|&need| need <= free_mib) {
        Some(index) => Decision::Start(index),
        None if yard.running == 0 && waited >= PATIENCE => Decision::Refuse { free_mib },
        None => Decision::AwaitMemory { free_mib },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yard(needs: &[u64]) -> RunningVms {
        let mut yard = RunningVms::default();
        needs.iter().for_each(|need| yard.enter(*need));
        yard
    }

    fn decision(needs: &[u64], running: &[u64], jobs: usize, free: u64) -> Decision {
        decide(needs, &yard(running), jobs, free, Instant::now())
    }

    #[test]
    fn the_first_that_fits_is_started() {
        assert_eq!(decision(&[500, 100], &[], 2, 1000), Decision::Start(0));
        assert_eq!(decision(&[500, 100], &[], 2, 200), Decision::Start(1));
        assert_eq!(decision(&[500], &[], 1, 500), Decision::Start(0));
        assert_eq!(decision(&[], &[], 2, 1000), Decision::Nothing);
    }

    #[test]
    fn no_more_run_than_may() {
        assert_eq!(decision(&[100], &[100, 100], 2, 10_000), Decision::AwaitJob);
        assert_eq!(decision(&[100], &[100], 2, 10_000), Decision::Start(0));
    }

    #[test]
    fn what_running_vms_were_promised_is_not_given_twice() {
        assert_eq!(decision(&[500], &[600], 2, 1000), Decision::AwaitMemory { free_mib: 400 });
        assert_eq!(decision(&[500], &[500], 2, 1000), Decision::Start(0));
        assert_eq!(decision(&[500], &[5000], 2, 1000), Decision::AwaitMemory { free_mib: 0 });
    }

    #[test]
    fn memory_that_never_comes_is_waited_for_only_so_long() {
        let mut idle = RunningVms::default();
        let now = Instant::now();
        idle.starve(now);
        idle.starve(now + PATIENCE);
        let after = |time| decide(&[500], &idle, 1, 400, now + time);
        assert_eq!(after(PATIENCE / 2), Decision::AwaitMemory { free_mib: 400 });
        assert_eq!(after(PATIENCE), Decision::Refuse { free_mib: 400 });
        assert_eq!(decide(&[500], &idle, 1, 500, now + PATIENCE), Decision::Start(0), "it came after all");
    }

    #[test]
    fn while_a_vm_of_ours_runs_its_memory_is_waited_for() {
        let (mut busy, now) = (yard(&[500]), Instant::now());
        busy.starve(now);
        assert_eq!(decide(&[500], &busy, 2, 900, now + 2 * PATIENCE), Decision::AwaitMemory { free_mib: 400 });
        busy.leave(500);
        busy.starve(now + 2 * PATIENCE);
        assert_eq!(decide(&[500], &busy, 2, 400, now + 2 * PATIENCE), Decision::AwaitMemory { free_mib: 400 });
    }

    #[test]
    fn a_whole_queue_runs_to_its_end_however_many_jobs_there_are() {
        for jobs in 1..6 {
            let (mut queue, mut yard, mut running, mut done) =
                (vec![900, 300, 300, 200], RunningVms::default(), vec![], 0);
            while done < 4 {
                match decide(&queue, &yard, jobs, 1000, Instant::now()) {
                    Decision::Start(index) => {
                        let need = queue.remove(index);
                        yard.enter(need);
                        running.push(need);
                    }
                    _ => {
                        yard.leave(running.pop().expect("nothing runs and nothing starts"));
                        done += 1;
                    }
                }
                assert!(running.len() <= jobs && running.iter().sum::<u64>() <= 1000);
            }
        }
    }
}
