//! What calls ask for together, and the profile of a policy's file that allows it and no more.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use crate::{
    decision::{Call, EXT, Event, Hook, Program, Target, map_bytes},
    group,
    name::Family,
    quantity::shown_size,
};

/// What calls ask for together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Commands.
    pub cmds: BTreeSet<u32>,
    /// Program types with attach types.
    pub progs: BTreeMap<u32, BTreeSet<u32>>,
    /// Map types.
    pub maps: BTreeSet<u32>,
    /// The most entries of a map.
    pub max_entries: u32,
    /// The most bytes of a map.
    pub max_bytes: u64,
    /// Maps whose size is only known when they are made: there is no limit then.
    pub unknown_sizes: BTreeSet<String>,
    /// Helpers.
    pub helpers: BTreeSet<u32>,
    /// Kfuncs, as the BTF of the kernel names them.
    pub kfuncs: BTreeSet<String>,
    /// Targets, as the BTF of the kernel names them.
    pub targets: BTreeSet<String>,
    /// Whether kfuncs or targets are in modules.
    pub modules: bool,
    /// The most instructions of a program.
    pub max_insns: u32,
    /// How many programs and maps there are, and how many of them come with a token.
    pub tokens: (u64, u64),
    /// Capabilities that tokens stand for; `None` if nothing is known about them.
    pub token_caps: Option<BTreeSet<u32>>,
}

impl Asked {
    /// Adds what an event asks for. `name` returns the name of an id in the kernel's own BTF; what has none is left out.
    pub fn add(&mut self, event: &Event, name: impl Fn(u32) -> Option<String>) {
        self.cmds.insert(event.cmd);
        match &event.hook {
            Hook::ProgLoad(program) => self.program(program, name),
            Hook::MapCreate { kind, key_size, value_size, max_entries, has_token } => {
                self.maps.insert(*kind);
                self.max_entries = self.max_entries.max(*max_entries);
                self.max_bytes = self.max_bytes.max(map_bytes(*kind, *key_size, *value_size, *max_entries));
                self.token(*has_token);
            }
            Hook::TokenCmd { cmd } => drop(self.cmds.insert(*cmd)),
            Hook::TokenCapable { cap } => drop(self.token_caps.get_or_insert_default().insert(*cap)),
            Hook::Bpf | Hook::Prog { .. } | Hook::Map | Hook::TokenCreate => {}
        }
    }

    fn program(&mut self, program: &Program, name: impl Fn(u32) -> Option<String>) {
        self.progs.entry(program.kind).or_default().insert(program.attach_type);
        self.max_insns = self.max_insns.max(program.insns);
        self.token(program.has_token);
        match program.target {
            Some(Target { of_module: true, .. }) => self.modules |= program.kind != EXT,
            Some(Target { btf_id, of_module: false }) => self.targets.extend(name(btf_id)),
            None => {}
        }
        for call in &program.calls {
            match *call {
                Call::Helper(number) => drop(self.helpers.insert(number)),
                Call::Kfunc { of_module: true, .. } => self.modules = true,
                Call::Kfunc { btf_id, of_module: false } => self.kfuncs.extend(name(btf_id)),
            }
        }
    }

    fn token(&mut self, has_token: bool) {
        self.tokens.0 += 1;
        self.tokens.1 += u64::from(has_token);
    }

    /// Writes the profile of this name that allows all of it, as TOML. A program or map needs a token if all came with one.
    pub fn to_toml(&self, profile: &str) -> String {
        let mut text = format!("[profiles.\"{profile}\"]\n");
        let _ = writeln!(text, "cmds = {}", list(commands(&self.cmds)));
        if !self.progs.is_empty() {
            let _ = writeln!(text, "progs = [\n{}]", programs(&self.progs));
        }
        self.write_maps(&mut text);
        if !self.progs.is_empty() {
            let _ = writeln!(text, "helpers = {}", list(shown(Family::Helper, &self.helpers)));
        }
        for (key, names) in [("kfuncs", &self.kfuncs), ("targets", &self.targets)] {
            if !names.is_empty() {
                let _ = writeln!(text, "{key} = {}", list(names.iter().cloned()));
            }
        }
        if !self.progs.is_empty() {
            let _ = writeln!(text, "max_insns = {}", self.max_insns);
        }
        if self.modules {
            let _ = writeln!(text, "# A target or a kfunc is in a module.\nmodules = true");
        }
        if matches!(self.tokens, (all @ 1.., with) if with == all) {
            let _ = writeln!(text, "token = \"required\"");
        }
        if let Some(caps) = &self.token_caps {
            let _ = writeln!(text, "token_caps = {}", list(shown(Family::Capability, caps)));
        }
        text
    }

    fn write_maps(&self, text: &mut String) {
        if self.maps.is_empty() {
            return;
        }
        let types = list(shown(Family::Map, &self.maps));
        if self.unknown_sizes.is_empty() {
            let (entries, bytes) = (self.max_entries, shown_size(self.max_bytes));
            let _ = writeln!(text, "maps = {{ types = {types}, max_entries = {entries}, max_bytes = \"{bytes}\" }}");
            return;
        }
        let owners: Vec<String> = self.unknown_sizes.iter().map(|owner| owner.escape_debug().to_string()).collect();
        let owners = owners.join(", ");
        let _ = writeln!(text, "# Without limits: these have a size that is only known when they are made: {owners}.");
        let _ = writeln!(text, "maps = {{ types = {types} }}");
    }
}

/// Commands by name, those of a whole group `@read` by that.
fn commands(numbers: &BTreeSet<u32>) -> impl Iterator<Item = String> {
    let read: BTreeSet<u32> = group::find(Family::Cmd, "@read").into_iter().flat_map(group::Group::numbers).collect();
    let is_whole = numbers.is_superset(&read);
    let single = numbers.iter().filter(move |number| !is_whole || !read.contains(number));
    single.map(|number| Family::Cmd.shown(*number)).chain(is_whole.then(|| "@read".to_owned()))
}

/// Attach types of `struct_ops` programs are the numbers of members, which differ between kernels.
fn programs(types: &BTreeMap<u32, BTreeSet<u32>>) -> String {
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
