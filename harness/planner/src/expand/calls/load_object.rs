//! Expands attempts that load an object file.

use harness_diagnostics::node::KeyPath;
use harness_protocol::plan::{Actor, AttachTargetTiming, BpffsLocation, Call, ObjectLoad, Replaced, TokenPath};
use harness_scenario::attempt::Object;

use crate::expand::{
    context::{AttemptContext, ExpandContext, ExpandedCall},
    label::AttemptLabel,
};

/// The suffix of a prebuilt object file.
const PREBUILT: &str = ".bpf.o";

impl ExpandContext<'_, '_> {
    /// Expands how an object is loaded.
    pub(super) fn load_object(&mut self, op: &Object, current: &AttemptContext) -> Option<ExpandedCall> {
        let key_path = &current.key_path;
        let file = self.object_file(&op.file, &key_path.key("file"));
        let replaces = match &op.replaces {
            None => None,
            Some(replaces) => {
                let key_path = key_path.key("replaces");
                let file = self.object_file(&replaces.file, &key_path.key("file"))?;
                let function = self.function(&replaces.function, &key_path.key("function"))?;
                Some(Replaced { file, function, timing: replaces.timing })
            }
        };
        let names = op.kallsyms.iter().enumerate();
        let kallsyms = names.map(|(index, name)| self.function(name, &key_path.key("kallsyms").index(index)));
        let kallsyms: Vec<String> = kallsyms.collect::<Option<_>>()?;
        self.refuse_bpffs_of_host(op, current)?;
        self.refuse_moved_bpffs_of_unit(op, current)?;
        let load = ObjectLoad {
            file: file?,
            token_path: op.token_path,
            environment: op.environment,
            bpffs: op.bpffs,
            replaces,
            kallsyms,
            sizes: Vec::new(),
            attach: op.attach,
            unexplained: false,
        };
        Some(ExpandedCall { label: label(&load), call: Call::Object(load), missing: None, result: None })
    }

    pub(super) fn object_file(&mut self, file: &str, key_path: &KeyPath) -> Option<String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let part = |part: &str| !part.is_empty() && part != "." && part != ".." && part.chars().all(plain);
        let prebuilt = file.ends_with(PREBUILT);
        let good =
            (1..=100).contains(&file.len()) && file.split('/').all(part) && (prebuilt || !file.contains(['/', '.']));
        if good {
            return Some(file.to_owned());
        }
        let help = "write NAME for scenarios/objects/src/NAME.bpf.c, or the path of a `.bpf.o` file below the scenario's folder";
        self.problems.advise(key_path, format!("`{}` is not the name of an object", file.escape_debug()), help);
        None
    }

    fn function(&mut self, name: &str, key_path: &KeyPath) -> Option<String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if (1..=128).contains(&name.len()) && name.chars().all(plain) {
            return Some(name.to_owned());
        }
        let message = format!("`{}` is not a valid function name", name.escape_debug());
        self.problems.advise(key_path, message, "use letters, digits and `_`");
        None
    }

    /// Rejects keys about a bpffs for `host`: root loads without a token.
    fn refuse_bpffs_of_host(&mut self, op: &Object, current: &AttemptContext) -> Option<()> {
        let asks = op.token_path.is_some() || op.environment.is_some() || op.bpffs != BpffsLocation::default();
        if asks && current.complete && current.actor == Some(Actor::Host) {
            let message = "`host` loads objects without a token: `token_path`, `environment` and `bpffs` do not apply";
            self.problems.problem(&current.key_path, message);
            return None;
        }
        Some(())
    }

    /// Rejects another location of a unit's bpffs: systemd mounts it.
    fn refuse_moved_bpffs_of_unit(&mut self, op: &Object, current: &AttemptContext) -> Option<()> {
        let in_unit = current.actor.as_ref().is_some_and(|actor| self.containers.is_unit(actor));
        if in_unit && op.bpffs != BpffsLocation::Usual {
            let advice = "leave `bpffs` out, or load the object in a container of `kind = \"namespaces\"`";
            let key_path = current.key_path.key("bpffs");
            self.problems.advise(&key_path, "a unit's bpffs stays at /sys/fs/bpf, where systemd mounts it", advice);
            return None;
        }
        Some(())
    }
}

fn label(load: &ObjectLoad) -> AttemptLabel {
    let path = |path: TokenPath| match path {
        TokenPath::Bpffs => "bpffs",
        TokenPath::Empty => "empty",
    };
    let key_path = match load.bpffs {
        BpffsLocation::Usual => None,
        BpffsLocation::Elsewhere => Some("elsewhere"),
        BpffsLocation::Detached => Some("detached"),
    };
    let label = AttemptLabel::new("object")
        .word(&load.file)
        .given("token_path", load.token_path.map(path))
        .given("environment", load.environment.map(path))
        .given("bpffs", key_path);
    let label = match &load.replaces {
        None => label,
        Some(Replaced { file, function, timing }) => {
            let timing = if *timing == AttachTargetTiming::Opened { ", told before prepare" } else { "" };
            label.word(&format!("replaces {file}:{function}{timing}"))
        }
    };
    let kallsyms = (!load.kallsyms.is_empty()).then(|| load.kallsyms.join(","));
    let label = label.given("kallsyms", kallsyms);
    if load.attach { label.word("attached") } else { label }
}
