//! Expands a delegation to the mount options that set it.

use harness_diagnostics::node::KeyPath;
use harness_protocol::mount_option::{LONGEST_VALUE, MountOption};
use harness_scenario::spec::Delegate;
use harness_uapi::{
    delegation::{AttachMask, CmdMask, MapMask, ProgMask, options_of},
    resolver::NameResolver,
    vocabulary::Kind,
};

use crate::expand::problems::Problems;

/// Returns the options for this `delegate` table, in the order of the kinds, and then those of `raw`.
pub(crate) fn options(
    delegate: &Delegate,
    key_path: &KeyPath,
    resolver: &NameResolver<'_>,
    problems: &mut Problems<'_>,
) -> Vec<MountOption> {
    let keys = [
        (Kind::Cmd, &delegate.cmds, CmdMask::OPTION),
        (Kind::Map, &delegate.maps, MapMask::OPTION),
        (Kind::Prog, &delegate.progs, ProgMask::OPTION),
        (Kind::Attach, &delegate.attachs, AttachMask::OPTION),
    ];
    let mut all = Vec::new();
    for (kind, names, option) in keys {
        let key_path = key_path.key(kind.plural());
        if !names.is_empty() && delegate.raw.contains_key(option) {
            let message = format!("`{}` and `raw.{option}` set the same mask", kind.plural());
            problems.advise(&key_path, message, "write everything in `raw`");
        }
        let canonical = canonical_names(kind, names, &key_path, resolver, problems);
        all.extend(options_of(option, canonical.iter().map(String::as_str)));
    }
    all.extend(raw_options(delegate, &key_path.key("raw"), problems));
    all
}

fn canonical_names(
    kind: Kind,
    names: &[String],
    key_path: &KeyPath,
    resolver: &NameResolver<'_>,
    problems: &mut Problems<'_>,
) -> Vec<String> {
    if names.iter().any(|name| name.eq_ignore_ascii_case("any")) {
        if names.len() > 1 {
            problems.advise(key_path, "`any` includes every other name", "write only `[\"any\"]`");
        }
        return vec!["any".to_owned()];
    }
    let mut canonical: Vec<String> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let key_path = key_path.index(index);
        let Some(found) = known_name(kind, name, &key_path, resolver, problems) else { continue };
        if canonical.contains(&found) {
            problems.problem(&key_path, format!("`{found}` is delegated twice"));
        } else {
            canonical.push(found);
        }
    }
    canonical
}

/// Resolves a name. A kernel without that name would refuse the mount option, so no container could be set up.
fn known_name(
    kind: Kind,
    name: &str,
    key_path: &KeyPath,
    resolver: &NameResolver<'_>,
    problems: &mut Problems<'_>,
) -> Option<String> {
    match (resolver.find(kind, name), resolver.target) {
        (Err(unknown), _) => problems.problem(key_path, unknown.to_string()),
        (Ok(found), Some(target)) if found.missing.is_some() && resolver.lacks_tokens().is_none() => {
            let message = format!("{} has no {kind} `{}`, so its bpffs cannot delegate it", target.name, found.name);
            let release = target.release;
            problems.advise(
                key_path,
                message,
                format!("add `kernels = \">{release}\"`, or the first release that has it"),
            );
        }
        (Ok(found), _) => return Some(found.name),
    }
    None
}

fn raw_options(delegate: &Delegate, key_path: &KeyPath, problems: &mut Problems<'_>) -> Vec<MountOption> {
    let mut options = Vec::new();
    for (key, values) in &delegate.raw {
        let key_path = key_path.key(key);
        check_raw_key(key, &key_path, problems);
        for value in &values.0 {
            check_raw_value(value, &key_path, problems);
            options.push(MountOption { key: key.clone(), value: value.clone() });
        }
    }
    options
}

fn check_raw_key(key: &str, key_path: &KeyPath, problems: &mut Problems<'_>) {
    let kind = Kind::ALL.into_iter().find(|kind| kind.plural() == key);
    if let Some(kind) = kind {
        problems.advise(
            key_path,
            format!("`{key}` is not a mount option"),
            format!("write `delegate_{}`", kind.plural()),
        );
    } else if key.is_empty() || key.contains(['\0', '=', ',']) || key.len() > LONGEST_VALUE {
        problems.problem(key_path, format!("`{}` is not a valid key of a mount option", key.escape_debug()));
    }
}

/// Rejects what the kernel refuses: the host sets these options during setup, so an error would be a fault, not a
/// verdict.
fn check_raw_value(value: &str, key_path: &KeyPath, problems: &mut Problems<'_>) {
    let wrong = match value {
        "" => "the kernel refuses an empty value".to_owned(),
        _ if value.contains('\0') => "a value cannot contain a null character".to_owned(),
        _ if value.len() > LONGEST_VALUE => {
            format!("this value has {} bytes, and the kernel refuses more than {LONGEST_VALUE}", value.len())
        }
        _ => return,
    };
    problems.advise(key_path, wrong, "to test this, use `op = \"mount_delegate\"`");
}
