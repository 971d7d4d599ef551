//! Instances and profiles of Incus and LXD, in the YAML of their `config show` and `profile show`, or in a preseed.
//!
//! Incus mounts a bpffs at `security.bpffs.path` if any of the four options is set (`doc/reference/bpf_tokens.md`,
//! `cmd/incusd/main_forkbpf.go`); LXD at `/sys/fs/bpf` if `security.delegate_bpf` is true
//! (`lxd/instance/drivers/driver_lxc.go`, `onStartHost`). Neither checks the values: if the kernel refuses one, the container
//! does not start. Both are for unprivileged containers.

mod keys;
mod walk;

use harness_diagnostics::report::{Problem, Report};
use harness_uapi::{delegation::Delegation, vocabulary::Kind};

use crate::{
    configuration::{Configuration, MOUNT_POINT},
    entry::{Confidence, Entry, File},
    frontend::{ConfiguredObject, Frontend, OptionDelivery, Spelling},
    names::Names,
    shell::quoted,
    source::Sources,
    suppression,
    write::{ConversionInput, ConversionLoss, elsewhere, value},
};
use keys::{Dialect, INCUS_KEYS, LXD_KEYS};

/// Incus: the YAML of an instance or profile. It splits values at commas, drops whitespace and empty elements, joins the rest
/// with colons, and sets no option without elements (`cmd/incusd/main_forkbpf.go`).
pub const INCUS: Frontend = Frontend {
    name: "incus",
    makes: ConfiguredObject::Container,
    spelling: Spelling::Kernel,
    separator: ",",
    delivery: OptionDelivery::Values(None),
    ask_for_bpffs: "set `security.bpffs.path`",
    ask_for_namespace: "set `security.privileged` to `false`",
};

/// LXD: the YAML of an instance or profile. It passes values unchanged, and `0` for missing ones
/// (`lxd/instance/drivers/driver_lxc.go`, `onStartHostBPFDelegate`).
pub const LXD: Frontend = Frontend {
    name: "lxd",
    separator: ":",
    delivery: OptionDelivery::Values(Some("0")),
    ask_for_bpffs: "set `security.delegate_bpf` to `true`",
    ..INCUS
};

pub(crate) const ENTRY_OF_INCUS: Entry = Entry {
    frontend: INCUS,
    reads: "the YAML of an instance or a profile of Incus",
    has_name: |file| is_yaml(file) && !file.text.contains(LXD_KEYS.prefix),
    has_contents: |file| match file.text.contains(INCUS_KEYS.prefix) {
        true => Some(Confidence::Word),
        false => file.lines().any(|line| line.starts_with("config:")).then_some(Confidence::Line),
    },
    read: |frontend, sources, names| read(frontend, &INCUS_KEYS, sources, names),
    write: Some(("`incus config set`", incus)),
};

pub(crate) const ENTRY_OF_LXD: Entry = Entry {
    frontend: LXD,
    reads: "the YAML of an instance or a profile of LXD",
    has_name: |file| is_yaml(file) && file.text.contains(LXD_KEYS.prefix),
    has_contents: |file| file.text.contains(LXD_KEYS.prefix).then_some(Confidence::Word),
    read: |frontend, sources, names| read(frontend, &LXD_KEYS, sources, names),
    write: Some(("`lxc config set`", lxd)),
};

fn is_yaml(file: &File<'_>) -> bool {
    matches!(file.suffix(), "yaml" | "yml")
}

/// Reads all instances and profiles in these files.
fn read(
    frontend: Frontend,
    dialect: &Dialect,
    sources: &Sources,
    names: &Names<'_>,
) -> Result<Vec<Configuration>, Report> {
    let mut all = Vec::new();
    for (at, source) in sources.iter().enumerate() {
        let items = walk::items(at, source.text()).map_err(|broken| {
            sources.report(at, vec![Problem::new(broken.span, format!("invalid YAML: {}", broken.why))])
        })?;
        for item in items {
            let mut configuration = keys::configuration(frontend, dialect, &item, source.label(), names);
            suppression::read(at, source.text(), suppression::Comments::Trailing, &mut configuration);
            all.push(configuration);
        }
    }
    Ok(all)
}

fn incus(wanted: &ConversionInput<'_>, names: &Names<'_>) -> (String, Vec<ConversionLoss>) {
    let mut settings = Vec::new();
    if !matches!(wanted.path, MOUNT_POINT | "") {
        settings.push(format!("{}={}", INCUS_KEYS.bpffs, wanted.path));
    }
    settings.extend(pairs(INCUS, &INCUS_KEYS, wanted, names));
    let nothing = wanted.delegation == Delegation::default();
    let lost = nothing.then(|| ConversionLoss("the bpffs: Incus mounts one only if something is delegated".to_owned()));
    (command("incus", wanted.name, &settings), lost.into_iter().collect())
}

fn lxd(wanted: &ConversionInput<'_>, names: &Names<'_>) -> (String, Vec<ConversionLoss>) {
    let mut settings = vec![format!("{}=true", LXD_KEYS.bpffs)];
    settings.extend(pairs(LXD, &LXD_KEYS, wanted, names));
    (command("lxc", wanted.name, &settings), elsewhere(wanted, "LXD"))
}

fn pairs(frontend: Frontend, dialect: &Dialect, wanted: &ConversionInput<'_>, names: &Names<'_>) -> Vec<String> {
    let each = Kind::ALL.into_iter().zip(wanted.delegation.masks());
    let separator = frontend.separator;
    let pair = |(kind, mask)| Some(format!("{}={}", dialect.option(kind), value(kind, mask, separator, names)?));
    each.filter_map(pair).collect()
}

fn command(program: &str, name: &str, settings: &[String]) -> String {
    if settings.is_empty() {
        return String::new();
    }
    let name = if name.is_empty() { "INSTANCE" } else { name };
    let words = settings.iter().map(|setting| quoted(setting)).collect::<Vec<_>>().join(" \\\n    ");
    format!("{program} config set {} \\\n    {words}\n", quoted(name))
}

#[cfg(test)]
mod tests;
