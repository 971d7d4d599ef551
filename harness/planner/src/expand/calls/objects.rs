//! Expands attempts on programs, links and other objects.

use harness_protocol::plan::{Call, ObjectKind};
use harness_scenario::attempt::{
    FdById, IterCreate, LinkDetach, LinkUpdate, NextId, ObjInfo, ProgAssocStructOps, ProgBindMap, ProgCode,
    ProgStreamRead, ProgTestRun, RawTracepointOpen, TaskFdQuery,
};

use crate::expand::{
    context::{AttemptContext, ExpandContext, ExpandedCall, made},
    label::AttemptLabel,
    objects::Object,
};

impl ExpandContext<'_, '_> {
    fn object(&mut self, name: &str, current: &AttemptContext) -> Option<Object> {
        self.objects.find(
            name,
            "an object",
            |object| Some(object.clone()),
            &current.key_path.key("object"),
            self.problems,
        )
    }

    fn link(&mut self, name: &str, current: &AttemptContext) -> Option<()> {
        let is_link = |object: &Object| matches!(object, Object::Link).then_some(());
        self.objects.find(name, "a link", is_link, &current.key_path.key("link"), self.problems)
    }

    fn own_prog(&mut self, name: &str, current: &AttemptContext) -> Option<()> {
        self.prog(name, &current.key_path.key("prog")).map(|_| ())
    }

    pub(super) fn prog_test_run(&mut self, op: &ProgTestRun, current: &AttemptContext) -> Option<ExpandedCall> {
        self.own_prog(&op.prog, current)?;
        let call = Call::ProgTestRun { prog: op.prog.clone(), packet: op.packet };
        Some(made(AttemptLabel::new("prog_test_run").word(&op.prog), call))
    }

    pub(super) fn prog_bind_map(&mut self, op: &ProgBindMap, current: &AttemptContext) -> Option<ExpandedCall> {
        self.own_prog(&op.prog, current)?;
        self.map(&op.map, &current.key_path.key("map"))?;
        let call = Call::ProgBindMap { prog: op.prog.clone(), map: op.map.clone() };
        Some(made(AttemptLabel::new("prog_bind_map").word(&op.prog).word(&op.map), call))
    }

    pub(super) fn prog_code(&mut self, op: &ProgCode, current: &AttemptContext) -> Option<ExpandedCall> {
        self.own_prog(&op.prog, current)?;
        let label = AttemptLabel::new("prog_code").word(&op.prog);
        let label = if op.verified { label.word("verified") } else { label };
        Some(made(label, Call::ProgCode { prog: op.prog.clone(), verified: op.verified }))
    }

    pub(super) fn prog_stream_read(&mut self, op: &ProgStreamRead, current: &AttemptContext) -> Option<ExpandedCall> {
        self.own_prog(&op.prog, current)?;
        let missing = self.resolver.lacks_cmd("prog_stream_read_by_fd");
        let call = Call::ProgStreamRead { prog: op.prog.clone() };
        Some(ExpandedCall { missing, ..made(AttemptLabel::new("prog_stream_read").word(&op.prog), call) })
    }

    pub(super) fn prog_assoc_struct_ops(
        &mut self,
        op: &ProgAssocStructOps,
        current: &AttemptContext,
    ) -> Option<ExpandedCall> {
        self.own_prog(&op.prog, current)?;
        self.map(&op.map, &current.key_path.key("map"))?;
        let missing = self.resolver.lacks_cmd("prog_assoc_struct_ops");
        let call = Call::ProgAssocStructOps { prog: op.prog.clone(), map: op.map.clone() };
        Some(ExpandedCall {
            missing,
            ..made(AttemptLabel::new("prog_assoc_struct_ops").word(&op.prog).word(&op.map), call)
        })
    }

    pub(super) fn raw_tracepoint_open(
        &mut self,
        op: &RawTracepointOpen,
        current: &AttemptContext,
    ) -> Option<ExpandedCall> {
        self.own_prog(&op.prog, current)?;
        let label = AttemptLabel::new("raw_tracepoint_open").word(&op.prog).given("name", op.name.as_ref());
        let call = Call::RawTracepointOpen { prog: op.prog.clone(), name: op.name.clone() };
        Some(ExpandedCall { result: Some(Object::Link), ..made(label, call) })
    }

    pub(super) fn next_id(&self, op: &NextId) -> ExpandedCall {
        let word = match op.kind {
            ObjectKind::Map => "map",
            ObjectKind::Prog => "prog",
            ObjectKind::Link => "link",
            ObjectKind::Btf => "btf",
        };
        made(AttemptLabel::new("next_id").word(word), Call::NextId { kind: op.kind, after: op.after.unwrap_or(0) })
    }

    pub(super) fn fd_by_id(&mut self, op: &FdById, current: &AttemptContext) -> Option<ExpandedCall> {
        let object = self.object(&op.object, current)?;
        let Some(kind) = kind(&object) else {
            self.problems.problem(&current.key_path.key("object"), format!("{} has no id", object.noun()));
            return None;
        };
        let call = Call::FdById { kind, object: op.object.clone() };
        Some(ExpandedCall { result: Some(object), ..made(AttemptLabel::new("fd_by_id").word(&op.object), call) })
    }

    pub(super) fn obj_info(&mut self, op: &ObjInfo, current: &AttemptContext) -> Option<ExpandedCall> {
        let kind = kind(&self.object(&op.object, current)?);
        Some(made(AttemptLabel::new("obj_info").word(&op.object), Call::ObjInfo { object: op.object.clone(), kind }))
    }

    pub(super) fn task_fd_query(&mut self, op: &TaskFdQuery, current: &AttemptContext) -> Option<ExpandedCall> {
        self.object(&op.object, current)?;
        Some(made(AttemptLabel::new("task_fd_query").word(&op.object), Call::TaskFdQuery { object: op.object.clone() }))
    }

    pub(super) fn link_update(&mut self, op: &LinkUpdate, current: &AttemptContext) -> Option<ExpandedCall> {
        self.link(&op.link, current)?;
        self.own_prog(&op.prog, current)?;
        if let Some(old) = &op.old {
            self.prog(old, &current.key_path.key("old"))?;
        }
        let call = Call::LinkUpdate { link: op.link.clone(), prog: op.prog.clone(), old: op.old.clone() };
        Some(made(AttemptLabel::new("link_update").word(&op.link).word(&op.prog).given("old", op.old.as_ref()), call))
    }

    pub(super) fn link_detach(&mut self, op: &LinkDetach, current: &AttemptContext) -> Option<ExpandedCall> {
        self.link(&op.link, current)?;
        Some(made(AttemptLabel::new("link_detach").word(&op.link), Call::LinkDetach { link: op.link.clone() }))
    }

    pub(super) fn iter_create(&mut self, op: &IterCreate, current: &AttemptContext) -> Option<ExpandedCall> {
        self.link(&op.link, current)?;
        Some(made(AttemptLabel::new("iter_create").word(&op.link), Call::IterCreate { link: op.link.clone() }))
    }
}

/// Returns the kind of an object that has an id.
fn kind(object: &Object) -> Option<ObjectKind> {
    match object {
        Object::Map(_) => Some(ObjectKind::Map),
        Object::Prog { .. } => Some(ObjectKind::Prog),
        Object::Link => Some(ObjectKind::Link),
        Object::Btf => Some(ObjectKind::Btf),
        Object::Token | Object::PerfEvent | Object::Helpers => None,
    }
}
