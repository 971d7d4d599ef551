//! Deadlines of guests.

use std::time::Duration;

use crate::accel::Accel;

/// How long a guest may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// From the start of the VM to the guest program's first record.
    pub boot: Duration,
    /// Between scenarios, and from the last one to the end.
    pub between: Duration,
    /// The factor for the scenarios' own deadlines.
    pub patience: u32,
}

impl Deadlines {
    /// Returns the deadlines of VMs with this accelerator.
    pub fn of(accel: Accel) -> Self {
        let patience = accel.patience();
        Self { boot: Duration::from_secs(30) * patience, between: Duration::from_secs(10) * patience, patience }
    }

    /// Returns the time for a scenario with this deadline.
    pub fn scenario(&self, milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds).saturating_mul(self.patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emulation_gets_more_time_for_everything() {
        let (kvm, tcg) = (Deadlines::of(Accel::Kvm), Deadlines::of(Accel::Tcg));
        assert!(tcg.boot > kvm.boot && tcg.between > kvm.between);
        assert!(tcg.scenario(1000) > kvm.scenario(1000));
        assert_eq!(kvm.scenario(1500), Duration::from_millis(1500));
        assert!(tcg.scenario(u64::MAX) >= Duration::from_millis(u64::MAX));
    }
}
