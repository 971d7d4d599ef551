//! The mount options that set what a bpffs delegates.

use harness_diagnostics::node::Place;
use harness_protocol::mount_option::{LONGEST_VALUE, MountOption};
use harness_scenario::spec::Delegate;
use harness_uapi::{
    delegation::{AttachMask, CmdMask, MapMask, ProgMask, options_of},
    resolver::Lexicon,
    vocabulary::Kind,
};

use crate::expand::sink::Sink;

/// The options for this `delegate` table, in the order of the kinds, then verbatim ones.
pub(crate) fn options(
    delegate: &Delegate,
    place: &Place,
    lexicon: &Lexicon<'_>,
    sink: &mut Sink<'_>,
) -> Vec<MountOption> {
    let keys = [
        (Kind::Cmd, &delegate.cmds, CmdMask::OPTION),
        (Kind::Map, &delegate.maps, MapMask::OPTION),
        (Kind::Prog, &delegate.progs, ProgMask::OPTION),
        (Kind::Attach, &delegate.attachs, AttachMask::OPTION),
    ];
    let mut all = Vec::new();
    for (kind, names, option) in keys {
        let place = place.key(kind.plural());
        if !names.is_empty() && delegate.raw.contains_key(option) {
            let message = format!("`{}` and `{option}` below `raw` both set one mask", kind.plural());
            sink.advise(&place, message, "write all of it below `raw`");
        }
        let canonical = canonical_names(kind, names, &place, lexicon, sink);
        all.extend(options_of(option, canonical.iter().map(String::as_str)));
    }
    all.extend(raw_options(delegate, &place.key("raw"), sink));
    all
}

fn canonical_names(
    kind: Kind,
    names: &[String],
    place: &Place,
    lexicon: &Lexicon<'_>,
    sink: &mut Sink<'_>,
) -> Vec<String> {
    if names.iter().any(|name| name.eq_ignore_ascii_case("any")) {
        if names.len() > 1 {
            sink.advise(place, "`any` holds every other name", "write only `[\"any\"]`");
        }
        return vec!["any".to_owned()];
    }
    let mut canonical: Vec<String> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let place = place.index(index);
        let Some(found) = known_name(kind, name, &place, lexicon, sink) else { continue };
        if canonical.contains(&found) {
            sink.problem(&place, format!("`{found}` is delegated twice"));
        } else {
            canonical.push(found);
        }
    }
    canonical
}

/// The kernel refuses a name it does not know, so there would be no container to attempt anything in.
fn known_name(kind: Kind, name: &str, place: &Place, lexicon: &Lexicon<'_>, sink: &mut Sink<'_>) -> Option<String> {
    match (lexicon.find(kind, name), lexicon.target) {
        (Err(unknown), _) => sink.problem(place, unknown.to_string()),
        (Ok(found), Some(target)) if found.missing.is_some() && lexicon.lacks_tokens().is_none() => {
            let message =
                format!("{} does not know the {kind} `{}`, so its bpffs cannot delegate it", target.name, found.name);
            let release = target.release;
            sink.advise(place, message, format!("add `kernels = \">{release}\"`, or the first release that knows it"));
        }
        (Ok(found), _) => return Some(found.name),
    }
    None
}

fn raw_options(delegate: &Delegate, place: &Place, sink: &mut Sink<'_>) -> Vec<MountOption> {
    let mut options = Vec::new();
    for (key, values) in &delegate.raw {
        let place = place.key(key);
        check_raw_key(key, &place, sink);
        for value in &values.0 {
            check_raw_value(value, &place, sink);
            options.push(MountOption { key: key.clone(), value: value.clone() });
        }
    }
    options
}

fn check_raw_key(key: &str, place: &Place, sink: &mut Sink<'_>) {
    let kind = Kind::ALL.into_iter().find(|kind| kind.plural() == key);
    if let Some(kind) = kind {
        sink.advise(place, format!("`{key}` is no mount option"), format!("write `delegate_{}`", kind.plural()));
    } else if key.is_empty() || key.contains(['\0', '=', ',']) || key.len() > LONGEST_VALUE {
        sink.problem(place, "this cannot be the key of a mount option");
    }
}

/// The host sets these before the container exists, so what the kernel refuses is a fault and never a verdict.
fn check_raw_value(value: &str, place: &Place, sink: &mut Sink<'_>) {
    let wrong = match value {
        "" => "the kernel refuses an empty value".to_owned(),
        _ if value.contains('\0') => "a value cannot contain a null character".to_owned(),
        _ if value.len() > LONGEST_VALUE => {
            format!("the kernel refuses a value of more than {LONGEST_VALUE} bytes, and this has {}", value.len())
        }
        _ => return,
    };
    sink.advise(place, wrong, "attempt it with `op = \"mount_delegate\"` if that is what the scenario is about");
}
