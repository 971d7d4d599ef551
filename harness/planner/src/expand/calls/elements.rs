//! Expands attempts on the elements of a map.

use harness_diagnostics::node::KeyPath;
use harness_protocol::plan::{BatchOp, Call, PartContent, PartOffset, ValuePart};
use harness_scenario::{
    attempt::{MapBatch, MapDelete, MapFreeze, MapLookup, MapLookupAndDelete, MapMmap, MapNextKey, MapUpdate},
    choice::Bytes,
};

use crate::{
    expand::{
        context::{AttemptContext, ExpandContext, ExpandedCall, made},
        label::AttemptLabel,
        objects::{MapShape, Object},
        values,
    },
    recipe,
};

impl ExpandContext<'_, '_> {
    pub(super) fn map(&mut self, name: &str, key_path: &KeyPath) -> Option<MapShape> {
        let shape = |object: &Object| if let Object::Map(shape) = object { Some(shape.clone()) } else { None };
        self.objects.find(name, "a map", shape, key_path, self.problems)
    }

    /// Finds a map whose elements a scenario can write: not one with a value per CPU.
    fn map_with_elements(&mut self, name: &str, current: &AttemptContext) -> Option<MapShape> {
        let key_path = current.key_path.key("map");
        let shape = self.map(name, &key_path)?;
        let large = shape.key_size.max(shape.value_size) > values::LARGEST as u32;
        if recipe::is_per_cpu(&shape.type_name) {
            let message = format!(
                "a map of type `{}` has one value per CPU, and machines differ in their number",
                shape.type_name
            );
            self.problems.problem(&key_path, message);
        } else if large {
            self.problems.problem(
                &key_path,
                format!("this map has keys or values of more than {} bytes, the limit", values::LARGEST),
            );
        } else {
            return Some(shape);
        }
        None
    }

    fn key(&mut self, key: Option<&Bytes>, shape: &MapShape, current: &AttemptContext) -> Option<Vec<u8>> {
        values::bytes(key, shape.key_size, "a key", &current.key_path.key("key"), self.problems)
    }

    pub(super) fn map_update(&mut self, op: &MapUpdate, current: &AttemptContext) -> Option<ExpandedCall> {
        let shape = self.map_with_elements(&op.map, current)?;
        let key = self.key(op.key.as_ref(), &shape, current);
        let key_path = current.key_path.key("value");
        let value = values::bytes(op.value.as_ref(), shape.value_size, "a value", &key_path, self.problems);
        let parts = self.held(op, current)?;
        let call = Call::MapUpdate { map: op.map.clone(), key: key?, value: value?, parts };
        Some(made(AttemptLabel::new("map_update").word(&op.map).given("holds", op.holds.as_ref()), call))
    }

    pub(super) fn map_lookup(&mut self, op: &MapLookup, current: &AttemptContext) -> Option<ExpandedCall> {
        let shape = self.map_with_elements(&op.map, current)?;
        let key = self.key(op.key.as_ref(), &shape, current)?;
        let call = Call::MapLookup { map: op.map.clone(), key, value_size: shape.value_size };
        Some(made(AttemptLabel::new("map_lookup").word(&op.map), call))
    }

    /// Returns the object whose descriptor is at the start of the value.
    fn held(&mut self, op: &MapUpdate, current: &AttemptContext) -> Option<Vec<ValuePart>> {
        let Some(name) = &op.holds else { return Some(Vec::new()) };
        let any = |_: &Object| Some(());
        self.objects.find(name, "an object", any, &current.key_path.key("holds"), self.problems)?;
        Some(vec![ValuePart { at: PartOffset::Byte(0), what: PartContent::Fd(name.clone()) }])
    }

    pub(super) fn map_delete(&mut self, op: &MapDelete, current: &AttemptContext) -> Option<ExpandedCall> {
        let shape = self.map_with_elements(&op.map, current)?;
        let key = self.key(op.key.as_ref(), &shape, current)?;
        Some(made(AttemptLabel::new("map_delete").word(&op.map), Call::MapDelete { map: op.map.clone(), key }))
    }

    pub(super) fn map_next_key(&mut self, op: &MapNextKey, current: &AttemptContext) -> Option<ExpandedCall> {
        let shape = self.map(&op.map, &current.key_path.key("map"))?;
        let key = match &op.key {
            Some(key) => Some(self.key(Some(key), &shape, current)?),
            None => None,
        };
        Some(made(AttemptLabel::new("map_next_key").word(&op.map), Call::MapNextKey { map: op.map.clone(), key }))
    }

    pub(super) fn map_lookup_and_delete(
        &mut self,
        op: &MapLookupAndDelete,
        current: &AttemptContext,
    ) -> Option<ExpandedCall> {
        let shape = self.map_with_elements(&op.map, current)?;
        let key = self.key(op.key.as_ref(), &shape, current)?;
        let call = Call::MapLookupAndDelete { map: op.map.clone(), key };
        Some(made(AttemptLabel::new("map_lookup_and_delete").word(&op.map), call))
    }

    pub(super) fn map_batch(&mut self, op: &MapBatch, current: &AttemptContext) -> Option<ExpandedCall> {
        self.map_with_elements(&op.map, current)?;
        let word = match op.batch {
            BatchOp::Lookup => "lookup",
            BatchOp::LookupAndDelete => "lookup_and_delete",
            BatchOp::Update => "update",
            BatchOp::Delete => "delete",
        };
        let label = AttemptLabel::new("map_batch").word(word).word(&op.map).given("count", op.count);
        let call = Call::MapBatch { op: op.batch, map: op.map.clone(), count: op.count.unwrap_or(1) };
        Some(made(label, call))
    }

    pub(super) fn map_freeze(&mut self, op: &MapFreeze, current: &AttemptContext) -> Option<ExpandedCall> {
        self.map(&op.map, &current.key_path.key("map"))?;
        Some(made(AttemptLabel::new("map_freeze").word(&op.map), Call::MapFreeze { map: op.map.clone() }))
    }

    pub(super) fn map_mmap(&mut self, op: &MapMmap, current: &AttemptContext) -> Option<ExpandedCall> {
        self.map(&op.map, &current.key_path.key("map"))?;
        let label =
            AttemptLabel::new("map_mmap").word(&op.map).word(if op.write { "for writing" } else { "for reading" });
        Some(made(label, Call::MapMmap { map: op.map.clone(), write: op.write }))
    }
}
