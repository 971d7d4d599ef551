//! `cargo xtask shell`: an interactive shell in a VM.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Args as ClapArgs;
use harness_builder::progress::Progress;
use harness_cli::{Context, candidates, exit::Wrong, setup::Installation};
use harness_protocol::name::{Environment, ImageName};
use harness_runner::{preparation::prepare_for, resources::Resources, shell, store::Freshness};

/// Open a root shell in a VM like those that scenarios run in
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
The shell runs as root in a private copy of the image, which is deleted when the VM ends. `exit` or
^D ends the VM, ^A X kills it. The folder /mnt/vmtest is shared with the host while the VM runs.

Examples:
  cargo xtask shell
  cargo xtask shell --kernel 6.12
  cargo xtask shell --guard narrow.guard.toml

Try there:
  mkdir /tmp/b && mount -t bpf -o delegate_cmds=prog_load,delegate_progs=xdp bpffs /tmp/b
  grep /tmp/b /proc/mounts

Try there with --guard:
  cd /mnt/vmtest && ./bpf-guard try policy.guard.toml

Exit codes: 0 the VM ended; 2 no such kernel or image, or no terminal; 3 QEMU or a build failed.")]
pub(crate) struct Args {
    /// The kernel to boot [default: the newest default kernel]
    #[arg(long, value_name = "NAME", add = candidates::kernels())]
    kernel: Option<String>,

    /// The guest's root file system
    #[arg(long, value_name = "NAME", default_value = "minimal", add = candidates::images())]
    image: ImageName,

    /// Put this policy and the program bpf-guard into the shared folder
    #[arg(long, value_name = "POLICY", value_hint = clap::ValueHint::FilePath)]
    guard: Option<PathBuf>,

    #[command(flatten)]
    installation: Installation,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    shell::check_terminal().map_err(Wrong::input)?;
    if let Some(policy) = args.guard.as_deref().filter(|policy| !policy.is_file()) {
        return Err(Wrong::input(anyhow::anyhow!("there is no policy {}", policy.display())));
    }
    let resources = Resources::open(context.project()?.clone(), Freshness::Any, Progress::detect())?
        .with_guard(None, args.guard.is_some());
    let kernels = match &args.kernel {
        Some(name) => resources.kernels([name.as_str()]).map_err(Wrong::input)?,
        None => resources.default_kernels().map_err(Wrong::input)?,
    };
    let Some(kernel) = kernels.last() else { anyhow::bail!("there is no kernel in kernels/") };
    let environment = Environment { kernel: kernel.clone(), image: args.image.clone() };
    prepare_for(&resources, &[environment], args.installation.mode())?;
    let testbed = resources.build(kernel, &args.image)?;
    shell::open(&testbed, args.guard.as_deref())?;
    Ok(ExitCode::SUCCESS)
}
