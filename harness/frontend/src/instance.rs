//! Instances and profiles of Incus and LXD, in the YAML of their `config show` and `profile show`, in a preseed or a backup, and
//! in the commands that set their keys.
//!
//! Incus mounts a bpffs at `security.bpffs.path` if any of the four options is set (`doc/reference/bpf_tokens.md`,
//! `cmd/incusd/main_forkbpf.go`); LXD at `/sys/fs/bpf` if `security.delegate_bpf` is true
//! (`lxd/instance/drivers/driver_lxc.go`, `onStartHost`). Neither checks the values: if the kernel refuses one, the container
//! does not start. Both are for unprivileged containers.

mod command;
mod keys;
mod walk;

use harness_uapi::{delegation::Delegation, vocabulary::Kind};

use crate::{
    configuration::{Configuration, MOUNT_POINT},
    entry::Write,
    frontend::{ConfiguredObject, Frontend, OptionDelivery, Spelling},
    names::Names,
    shell::quoted,
    write::{ConversionInput, ConversionLoss, elsewhere, value},
};
pub(crate) use command::Commands;
use keys::{Dialect, INCUS_KEYS, LXD_KEYS};
pub(crate) use walk::{Contents, Entry, Item, contents};

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

/// Reads an instance or profile as its program does. `label` is the name of the file, for one without a name.
pub(crate) fn of_item(frontend: Frontend, item: &Item, label: &str, names: &Names<'_>) -> Configuration {
    keys::configuration(frontend, if frontend == LXD { &LXD_KEYS } else { &INCUS_KEYS }, item, label, names)
}

/// Returns whose keys an item has: Incus's, if it has any, unless LXD is expected and has some.
pub(crate) fn program_of(item: &Item, expected: Frontend) -> Frontend {
    let has = |dialect: &Dialect| item.config.iter().any(|entry| entry.key.starts_with(dialect.prefix));
    if expected == LXD && !has(&LXD_KEYS) && has(&INCUS_KEYS) { INCUS } else { expected }
}

/// Whether a text has a key of LXD that delegates.
pub(crate) fn has_keys_of_lxd(text: &str) -> bool {
    text.contains(LXD_KEYS.prefix)
}

/// Whether a text has a key of Incus that delegates.
pub(crate) fn has_keys_of_incus(text: &str) -> bool {
    text.contains(INCUS_KEYS.prefix)
}

/// Writes for Incus.
pub(crate) const WRITE_INCUS: (&str, Write) = ("`incus config set`", incus);
/// Writes for LXD.
pub(crate) const WRITE_LXD: (&str, Write) = ("`lxc config set`", lxd);

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
