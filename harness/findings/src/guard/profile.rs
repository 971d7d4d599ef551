//! The profile of a policy that objects need.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use guard_policy::{Call, Event, Family, Hook, Program, map_bytes, shown_size};
use harness_objects::Object;
use harness_uapi::release::Release;

use super::calls::{KnownFunctions, ObjectCall, calls};

/// What calls ask for together.
#[derive(Default)]
struct Asked {
    cmds: BTreeSet<u32>,
    /// Program types with attach types.
    progs: BTreeMap<u32, BTreeSet<u32>>,
    maps: BTreeSet<u32>,
    helpers: BTreeSet<u32>,
    kfuncs: BTreeSet<String>,
    targets: BTreeSet<String>,
    modules: bool,
    max_insns: u32,
    max_entries: u32,
    max_bytes: u64,
    /// Maps whose size is only known when the object is loaded.
    unknown_sizes: BTreeSet<String>,
}

/// Writes a policy with the profile under which libbpf loads and attaches these objects on kernels of these releases. A
/// rule is there as a comment.
pub fn profile(objects: &[(String, Object)], releases: &[Release]) -> String {
    let mut functions = KnownFunctions::default();
    let mut asked = Asked::default();
    for release in releases {
        for (_, object) in objects {
            for call in calls(object, *release, &mut functions) {
                asked.add(&call, &functions);
            }
        }
    }
    let names: Vec<&str> = objects.iter().map(|(name, _)| name.as_str()).collect();
    written(&asked, &names)
}

impl Asked {
    fn add(&mut self, call: &ObjectCall, functions: &KnownFunctions) {
        let Event { cmd, hook, .. } = &call.event;
        self.cmds.insert(*cmd);
        match hook {
            Hook::ProgLoad(program) => self.program(program, functions),
            Hook::MapCreate { kind, key_size, value_size, max_entries, .. } => {
                self.maps.insert(*kind);
                self.max_entries = self.max_entries.max(*max_entries);
                self.max_bytes = self.max_bytes.max(map_bytes(*kind, *key_size, *value_size, *max_entries));
                self.unknown_sizes.extend(call.has_unknown_size.then(|| call.by.clone()));
            }
            _ => {}
        }
    }

    fn program(&mut self, program: &Program, functions: &KnownFunctions) {
        self.progs.entry(program.kind).or_default().insert(program.attach_type);
        self.max_insns = self.max_insns.max(program.insns);
        if let Some(target) = program.target {
            self.modules |= target.of_module && Some(program.kind) != Family::Prog.number("ext");
            self.targets.extend(functions.name(target.btf_id).filter(|_| !target.of_module).map(str::to_owned));
        }
        for call in &program.calls {
            match call {
                Call::Helper(number) => drop(self.helpers.insert(*number)),
                Call::Kfunc { btf_id, .. } => self.kfuncs.extend(functions.name(*btf_id).map(str::to_owned)),
            }
        }
    }
}

fn written(asked: &Asked, objects: &[&str]) -> String {
    let name = profile_name(objects.first().copied().unwrap_or_default());
    let mut text = String::from("version = 1\n\n");
    let _ = writeln!(text, "# What libbpf asks of the kernel to load and attach these objects, its probes included:");
    for object in objects {
        let _ = writeln!(text, "#     {}", object.escape_debug());
    }
    let _ = writeln!(text, "# Add what their programs in user space ask for themselves, such as \"@map\".");
    let _ = writeln!(text, "[profiles.\"{name}\"]");
    let _ = writeln!(text, "cmds = {}", list(shown(Family::Cmd, &asked.cmds)));
    let _ = writeln!(text, "progs = [\n{}]", progs(&asked.progs));
    maps(&mut text, asked);
    let _ = writeln!(text, "helpers = {}", list(shown(Family::Helper, &asked.helpers)));
    for (key, names) in [("kfuncs", &asked.kfuncs), ("targets", &asked.targets)] {
        if !names.is_empty() {
            let _ = writeln!(text, "{key} = {}", list(names.iter().cloned()));
        }
    }
    let _ = writeln!(text, "max_insns = {}", asked.max_insns);
    if asked.modules {
        let _ = writeln!(text, "# A target is in a module.\nmodules = true");
    }
    let _ = write!(text, "\n# [[rule]]\n# uid = \"1000\"\n# profile = \"{name}\"\n");
    text
}

/// Attach types of `struct_ops` programs are the numbers of members, which differ between kernels.
fn progs(types: &BTreeMap<u32, BTreeSet<u32>>) -> String {
    let attach_name = |number: u32| match number {
        0 => "none".to_owned(),
        number => Family::Attach.shown(number),
    };
    let is_named = |attach: &BTreeSet<u32>| {
        attach.iter().all(|number| Family::Attach.number(&attach_name(*number)).is_some() || *number == 0)
    };
    let line = |(kind, attach): (&u32, &BTreeSet<u32>)| {
        let kind = Family::Prog.shown(*kind);
        match kind != "struct_ops" && is_named(attach) {
            true => {
                let attach = list(attach.iter().map(|number| attach_name(*number)));
                format!("    {{ type = \"{kind}\", attach = {attach} }},\n")
            }
            false => format!("    \"{kind}\",\n"),
        }
    };
    types.iter().map(line).collect()
}

fn maps(text: &mut String, asked: &Asked) {
    if asked.maps.is_empty() {
        return;
    }
    let types = list(shown(Family::Map, &asked.maps));
    if asked.unknown_sizes.is_empty() {
        let (entries, bytes) = (asked.max_entries, shown_size(asked.max_bytes));
        let _ = writeln!(text, "maps = {{ types = {types}, max_entries = {entries}, max_bytes = \"{bytes}\" }}");
        return;
    }
    let owners: Vec<String> = asked.unknown_sizes.iter().map(|owner| owner.escape_debug().to_string()).collect();
    let _ = writeln!(
        text,
        "# Without limits: these have a size that is only known when they are made: {}.",
        owners.join(", ")
    );
    let _ = writeln!(text, "maps = {{ types = {types} }}");
}

fn shown(family: Family, numbers: &BTreeSet<u32>) -> impl Iterator<Item = String> {
    numbers.iter().map(move |number| family.shown(*number))
}

fn list(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.map(|name| format!("\"{name}\"")).collect();
    let inline = format!("[{}]", names.join(", "));
    if inline.len() <= 100 {
        return inline;
    }
    let mut text = String::from("[\n");
    let mut line = String::new();
    for name in names {
        if line.len() + name.len() > 110 {
            let _ = writeln!(text, "    {}", line.trim_end());
            line.clear();
        }
        let _ = write!(line, "{name}, ");
    }
    let _ = writeln!(text, "    {}", line.trim_end());
    text + "]"
}

/// A name for the profile of this object: that of its file, without folders and suffixes.
fn profile_name(object: &str) -> String {
    let file = object.rsplit('/').next().unwrap_or_default();
    let stem = file.split(['.', ':']).next().unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let plain: String = stem.chars().map(|c| if is_plain(c) { c } else { '-' }).take(64).collect();
    if plain.is_empty() { "object".to_owned() } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_named_after_its_object() {
        let names = ["my.bpf.o", "/usr/lib/x/on exec.o", "", "/usr/sbin/xdp-loader:xdp.o"].map(profile_name);
        assert_eq!(names, ["my", "on-exec", "object", "xdp-loader"]);
    }
}
