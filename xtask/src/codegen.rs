//! `cargo xtask codegen`: the table of BPF names that code without a kernel at hand uses.

use std::{fmt::Write as _, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Args as ClapArgs;
use harness_builder::{
    first_releases::{self, FirstRelease},
    vocabularies::Vocabularies,
};
use harness_cli::{Context, exit::Wrong};
use harness_uapi::{
    names::{Name, Names},
    permission::{self, MapClass},
    release::Release,
    vocabulary::Kind,
};

use crate::generated::{Generated, Mode};

/// Write the table of BPF names with numbers and first releases from the kernels' vocabularies
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
`cargo xtask kernel names --write` writes the vocabularies in kernels/vocabulary from the BTF of
kernels. `validate`, `convert` and `caps` look names up in the table; docs/names.md shows it.

Examples:
  cargo xtask codegen
  cargo xtask codegen --check                 as CI does

Exit codes: 0 written or up to date; 1 the table is out of date; 2 a bad vocabulary; 3 a file cannot
be read or written.")]
pub(crate) struct Args {
    /// Write nothing; exit with 1 if a file is out of date
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let project = context.project()?;
    let vocabularies = Vocabularies::read(project).map_err(Wrong::input)?;
    let firsts = first_releases::read(project).map_err(Wrong::input)?;
    let mut names = Names::of(vocabularies.iter());
    first_releases::narrow(&mut names, &firsts).map_err(Wrong::input)?;
    let table = serde_json::to_string_pretty(&names).context("cannot write the table as JSON")? + "\n";
    let releases: Vec<Release> = vocabularies.iter().map(|(release, _)| release).collect();
    let files = [
        Generated { path: project.root().join("harness/uapi/src/names/table.json"), text: table },
        Generated { path: project.root().join("docs/names.md"), text: page(&names, &releases, &firsts) },
    ];
    Mode::of_check(args.check).apply(&files, "cargo xtask codegen")
}

/// Returns docs/names.md.
fn page(names: &Names, releases: &[Release], firsts: &[FirstRelease]) -> String {
    let releases: Vec<String> = releases.iter().map(Release::to_string).collect();
    let mut page = format!(
        "# Names\n\nThe names that the `delegate_*` options accept, and the first release that has each: by the BTF of the \
         kernels {}, and where these leave a gap by the [sources](#sources) below. Written by `cargo xtask codegen`.\n",
        releases.join(", ")
    );
    for kind in Kind::ALL {
        section(&mut page, names, kind);
    }
    page += "\n## Sources\n\n| name | since | source |\n| --- | --- | --- |\n";
    for FirstRelease { kind, name, first, source } in firsts {
        let _ = writeln!(page, "| {kind} `{name}` | {first} | {source} |");
    }
    page
}

fn section(page: &mut String, names: &Names, kind: Kind) {
    let (asks, gap) = match kind {
        Kind::Map => (" | capability |", " --- |"),
        _ => (" |", ""),
    };
    let _ =
        write!(page, "\n## delegate_{}\n\n| number | name | since{asks}\n| ---: | --- | --- |{gap}\n", kind.plural());
    for name in names.list(kind) {
        let _ = writeln!(page, "| {} | {} | {} |{}", name.number, spelled(name), name.first, asked(kind, name));
    }
}

fn spelled(name: &Name) -> String {
    let aliases = name.aliases.iter().map(|alias| format!(", `{alias}`"));
    std::iter::once(format!("`{}`", name.name)).chain(aliases).collect()
}

/// Returns the cell with the capability that a map type needs; other kinds have no such column.
fn asked(kind: Kind, name: &Name) -> &'static str {
    match (kind, permission::class_of_map(&name.name)) {
        (Kind::Map, Some(MapClass::Bpf)) => " CAP_BPF |",
        (Kind::Map, Some(MapClass::NetAdmin)) => " CAP_NET_ADMIN |",
        (Kind::Map, _) => " |",
        _ => "",
    }
}
