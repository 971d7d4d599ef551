//! `cargo xtask image`: what a user does with images, and what only the repository does: it pins their packages.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args as ClapArgs, Subcommand};
use harness_builder::{
    host::{Mode, Purpose},
    image,
};
use harness_cli::{
    Context, candidates,
    image::{Images, Verb as UserVerb},
    screen,
};
use harness_runner::preparation::prepare_host;

/// List, build and pin images: root file systems of guests
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  cargo xtask image list
  cargo xtask image build minimal

Exit codes: 0 done; 2 no such image, or a bad manifest; 3 a build or a download failed.")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    #[command(flatten)]
    User(UserVerb),
    /// Pin the packages of images to the current versions in their suite
    #[command(after_help = "\
Examples:
  cargo xtask image pin
  cargo xtask image pin minimal

Exit codes: 0 written; 2 no such image, or a bad manifest; 3 the archive cannot be reached.")]
    Pin {
        /// Images to pin [default: all]
        #[arg(add = candidates::images())]
        names: Vec<String>,
    },
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    match &args.verb {
        Verb::User(verb) => verb.run(context),
        Verb::Pin { names } => pin(&Images::open(context)?, names).map(|()| ExitCode::SUCCESS),
    }
}

fn pin(images: &Images, names: &[String]) -> Result<()> {
    prepare_host(&[Purpose::Packages], Mode::Ask, images.progress())?;
    for manifest in images.manifests(names)? {
        for pinned in image::pin(&manifest, images.cache(), images.progress())? {
            screen::print(&format!("{}: {pinned}\n", manifest.name))?;
        }
    }
    Ok(())
}
