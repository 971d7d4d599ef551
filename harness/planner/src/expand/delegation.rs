//! The mount options that set what a bpffs delegates.

use harness_diagnostics::node::KeyPath;
use harness_protocol::mount_option::{LONGEST_VALUE, MountOption};
use harness_scenario::spec::Delegate;
use harness_uapi::{
    delegation::{AttachMask, CmdMask, MapMask, ProgMask, options_of},
    resolver::NameResolver,
    vocabulary::Kind,
};

use crate::expand::problems::Problems;

/// The options for this `delegate` table, in the order of the kinds, then verbatim ones.
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
            let message = format!("`{}` and `{option}` below `raw` both set one mask", kind.plural());
            problems.advise(&key_path, message, "write all of it below `raw`");
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
            problems.advise(key_path, "`any` holds every other name", "write only `[\"any\"]`");
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

/// The kernel refuses a name it does not know, so there would be no container to attempt anything in.
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
            let message =
                format!("{} does not know the {kind} `{}`, so its bpffs cannot delegate it", target.name, found.name);
            let release = target.release;
            problems.advise(
                key_path,
                message,
                format!("add `kernels = \">{release}\"`, or the first release that knows it"),
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
        problems.advise(key_path, format!("`{key}` is no mount option"), format!("write `delegate_{}`", kind.plural()));
    } else if key.is_empty() || key.contains(['\0', '=', ',']) || key.len() > LONGEST_VALUE {
        problems.problem(key_path, "this cannot be the key of a mount option");
    }
}

/// The host sets these before the container exists, so what the kernel refuses is a fault and never a verdict.
fn check_raw_value(value: &str, key_path: &KeyPath, problems: &mut Problems<'_>) {
    let wrong = match value {
        "" => "the kernel refuses an empty value".to_owned(),
        _ if value.contains('\0') => "a value cannot contain a null character".to_owned(),
        _ if value.len() > LONGEST_VALUE => {
            format!("the kernel refuses a value of more than {LONGEST_VALUE} bytes, and this has {}", value.len())
        }
        _ => return,
    };
    problems.advise(key_path, wrong, "attempt it with `op = \"mount_delegate\"` if that is what the scenario is about");
}
