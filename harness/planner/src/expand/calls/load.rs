//! Expands attempts that create maps or load programs.

use harness_diagnostics::node::KeyPath;
use harness_protocol::{
    blob,
    plan::{Body, Call, MapTypes, ProgTarget, ProgTypes, Signature},
};
use harness_scenario::{
    attempt::{self, MapCreate, ProgLoad},
    choice::Flag,
};
use harness_uapi::{resolver::ResolvedName, vocabulary::Kind};
use sha2::{Digest as _, Sha256};

use super::first_missing;
use crate::{
    expand::{
        context::{AttemptContext, ExpandContext, ExpandedCall, made},
        label::AttemptLabel,
        objects::{MapShape, Object},
        values,
    },
    recipe::{self, MapArguments, ProgArguments},
};

impl ExpandContext<'_, '_> {
    pub(super) fn flags(
        &mut self,
        written: Option<&[Flag]>,
        usual: &[&str],
        table: &[(&str, u32)],
        current: &AttemptContext,
    ) -> u32 {
        match written {
            Some(written) => values::flags(written, table, &current.key_path.key("flags"), self.problems),
            None => recipe::bits(table, usual),
        }
    }

    pub(super) fn map_create(&mut self, op: &MapCreate, current: &AttemptContext) -> Option<ExpandedCall> {
        let found = self.name(Kind::Map, &op.map_type, &current.key_path.key("type"))?;
        let usual = recipe::map_arguments(&found.name).unwrap_or(MapArguments::PLAIN);
        let inner_map = self.inner_map(op, &found.name, current)?;
        let types = self.map_types(op, &found.name, &usual, current)?;
        let shape = MapShape {
            type_name: found.name.clone(),
            key_size: op.key_size.unwrap_or(usual.key_size),
            value_size: op.value_size.unwrap_or(usual.value_size),
        };
        let label = AttemptLabel::new("map_create")
            .word(&found.name)
            .given("key_size", op.key_size)
            .given("value_size", op.value_size)
            .given("max_entries", op.max_entries)
            .given("flags", values::shown_flags(op.flags.as_deref()))
            .given("inner_map", op.inner_map.as_ref())
            .given("btf", op.btf.as_ref())
            .given("structure", op.structure.as_ref())
            .given("map_extra", op.map_extra)
            .given("exclusive", op.exclusive.as_ref().map(|lines| lines.concat().replace(' ', "")));
        let exclusive = match &op.exclusive {
            None => None,
            Some(lines) => Some(self.bytes_of(lines, &current.key_path.key("exclusive"))?),
        };
        let call = Call::MapCreate {
            map_type: found.number,
            key_size: shape.key_size,
            value_size: shape.value_size,
            max_entries: op.max_entries.unwrap_or(usual.max_entries),
            map_flags: self.flags(op.flags.as_deref(), usual.flags, &recipe::MAP_FLAGS, current),
            inner_map,
            map_extra: op.map_extra.unwrap_or(0).into(),
            types,
            exclusive: exclusive.map(|bytes| Sha256::digest(bytes).into()),
        };
        let missing = found.missing.clone();
        Some(ExpandedCall { missing, result: Some(Object::Map(shape)), ..made(label, call) })
    }

    #[expect(clippy::option_option, reason = "the outer one is a reported error, the inner one an absent key")]
    fn inner_map(&mut self, op: &MapCreate, type_name: &str, current: &AttemptContext) -> Option<Option<String>> {
        let key_path = current.key_path.key("inner_map");
        match (&op.inner_map, recipe::holds_maps(type_name)) {
            (None, false) => Some(None),
            (Some(_), false) => {
                self.problems.problem(
                    &key_path,
                    format!("a map of type `{type_name}` holds no maps, so `inner_map` does not apply"),
                );
                None
            }
            (None, true) => {
                let message = format!("a map of type `{type_name}` needs an inner map as its template");
                self.problems.advise(&key_path, message, "write `inner_map = \"NAME\"`, the name of a saved map");
                None
            }
            (Some(name), true) => self.map(name, &key_path).map(|_| Some(name.clone())),
        }
    }

    fn map_types(
        &mut self,
        op: &MapCreate,
        type_name: &str,
        usual: &MapArguments,
        current: &AttemptContext,
    ) -> Option<MapTypes> {
        let Some(btf) = &op.btf else {
            if recipe::needs_types(type_name) {
                let message = format!("a map of type `{type_name}` needs BTF");
                self.problems.advise(&current.key_path.key("btf"), message, SAVED_BTF);
                return None;
            }
            return Some(MapTypes::None);
        };
        self.btf(btf, current)?;
        let number = |written: Option<u32>| written.unwrap_or(blob::INTEGER);
        Some(match op.structure.as_deref().or(usual.structure) {
            Some(structure) => MapTypes::KernelStruct { structure: structure.to_owned(), btf: btf.clone() },
            None => MapTypes::Saved { btf: btf.clone(), key: number(op.btf_key), value: number(op.btf_value) },
        })
    }

    fn btf(&mut self, name: &str, current: &AttemptContext) -> Option<()> {
        let is_btf = |object: &Object| matches!(object, Object::Btf).then_some(());
        self.objects.find(name, "BTF", is_btf, &current.key_path.key("btf"), self.problems)
    }

    pub(super) fn prog_load(&mut self, op: &ProgLoad, current: &AttemptContext) -> Option<ExpandedCall> {
        let found = self.name(Kind::Prog, &op.prog_type, &current.key_path.key("type"))?;
        let usual = recipe::prog_arguments(&found.name).unwrap_or(ProgArguments::PLAIN);
        let attach = match op.attach.as_deref().or(usual.attach) {
            Some(name) => Some(self.name(Kind::Attach, name, &current.key_path.key("attach"))?),
            None => None,
        };
        let attach_name = attach.as_ref().map(|attach| attach.name.as_str());
        let target = self.prog_target(op, &found.name, attach_name, current)?;
        let call = Call::ProgLoad {
            prog_type: found.number,
            expected_attach_type: attach.as_ref().map_or(0, |attach| attach.number),
            prog_flags: self.flags(op.flags.as_deref(), usual.flags, &recipe::PROG_FLAGS, current),
            body: self.body(op, attach_name, current)?,
            license: op.license.clone().unwrap_or_else(|| "GPL".to_owned()),
            target,
            types: self.prog_types(op, &found.name, current)?,
            maps: self.prog_maps(op, current)?,
            signature: self.signature(op, current)?,
        };
        let label = prog_label(op, &found, attach.as_ref());
        let names: Vec<&ResolvedName> = std::iter::once(&found).chain(&attach).collect();
        let missing = first_missing(&names);
        let link_attach = link_attach(&found.name, &usual, attach);
        Some(ExpandedCall { missing, result: Some(Object::Prog { link_attach }), ..made(label, call) })
    }

    fn body(&mut self, op: &ProgLoad, attach: Option<&str>, current: &AttemptContext) -> Option<Body> {
        let body = self.unpadded(op, attach, current)?;
        let Some(length) = op.length else { return Some(body) };
        let key_path = current.key_path.key("length");
        let Body::Instructions(instructions) = body else {
            self.problems.problem(&key_path, "`length` needs `instructions`, which end the program");
            return None;
        };
        if !op.functions.is_empty() {
            self.problems
                .problem(&key_path, "`length` cannot be combined with `functions`, whose indices it would move");
            return None;
        }
        if (length as usize) < instructions.len() {
            self.problems.problem(&key_path, format!("the program has {} instructions already", instructions.len()));
            return None;
        }
        Some(Body::Padded { length, instructions })
    }

    fn unpadded(&mut self, op: &ProgLoad, attach: Option<&str>, current: &AttemptContext) -> Option<Body> {
        let Some(written) = &op.instructions else {
            return Some(Body::Returns(op.returns.unwrap_or_else(|| recipe::returns(attach))));
        };
        let key_path = current.key_path.key("instructions");
        if op.returns.is_some() {
            self.problems.problem(&key_path, "`returns` cannot be combined with `instructions`");
            return None;
        }
        values::instructions(written, &key_path, self.problems).map(Body::Instructions)
    }

    fn prog_target(
        &mut self,
        op: &ProgLoad,
        type_name: &str,
        attach: Option<&str>,
        current: &AttemptContext,
    ) -> Option<ProgTarget> {
        match (&op.replaces, &op.target) {
            (Some(prog), None) => {
                self.prog(prog, &current.key_path.key("replaces"))?;
                Some(ProgTarget::Program { prog: prog.clone(), function: blob::ENTRY })
            }
            (Some(_), Some(_)) => {
                self.problems.problem(&current.key_path.key("target"), "`target` cannot be combined with `replaces`");
                None
            }
            (None, Some(text)) => values::prog_target(text, &current.key_path.key("target"), self.problems),
            (None, None) if recipe::replaces(type_name) => {
                let message = format!("a program of type `{type_name}` replaces a function of another program");
                self.problems.advise(
                    &current.key_path.key("replaces"),
                    message,
                    "write `replaces = \"NAME\"`, the name of a saved program with `btf`",
                );
                None
            }
            (None, None) => Some(recipe::prog_target(type_name, attach)),
        }
    }

    #[expect(clippy::option_option, reason = "the outer one is a reported error, the inner one an absent key")]
    fn prog_types(&mut self, op: &ProgLoad, type_name: &str, current: &AttemptContext) -> Option<Option<ProgTypes>> {
        let Some(btf) = &op.btf else {
            if !op.functions.is_empty() && current.complete {
                self.problems.advise(&current.key_path.key("functions"), "`functions` needs `btf`", SAVED_BTF);
                return None;
            }
            if recipe::replaces(type_name) {
                let message = format!("a program of type `{type_name}` needs BTF, like the program that it replaces");
                self.problems.advise(&current.key_path.key("btf"), message, SAVED_BTF);
                return None;
            }
            return Some(None);
        };
        self.btf(btf, current)?;
        let parts = op.functions.iter().map(|first| (*first, blob::PART));
        let functions = std::iter::once((0, blob::ENTRY)).chain(parts).collect();
        Some(Some(ProgTypes { btf: btf.clone(), functions }))
    }

    #[expect(clippy::option_option, reason = "the outer one is a reported error, the inner one an absent key")]
    fn signature(&mut self, op: &ProgLoad, current: &AttemptContext) -> Option<Option<Signature>> {
        let Some(written) = &op.signature else { return Some(None) };
        let key_path = current.key_path.key("signature");
        let Some(own) = op.instructions.as_ref().filter(|_| op.length.is_none()) else {
            let message = "`signature` needs `instructions`, and cannot be combined with `length`";
            self.problems.problem(&key_path, message);
            return None;
        };
        let signed_lines = written.instructions.as_ref().unwrap_or(own);
        let mut signed = self.bytes_of(signed_lines, &key_path.key("instructions"))?;
        if let Some(contents) = &written.contents {
            signed.extend(values::hex(contents, &key_path.key("contents"), self.problems)?);
        }
        let sum: String = Sha256::digest(&signed)[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        let (key, keyring) = (written.key, written.keyring);
        Some(Some(Signature { file: format!("{}-{sum}.p7s", key.name()), key, keyring, signed }))
    }

    fn bytes_of(&mut self, lines: &[String], key_path: &KeyPath) -> Option<Vec<u8>> {
        let instructions = values::instructions(lines, key_path, self.problems)?;
        Some(instructions.iter().flat_map(|instruction| instruction.to_le_bytes()).collect())
    }

    fn prog_maps(&mut self, op: &ProgLoad, current: &AttemptContext) -> Option<Vec<String>> {
        let key_path = current.key_path.key("maps");
        for (index, name) in op.maps.iter().enumerate() {
            self.map(name, &key_path.index(index))?;
        }
        Some(op.maps.clone())
    }
}

/// How to give a map or program the BTF that it needs.
const SAVED_BTF: &str = "write `btf = \"NAME\"`, the name under which a `btf_load` saved it";

/// Returns the default attach type of a program's links: the one it was loaded for. If that belongs to another program
/// type or has no links, it is the usual one of the program's type.
fn link_attach(type_name: &str, usual: &ProgArguments, attach: Option<ResolvedName>) -> Option<String> {
    let loaded_for = attach.map(|attach| attach.name);
    let own = loaded_for.clone().filter(|name| recipe::is_linked_as(type_name, name));
    own.or(usual.link_attach.map(str::to_owned)).or(loaded_for)
}

/// Returns whose signature it is and where the key is looked for, such as `own/session of 95… with 2a000000`.
fn shown_signature(signature: &attempt::Signature) -> String {
    let of = signature.instructions.as_ref().map(|lines| format!(" of {}", lines.concat().replace(' ', "")));
    let with = signature.contents.as_ref().map(|contents| format!(" with {contents}"));
    let (key, keyring) = (signature.key.name(), signature.keyring.name());
    format!("{key}/{keyring}{}{}", of.unwrap_or_default(), with.unwrap_or_default())
}

fn prog_label(op: &ProgLoad, found: &ResolvedName, attach: Option<&ResolvedName>) -> AttemptLabel {
    AttemptLabel::new("prog_load")
        .word(&found.name)
        .given("attach", op.attach.as_ref().and(attach).map(|attach| &attach.name))
        .given("flags", values::shown_flags(op.flags.as_deref()))
        .given("returns", op.returns)
        .given("license", op.license.as_ref())
        .given("target", op.target.as_ref())
        .given("replaces", op.replaces.as_ref())
        .given("btf", op.btf.as_ref())
        .given("maps", (!op.maps.is_empty()).then(|| op.maps.join(",")))
        .given("length", op.length)
        .given("signature", op.signature.as_ref().map(shown_signature))
        .given("instructions", op.instructions.as_ref().map(|lines| lines.concat().replace(' ', "")))
}
