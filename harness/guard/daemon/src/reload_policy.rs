//! `reload`: puts another policy in the place of the one in force.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use guard_policy::{Image, layout::IMAGE_SIZE};

/// Put another policy in the place of the one in force
#[derive(Debug, Args)]
#[command(after_help = "\
The policy in force says who may do that, by its `reload`. The programs of the guard judge the image; this one only carries it to them.")]
pub(crate) struct ReloadArgs {
    /// What `bpf-guard compile` made of the policy
    image: PathBuf,

    /// Its signature: PKCS #7, DER, detached
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &ReloadArgs) -> Result<()> {
    let shown = args.image.display();
    let Some(image) = Image::from_bytes(read(&args.image)?) else {
        bail!("{shown} is no policy that `bpf-guard compile` has made")
    };
    let signature = args.signature.as_deref().map(read).transpose()?.unwrap_or_default();
    guard_loader::reload(&image, &signature)?;
    println!("bpf-guard: revision {} is in force", image.revision());
    Ok(())
}

/// Reads a file that is no longer than an image.
fn read(path: &Path) -> Result<Vec<u8>> {
    let bytes = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(IMAGE_SIZE as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    bytes().with_context(|| format!("cannot read {}", path.display()))
}
