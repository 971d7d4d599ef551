//! Finds out how QEMU can be confined on this machine, by running the probe's ROM in a confined QEMU.

use std::{fmt, path::Path, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    kind::Accel,
    probe::{self, Memory, Proof},
};
use crate::{confinement::Confinement, qemu::Qemu};

/// Where the result is kept.
const MEMORY: Memory = Memory::named("qemu-confinement.json");

/// How long the ROM may take; software emulation on a busy host needs seconds.
const DEADLINE: Duration = Duration::from_secs(20);

/// How QEMU is confined on this machine, and why not more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confining {
    /// What works.
    pub confinement: Confinement,
    /// Why something does not.
    pub lacks: Vec<String>,
}

impl fmt::Display for Confining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "confined by {}", self.confinement)?;
        self.lacks.iter().try_for_each(|lacks| write!(f, "; {lacks}"))
    }
}

/// Finds out how QEMU can be confined. The folder `memory` keeps the result until the host's next boot.
pub fn confine(qemu: &Qemu, accel: Accel, memory: &Path) -> Confining {
    look_at_confining(qemu, accel, memory, |found| MEMORY.keep(qemu, memory, found))
}

/// As [`confine`], but does not keep the result.
pub fn look_at_confinement(qemu: &Qemu, accel: Accel, memory: &Path) -> Confining {
    look_at_confining(qemu, accel, memory, |_| {})
}

fn look_at_confining(qemu: &Qemu, accel: Accel, memory: &Path, keep: impl FnOnce(&Confining)) -> Confining {
    MEMORY.recall(qemu, memory).unwrap_or_else(|| {
        let found = find(|confinement| probe::run_confined(qemu.path(), accel, DEADLINE, confinement));
        keep(&found);
        found
    })
}

/// Tries everything at once, then each part, so that one that does not work does not cost the other.
fn find(run: impl Fn(Confinement) -> Proof) -> Confining {
    let all = Confinement { seccomp: true, landlock: true };
    if run(all) == Proof::Ran {
        return Confining { confinement: all, lacks: Vec::new() };
    }
    let seccomp = run(Confinement { landlock: false, ..all });
    let landlock = run(Confinement { seccomp: false, ..all });
    let lacks = [("seccomp", &seccomp), ("Landlock", &landlock)].into_iter().filter_map(|(part, proof)| match proof {
        Proof::Ran => None,
        Proof::Failed(why) => Some(format!("{part} is not available because {why}")),
    });
    let lacks = lacks.collect();
    let confinement = Confinement { seccomp: seccomp == Proof::Ran, landlock: landlock == Proof::Ran };
    if confinement != all {
        return Confining { confinement, lacks };
    }
    let why = "seccomp is not used because QEMU does not run with it and Landlock".to_owned();
    Confining { confinement: Confinement { seccomp: false, ..all }, lacks: vec![why] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(works: impl Fn(Confinement) -> bool) -> String {
        let failed = || Proof::Failed("QEMU ended with exit status: 1".to_owned());
        find(|confinement| if works(confinement) { Proof::Ran } else { failed() }).to_string()
    }

    #[test]
    fn what_works_is_used_and_what_does_not_has_its_reason() {
        insta::assert_snapshot!(found(|_| true), @"confined by seccomp and Landlock");
        insta::assert_snapshot!(found(|part| !part.landlock), @"confined by seccomp; Landlock is not available because QEMU ended with exit status: 1");
        insta::assert_snapshot!(found(|part| !part.seccomp), @"confined by Landlock; seccomp is not available because QEMU ended with exit status: 1");
        insta::assert_snapshot!(found(|part| !(part.seccomp && part.landlock)), @"confined by Landlock; seccomp is not used because QEMU does not run with it and Landlock");
        insta::assert_snapshot!(found(|_| false), @"confined by nothing; seccomp is not available because QEMU ended with exit status: 1; Landlock is not available because QEMU ended with exit status: 1");
    }

    #[test]
    fn the_qemu_of_this_machine_runs_with_what_its_kernel_has() {
        let Ok(qemu) = Qemu::find() else {
            println!("skipped: there is no QEMU");
            return;
        };
        let memory = tempfile::tempdir().unwrap();
        let found = confine(&qemu, Accel::Tcg, memory.path());
        let reasons = found.lacks.join("; ");
        assert!(found.confinement.landlock || reasons.contains("the kernel has no Landlock"), "{found}");
        assert_eq!(MEMORY.recall(&qemu, memory.path()), Some(found));
    }
}
