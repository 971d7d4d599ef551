//! `cargo xtask clean`: shows what in the cache is no longer needed, and removes it.

use std::{fmt::Write as _, path::Path, process::ExitCode, time::SystemTime};

use anyhow::Result;
use clap::{
    Args as ClapArgs,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use harness_builder::{
    cache::{
        Area, Cache,
        cleaning::{CleanScope, Freed, Plan},
        inventory::{Inventory, InventoryError},
    },
    progress::size,
    references,
};
use harness_cli::{
    Context,
    documents::{self, Format},
    exit::Wrong,
    screen,
    screen::print,
};
use harness_runner::session::RunFolder;

use crate::documents::Cleaning;

/// Show what in the cache is no longer needed, and remove it
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Not needed are kernels, mutants, images, programs and downloads that nothing in this project refers
to, trees and outcomes that were not used for 30 days, and leftovers of killed processes. Whatever a
running process has locked is kept, and everything that running VMs may use. Links are never followed.

Examples:
  cargo xtask clean                           shows it; on a terminal, asks whether to remove it
  cargo xtask clean --yes
  cargo xtask clean --all store               removes all outcomes; the next run makes all attempts
  cargo xtask clean --all --yes               empties the cache except for its locks

Exit codes: 0 shown or removed; 2 the cache folder holds foreign files, or a bad manifest; 3
something cannot be read or removed.")]
pub(crate) struct Args {
    /// Parts of the cache [default: all parts]
    #[arg(value_parser = part(), value_name = "PART")]
    parts: Vec<Area>,

    /// Remove everything in these parts, needed or not; all of it can be made again
    #[arg(long)]
    all: bool,

    /// Remove it without asking
    #[arg(long)]
    yes: bool,

    /// Output format; JSON as docs/clean.schema.json says, without a question: it removes only with --yes
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Parses the folder name of a part of the cache; help describes each.
fn part() -> impl TypedValueParser<Value = Area> {
    let name = |area: Area| PossibleValue::new(area.folder()).help(holds(area));
    PossibleValuesParser::new(Area::ALL.map(name)).map(|name| {
        let named = Area::ALL.into_iter().find(|area| area.folder() == name);
        named.expect("only names of areas are possible")
    })
}

/// Describes a part of the cache, and what it costs to make it again.
const fn holds(area: Area) -> &'static str {
    match area {
        Area::Downloads => "Packages and tarballs",
        Area::Kernels => "Built kernels: minutes to half an hour each",
        Area::Mutants => "Mutants: half a minute each",
        Area::Trees => "Source and object trees, which make the next build of a kernel short",
        Area::Images => "Root file systems of guests",
        Area::Guest => "Guest programs: a minute each",
        Area::Objects => "BPF objects that scenarios load",
        Area::Bundles => "What installed programs bring, unpacked",
        Area::Store => "Outcomes of scenarios; those without one run again",
        Area::Runs => "Folders of runs",
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let project = context.project()?;
    let root = Cache::place()?;
    let inventory = Inventory::of(&root).map_err(blame)?;
    let references = references::of(project, &root).map_err(Wrong::input)?;
    let areas: Vec<Area> =
        Area::ALL.into_iter().filter(|area| args.parts.is_empty() || args.parts.contains(area)).collect();
    let reach = if args.all { CleanScope::Everything } else { CleanScope::Idle };
    let plan = Plan::new(&inventory, &references, &areas, reach, SystemTime::now());
    match args.format {
        Format::Human => print(&shown(&root, &inventory, &plan, &areas))?,
        Format::Json => documents::show(&Cleaning::of(&root, &inventory, &plan, &areas))?,
    }
    if plan.removals.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if args.yes || (args.format == Format::Human && confirmed()?) {
        free(&plan, &root)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Maps errors to exit codes: a folder with foreign files is wrong input.
fn blame(error: InventoryError) -> anyhow::Error {
    match error {
        InventoryError::NotOurs { .. } => Wrong::input(error),
        InventoryError::Io { .. } => error.into(),
    }
}

/// How many items of a part are listed by name.
const NAMED: usize = 12;

fn shown(root: &Path, inventory: &Inventory, plan: &Plan, areas: &[Area]) -> String {
    let mut text = format!("{}\n{:<12}{:>12}{:>14}\n", root.display(), "", "holds", "would free");
    let row = |text: &mut String, name: &str, holds, frees| {
        let _ = writeln!(text, "{name:<12}{:>12}{:>14}", size(holds), size(frees));
    };
    let (mut holds, mut frees) = (0, 0);
    for area in areas {
        let (of_area, free) = (inventory.bytes(*area), plan.bytes(*area));
        (holds, frees) = (holds + of_area, frees + free);
        row(&mut text, area.folder(), of_area, free);
    }
    row(&mut text, "total", holds, frees);
    for area in areas {
        let removals: Vec<_> = plan.of(*area).collect();
        let named = if *area == Area::Store { 0 } else { NAMED };
        for (item, why) in removals.iter().take(named) {
            let _ = writeln!(text, "  {}/{}  {}, {why}", area.folder(), item.name, size(item.bytes));
        }
        if removals.len() > named {
            let more = if named > 0 { " more" } else { "" };
            let _ = writeln!(text, "  {}/  {}{more}, {}", area.folder(), removals.len() - named, removals[named].1);
        }
    }
    text
}

fn confirmed() -> Result<bool> {
    let answer = screen::agrees("remove this?")?;
    match answer {
        Some(true) => {}
        Some(false) => eprintln!("nothing was removed"),
        None => eprintln!("nothing was removed; pass --yes to remove this"),
    }
    Ok(answer == Some(true))
}

fn free(plan: &Plan, root: &Path) -> Result<()> {
    let cache = Cache::at(root)?;
    if plan.of(Area::Runs).next().is_some() {
        // This also removes what a killed VM left outside of its folder.
        RunFolder::sweep(&cache.folder(Area::Runs)?)?;
    }
    let Freed { items, bytes, left } = plan.carry_out(&cache)?;
    for (item, reason) in &left {
        eprintln!("kept {}/{}: {reason}", item.area.folder(), item.name);
    }
    eprintln!("freed {} ({items} removed, {} kept)", size(bytes), left.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use harness_builder::cache::{cleaning::RemovalReason, inventory::Item};

    use super::*;

    fn item(area: Area, name: &str) -> Item {
        Item { area, name: name.to_owned(), bytes: 3 << 20, used: SystemTime::UNIX_EPOCH, is_running: false }
    }

    #[test]
    fn each_part_and_what_goes_of_it_is_shown_with_sizes_and_reasons() {
        let items = vec![item(Area::Kernels, "6.12-a"), item(Area::Kernels, "6.12-b"), item(Area::Store, "0a/b.json")];
        let removals = vec![(items[1].clone(), RemovalReason::Unreferenced), (items[2].clone(), RemovalReason::Old)];
        let plan = Plan { removals, vms_running: false };
        let text = shown(Path::new("/c"), &Inventory { items }, &plan, &[Area::Kernels, Area::Store]);
        let expected = "\
/c
                   holds    would free
kernels          6.0 MiB       3.0 MiB
store            3.0 MiB       3.0 MiB
total            9.0 MiB       6.0 MiB
  kernels/6.12-b  3.0 MiB, nothing in the project refers to it
  store/  1, not used for 30 days
";
        assert_eq!(text, expected);
    }

    #[test]
    fn each_area_is_a_part() {
        #[derive(clap::Parser)]
        struct Line {
            #[arg(value_parser = part())]
            parts: Vec<Area>,
        }
        let words = ["clean"].into_iter().chain(Area::ALL.map(Area::folder));
        assert_eq!(<Line as clap::Parser>::parse_from(words).parts, Area::ALL);
        assert!(<Line as clap::Parser>::try_parse_from(["clean", "kernel"]).is_err());
    }
}
