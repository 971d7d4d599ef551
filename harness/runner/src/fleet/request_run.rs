//! What one kernel's VMs do for a run: each outcome is kept when it comes.

use std::sync::Mutex;

use harness_builder::cache::Lock;
use harness_protocol::{name::KernelName, plan};

use super::{progress_line::ProgressLine, request::RequestState};
use crate::{
    batches::Batch,
    capacity::lock,
    launch::{Launch, LaunchError},
    session::Notice,
};

/// One order being fulfilled.
pub(super) struct RequestRun<'l, 'a, T> {
    ledger: &'l RequestState<'a, T>,
    launch: Launch<'a>,
    state: Mutex<State>,
}

struct State {
    /// Batches that are not done.
    left: usize,
    /// Whether any VM of this kernel has answered.
    alive: bool,
    /// The first thing that went wrong.
    error: Option<LaunchError>,
    /// Held until no batch is left.
    lock: Option<Lock>,
}

impl<'l, 'a, T> RequestRun<'l, 'a, T> {
    pub(super) fn new(ledger: &'l RequestState<'a, T>, launch: Launch<'a>, lock: Lock, left: usize) -> Self {
        let state = Mutex::new(State { left, alive: false, error: None, lock: Some(lock) });
        Self { ledger, launch, state }
    }

    pub(super) fn kernel(&self) -> &'a KernelName {
        self.ledger.kernel
    }

    /// Boots a VM for a batch and keeps what it answers; false if there is no sense in trying the kernel's others.
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
            if let Notice::Ended(outcome) = notice {
                lock(&self.state).alive = true;
                if self.ledger.take(outcome, &mut kept) {
                    line.differs();
                }
            }
        });
        kept?;
        session.map(drop)
    }

    /// Notes why something is not to be had.
    pub(super) fn fail(&self, error: LaunchError) {
        lock(&self.state).error.get_or_insert(error);
    }

    /// So many batches are done, or will not be.
    pub(super) fn skip(&self, batches: usize) {
        let mut state = lock(&self.state);
        state.left -= batches;
        if state.left == 0 {
            // Whoever waits for this kernel finds the outcomes now.
            state.lock = None;
        }
    }

    /// What went wrong, if anything did.
    pub(super) fn error(self) -> Option<LaunchError> {
        lock(&self.state).error.take()
    }
}
