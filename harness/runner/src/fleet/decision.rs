//! Decides what to do next with waiting batches, from what runs, what memory is free and what waits.

use std::time::{Duration, Instant};

use crate::capacity::{Need, RunningVms};

/// How long to wait for memory that processes other than our VMs use.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// No batch waits.
    Nothing,
    /// Start a VM for the batch at this index of the queue.
    Start(usize),
    /// Wait: the maximum number of VMs run.
    AwaitJob,
    /// Wait: there is too little memory for any batch.
    AwaitMemory {
        /// Free memory, in MiB.
        free_mib: u64,
    },
    /// Give up the first batch: memory has been short for too long although none of our VMs runs.
    Refuse {
        /// Free memory, in MiB.
        free_mib: u64,
    },
}

/// Decides about batches with these needs, the most urgent first, of which `halves` of a job may be taken; `free` is the
/// host's free memory in MiB.
///
/// A VM takes its memory gradually, so all memory reserved for running VMs is subtracted. A smaller batch overtakes one
/// that does not fit; the larger one starts when the others have ended.
pub(super) fn decide(needs: &[Need], vms: &RunningVms, halves: usize, free: u64, now: Instant) -> Decision {
    if needs.is_empty() {
        return Decision::Nothing;
    }
    let has_job = |need: &Need| vms.halves + need.halves <= halves;
    if !needs.iter().any(has_job) {
        return Decision::AwaitJob;
    }
    let free_mib = free.saturating_sub(vms.reserved_mib);
    let waited = vms.starving.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
    match needs.iter().position(|need| has_job(need) && need.mib <= free_mib) {
        Some(index) => Decision::Start(index),
        None if vms.halves == 0 && waited >= PATIENCE => Decision::Refuse { free_mib },
        None => Decision::AwaitMemory { free_mib },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn working(mib: u64) -> Need {
        Need { halves: 2, mib }
    }

    fn waiting(mib: u64) -> Need {
        Need { halves: 1, mib }
    }

    fn running_vms(needs: &[Need]) -> RunningVms {
        let mut vms = RunningVms::default();
        needs.iter().for_each(|need| vms.enter(*need));
        vms
    }

    fn decision(needs: &[u64], running: &[u64], jobs: usize, free: u64) -> Decision {
        let [needs, running] = [needs, running].map(|all| all.iter().copied().map(working).collect::<Vec<_>>());
        decide(&needs, &running_vms(&running), 2 * jobs, free, Instant::now())
    }

    #[test]
    fn the_first_that_fits_is_started() {
        assert_eq!(decision(&[500, 100], &[], 2, 1000), Decision::Start(0));
        assert_eq!(decision(&[500, 100], &[], 2, 200), Decision::Start(1));
        assert_eq!(decision(&[500], &[], 1, 500), Decision::Start(0));
        assert_eq!(decision(&[], &[], 2, 1000), Decision::Nothing);
    }

    #[test]
    fn no_more_vms_run_than_allowed() {
        assert_eq!(decision(&[100], &[100, 100], 2, 10_000), Decision::AwaitJob);
        assert_eq!(decision(&[100], &[100], 2, 10_000), Decision::Start(0));
    }

    #[test]
    fn two_vms_that_wait_take_the_place_of_one_that_works() {
        let decided =
            |needs: &[Need], running: &[Need]| decide(needs, &running_vms(running), 4, 10_000, Instant::now());
        let (works, waits) = (working(100), waiting(100));
        assert_eq!(decided(&[waits], &[waits; 3]), Decision::Start(0));
        assert_eq!(decided(&[waits], &[waits; 4]), Decision::AwaitJob);
        assert_eq!(decided(&[works, waits], &[works, waits]), Decision::Start(1), "half a job is left");
        assert_eq!(decided(&[works], &[works, waits]), Decision::AwaitJob);
    }

    #[test]
    fn memory_reserved_for_running_vms_is_not_given_twice() {
        assert_eq!(decision(&[500], &[600], 2, 1000), Decision::AwaitMemory { free_mib: 400 });
        assert_eq!(decision(&[500], &[500], 2, 1000), Decision::Start(0));
        assert_eq!(decision(&[500], &[5000], 2, 1000), Decision::AwaitMemory { free_mib: 0 });
    }

    #[test]
    fn waiting_for_memory_has_a_limit() {
        let mut idle = RunningVms::default();
        let now = Instant::now();
        idle.starve(now);
        idle.starve(now + PATIENCE);
        let after = |time| decide(&[working(500)], &idle, 2, 400, now + time);
        assert_eq!(after(PATIENCE / 2), Decision::AwaitMemory { free_mib: 400 });
        assert_eq!(after(PATIENCE), Decision::Refuse { free_mib: 400 });
        assert_eq!(decide(&[working(500)], &idle, 2, 500, now + PATIENCE), Decision::Start(0), "memory became free");
    }

    #[test]
    fn waiting_has_no_limit_while_a_vm_of_ours_runs() {
        let (mut busy, now) = (running_vms(&[working(500)]), Instant::now());
        busy.starve(now);
        assert_eq!(decide(&[working(500)], &busy, 4, 900, now + 2 * PATIENCE), Decision::AwaitMemory { free_mib: 400 });
        busy.leave(working(500));
        busy.starve(now + 2 * PATIENCE);
        assert_eq!(decide(&[working(500)], &busy, 4, 400, now + 2 * PATIENCE), Decision::AwaitMemory { free_mib: 400 });
    }

    #[test]
    fn every_queue_completes_with_any_number_of_jobs() {
        for jobs in 1..6 {
            let (mut queue, mut vms, mut running, mut done) =
                (vec![working(900), waiting(300), working(300), waiting(200)], RunningVms::default(), vec![], 0);
            while done < 4 {
                match decide(&queue, &vms, 2 * jobs, 1000, Instant::now()) {
                    Decision::Start(index) => {
                        let need = queue.remove(index);
                        vms.enter(need);
                        running.push(need);
                    }
                    _ => {
                        vms.leave(running.pop().expect("nothing runs and nothing starts"));
                        done += 1;
                    }
                }
                let sum = |of: fn(&Need) -> u64| running.iter().map(of).sum::<u64>();
                assert!(sum(|need| need.halves as u64) <= 2 * jobs as u64 && sum(|need| need.mib) <= 1000);
            }
        }
    }
}
