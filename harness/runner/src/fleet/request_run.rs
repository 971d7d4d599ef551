//! Runs the VMs of one request, and stores each outcome when it arrives.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use harness_builder::cache::Lock;
use harness_protocol::{name::KernelName, plan};

use super::{progress_line::ProgressLine, request::RequestState};
use crate::{
    batches::Batch,
    capacity::lock,
    launch::{Launch, LaunchError},
    session::Notice,
};

/// A request being fulfilled.
pub(super) struct RequestRun<'l, 'a, T> {
    request: &'l RequestState<'a, T>,
    launch: Launch<'a>,
    /// Counts the VMs that the host loses.
    lost_vms: &'l AtomicU64,
    state: Mutex<State>,
}

struct State {
    /// The number of unfinished batches.
    left: usize,
    /// Whether any VM of this kernel has produced an outcome.
    alive: bool,
    /// The first error.
    error: Option<LaunchError>,
    /// Held until no batch is left.
    lock: Option<Lock>,
}

impl<'l, 'a, T: Send> RequestRun<'l, 'a, T> {
    pub(super) fn new(
        request: &'l RequestState<'a, T>,
        launch: Launch<'a>,
        lock: Lock,
        left: usize,
        lost_vms: &'l AtomicU64,
    ) -> Self {
        let state = Mutex::new(State { left, alive: false, error: None, lock: Some(lock) });
        Self { request, launch, lost_vms, state }
    }

    pub(super) fn kernel(&self) -> &'a KernelName {
        self.request.kernel
    }

    /// Boots a VM for a batch and stores its outcomes. Returns false if the kernel's other batches should not be tried.
    pub(super) fn carry_out(&self, batch: &Batch, mut line: ProgressLine<'_>) -> bool {
        match self.session(&batch.scenarios, &mut line) {
            Ok(()) => line.finish(),
            Err(error) => self.fail(error),
        }
        self.skip(1);
        let state = lock(&self.state);
        state.alive || state.error.is_none()
    }

    fn session(&self, scenarios: &[plan::Scenario], line: &mut ProgressLine<'_>) -> Result<(), LaunchError> {
        let mut kept = Ok(());
        let session = self.launch.session(scenarios, &mut |notice| {
            line.show(&notice);
            if let Notice::Lost { .. } = notice {
                self.lost_vms.fetch_add(1, Ordering::Relaxed);
            }
            if let Notice::Ended(outcome) = notice {
                lock(&self.state).alive = true;
                if self.request.take(outcome, &mut kept) {
                    line.differs();
                }
            }
        });
        kept?;
        session.map(drop)
    }

    /// Records an error; only the first one is kept.
    pub(super) fn fail(&self, error: LaunchError) {
        lock(&self.state).error.get_or_insert(error);
    }

    /// Records that this number of batches is done or dropped.
    pub(super) fn skip(&self, batches: usize) {
        let mut state = lock(&self.state);
        state.left -= batches;
        if state.left == 0 {
            // Other processes that wait for this environment can now find the outcomes.
            state.lock = None;
        }
    }

    /// Returns the first error, if there was one.
    pub(super) fn error(self) -> Option<LaunchError> {
        lock(&self.state).error.take()
    }
}
