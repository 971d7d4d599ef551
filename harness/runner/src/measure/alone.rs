//! Runs `vmtest` as it is, without the harness's worker.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use vmtest::{Config, Target, VMConfig, Vmtest, output::Output};

use super::error::MeasureError;
use crate::{
    accel::Accel,
    vm::{EMULATED_CPU, VmSpec},
};

/// Runs the command of `spec` and returns how long that took.
pub(super) fn run(spec: &VmSpec) -> Result<Duration, MeasureError> {
    let config = Config { target: vec![target(spec)] };
    let vmtest = Vmtest::new(&spec.share, config).map_err(|error| MeasureError::Vmtest(format!("{error:#}")))?;
    let (sender, outputs) = mpsc::channel();
    let start = Instant::now();
    vmtest.run_one(0, sender);
    let took = start.elapsed();
    verdict(outputs).map(|()| took).map_err(MeasureError::Vmtest)
}

fn target(spec: &VmSpec) -> Target {
    let target = Target {
        name: "alone".to_owned(),
        kernel: Some(spec.kernel.clone()),
        kernel_args: Some(spec.command_line()),
        rootfs: spec.root.clone(),
        command: spec.command.clone(),
        vm: VMConfig { num_cpus: spec.cpus, memory: format!("{}M", spec.memory_mib), ..VMConfig::default() },
        ..Target::default()
    };
    match spec.accel {
        Accel::Kvm => target,
        // With the host's own architecture name, vmtest uses /dev/kvm if it exists, even where it does not work.
        Accel::Tcg => Target {
            arch: "x86_64-emulated".to_owned(),
            qemu_command: Some(spec.qemu.to_string_lossy().into_owned()),
            vm: VMConfig { extra_args: ["-cpu", EMULATED_CPU].map(str::to_owned).to_vec(), ..target.vm },
            ..target
        },
    }
}

/// Returns whether the command ran and succeeded, or the first error.
fn verdict(outputs: impl IntoIterator<Item = Output>) -> Result<(), String> {
    for output in outputs {
        match output {
            Output::BootEnd(Err(error)) | Output::SetupEnd(Err(error)) | Output::CommandEnd(Err(error)) => {
                return Err(format!("{error:#}"));
            }
            Output::CommandEnd(Ok(0)) => return Ok(()),
            Output::CommandEnd(Ok(code)) => return Err(format!("the command exited with code {code}")),
            _ => {}
        }
    }
    Err("the command did not run".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_successful_command_counts() {
        assert_eq!(verdict([Output::BootStart, Output::BootEnd(Ok(())), Output::CommandEnd(Ok(0))]), Ok(()));
        assert_eq!(verdict([Output::CommandEnd(Ok(3))]), Err("the command exited with code 3".to_owned()));
        assert_eq!(verdict([Output::BootStart]), Err("the command did not run".to_owned()));
    }
}
