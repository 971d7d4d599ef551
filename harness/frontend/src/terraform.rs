//! Terraform and OpenTofu: resources whose `config` has keys of Incus or LXD.

use std::ops::Range;

use harness_diagnostics::report::{Problem, Report};
use hcl_edit::{
    Span,
    expr::{Expression, ObjectKey},
    structure::{Attribute, Body, Structure},
};

use crate::{
    configuration::Configuration,
    entry::{Confidence, Entry, File},
    frontend::Frontend,
    instance::{self, INCUS, Item, LXD},
    names::Names,
    source::{Location, Source, Sources},
    suppression,
    text::Text,
};

/// Terraform: the resources of Incus's and LXD's providers.
pub const TERRAFORM: Frontend = Frontend { name: "terraform", ..INCUS };

pub(crate) const ENTRY: Entry = Entry {
    frontend: TERRAFORM,
    reads: "resources of Incus or LXD for Terraform",
    has_name: |file| matches!(file.suffix(), "tf" | "tofu"),
    has_contents: |file| is_terraform(file).then_some(Confidence::Beginning),
    read,
    write: None,
};

fn is_terraform(file: &File<'_>) -> bool {
    ["resource \"", "provider \"", "terraform {", "variable \"", "module \""]
        .iter()
        .any(|word| file.first_line().starts_with(word))
}

/// The maximum nesting depth.
const MOST_DEPTH: usize = 32;
/// The maximum number of resources in one file.
const MOST_ITEMS: usize = 500;

fn read(_: Frontend, sources: &Sources, names: &Names<'_>) -> Result<Vec<Configuration>, Report> {
    let mut all = Vec::new();
    for (at, source) in sources.iter().enumerate() {
        let text = source.text();
        let refused = |span, message| sources.report(at, vec![Problem::new(span, message)]);
        if let Some(deep) = too_deep(text) {
            return Err(refused(deep..deep, format!("more than {MOST_DEPTH} levels of nesting")));
        }
        let body: Body = text.parse().map_err(|error: hcl_edit::parser::Error| {
            let line =
                text.split_inclusive('\n').take(error.location().line().saturating_sub(1)).map(str::len).sum::<usize>();
            refused(line..line, format!("invalid HCL: {}", error.message()))
        })?;
        let mut reader = Reader { at, source, items: Vec::new() };
        reader.body(&body, None);
        for item in reader.items {
            let keys_of_lxd = item.config.iter().any(|entry| instance::has_keys_of_lxd(&entry.key));
            let mut read = instance::of_item(if keys_of_lxd { LXD } else { INCUS }, &item, source.label(), names);
            suppression::read(at, text, suppression::Comments::Trailing, &mut read);
            all.push(read);
        }
    }
    Ok(all)
}

/// Returns where brackets are nested too deep for the parser, which recurses.
fn too_deep(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    text.bytes().position(|byte| {
        match byte {
            b'{' | b'[' | b'(' => depth += 1,
            b'}' | b']' | b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > MOST_DEPTH
    })
}

struct Reader<'a> {
    at: usize,
    source: &'a Source,
    items: Vec<Item>,
}

impl Reader<'_> {
    /// Reads a block; `name` is that of the block around it.
    fn body(&mut self, body: &Body, name: Option<&str>) {
        let own = body.iter().find_map(|structure| match structure {
            Structure::Attribute(attribute) if attribute.key.as_str() == "name" => attribute.value.as_str(),
            _ => None,
        });
        let name = own.or(name);
        for structure in body {
            match structure {
                Structure::Block(block) => self.body(&block.body, name),
                Structure::Attribute(attribute) => self.attribute(attribute, name),
            }
        }
    }

    fn attribute(&mut self, attribute: &Attribute, name: Option<&str>) {
        let mut item = Item { name: name.map(str::to_owned), ..Item::default() };
        self.object(&attribute.value, &mut item);
        if !item.config.is_empty() && self.items.len() < MOST_ITEMS {
            self.items.push(item);
        }
    }

    /// Reads the keys of an object, also of those in calls such as `merge(…)`.
    fn object(&mut self, expression: &Expression, item: &mut Item) {
        match expression {
            Expression::Object(object) => {
                for (key, value) in object {
                    let (text, key_span) = match key {
                        ObjectKey::Ident(ident) => (ident.as_str().to_owned(), ident.span()),
                        ObjectKey::Expression(key) => (key.as_str().unwrap_or_default().to_owned(), key.span()),
                    };
                    let is_ours =
                        text.starts_with("security.") || text.starts_with("raw.") || text.starts_with("environment.");
                    if let (true, Some(key_span), Some(span)) = (is_ours, key_span, value.expr().span()) {
                        self.entry(text, key_span, span, value.expr(), item);
                    }
                }
            }
            Expression::FuncCall(call) => call.args.iter().for_each(|argument| self.object(argument, item)),
            _ => {}
        }
    }

    fn entry(&self, key: String, key_span: Range<usize>, span: Range<usize>, value: &Expression, item: &mut Item) {
        let text = self.source.text();
        let written = text.get(span.clone()).unwrap_or_default();
        let inner = match written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(_) => span.start + 1..span.end - 1,
            None => span.clone(),
        };
        let (start, end) = (key_span.start.min(inner.start), span.end.max(key_span.end));
        let location = Location { source: self.at, span: start..end };
        let verbatim = |span: Range<usize>| text.get(span.clone()).map(|_| Text::verbatim(self.at, text, span));
        let Some(verbatim) = verbatim(inner.clone()) else { return };
        let value = match value {
            Expression::String(string) if string.as_str() == verbatim.as_str() => verbatim,
            Expression::Bool(_) | Expression::Number(_) => verbatim,
            // A string with escapes, or the text of a heredoc.
            Expression::String(string) => {
                let mut whole = Text::empty(self.at, inner.start);
                whole.push(string.as_str(), inner);
                whole
            }
            _ if key == "raw.lxc" => return,
            // A reference, a call or a template: what it stands for is known only to Terraform.
            _ => {
                let part = |c: &char| c.is_ascii_alphanumeric() || "_.[]()".contains(*c);
                let name: String = verbatim.as_str().chars().filter(part).take(100).collect();
                let mut whole = Text::empty(self.at, inner.start);
                whole.push(&format!("${{{name}}}"), inner);
                whole
            }
        };
        item.config.push(instance::Entry { key, value, location });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{names::SystemdRelease, testing::known};

    fn read_of(text: &str) -> Result<Vec<Configuration>, String> {
        let known = known();
        let sources = Sources::of("main.tf", text.as_bytes()).unwrap();
        read(TERRAFORM, &sources, &Names::new(&known, SystemdRelease::V262)).map_err(|report| report.to_string())
    }

    #[test]
    fn keys_of_a_resource_are_read() {
        let text = "# c\nresource \"incus_instance\" \"x\" {\n  name = \"web\"\n  config = merge(local.a, {\n    \
                    \"security.bpffs.delegate_cmds\" = \"map_create, prog_load\"\n    \
                    \"security.bpffs.delegate_maps\" = join(\",\", var.maps)\n  })\n}\n";
        let read = read_of(text).unwrap().remove(0);
        assert_eq!((read.name.as_str(), read.frontend, read.unknown.len()), ("web", INCUS, 1));
        assert_eq!(read.delegation().unwrap().masks(), [0x21, 0, 0, 0]);
        let elements: Vec<&str> =
            read.delegated[0][0].elements.iter().map(|e| &text[e.location.span.clone()]).collect();
        assert_eq!(elements, ["map_create", "prog_load"]);
        assert_eq!(&text[read.unknown[0].location.span.clone()], "join(\",\", var.maps)");
    }

    #[test]
    fn keys_of_lxd_are_those_of_lxd() {
        let text = "resource \"lxd_instance\" \"x\" {\n  config = {\n    \"security.delegate_bpf\" = true\n    \
                    \"security.delegate_bpf.cmd_types\" = \"any\"\n  }\n}\n";
        let read = read_of(text).unwrap().remove(0);
        assert_eq!((read.frontend, read.bpffs.is_some()), (LXD, true));
        assert_eq!(read_of("resource \"a\" \"b\" {}\n").unwrap(), []);
        assert!(read_of("a = {\n").is_err() && read_of(&"a = [".repeat(100_000)).is_err());
    }
}
