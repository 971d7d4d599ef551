//! Calls on objects as such.

use harness_protocol::plan::{Call, ObjectKind};
use harness_scenario::attempt::{
    FdById, IterCreate, LinkDetach, LinkUpdate, NextId, ObjInfo, ProgAssocStructOps, ProgBindMap, ProgCode,
    ProgStreamRead, ProgTestRun, RawTracepointOpen, TaskFdQuery,
};

use crate::expand::{
    desk::{Desk, Made, Setting, made},
    objects::Object,
    words::Words,
};

impl Desk<'_, '_> {
    fn object(&mut self, name: &str, setting: &Setting) -> Option<Object> {
        self.objects.find(name, "an object", |object| Some(object.clone()), &setting.place.key("object"), self.sink)
    }

    fn link(&mut self, name: &str, setting: &Setting) -> Option<()> {
        let is_link = |object: &Object| matches!(object, Object::Link).then_some(());
        self.objects.find(name, "a link", is_link, &setting.place.key("link"), self.sink)
    }

    fn own_prog(&mut self, name: &str, setting: &Setting) -> Option<()> {
        self.prog(name, &setting.place.key("prog")).map(|_| ())
    }

    pub(super) fn prog_test_run(&mut self, op: &ProgTestRun, setting: &Setting) -> Option<Made> {
        self.own_prog(&op.prog, setting)?;
        Some(made(Words::new("prog_test_run").word(&op.prog), Call::ProgTestRun { prog: op.prog.clone() }))
    }

    pub(super) fn prog_bind_map(&mut self, op: &ProgBindMap, setting: &Setting) -> Option<Made> {
        self.own_prog(&op.prog, setting)?;
        self.map(&op.map, &setting.place.key("map"))?;
        let call = Call::ProgBindMap { prog: op.prog.clone(), map: op.map.clone() };
        Some(made(Words::new("prog_bind_map").word(&op.prog).word(&op.map), call))
    }

    pub(super) fn prog_code(&mut self, op: &ProgCode, setting: &Setting) -> Option<Made> {
        self.own_prog(&op.prog, setting)?;
        Some(made(Words::new("prog_code").word(&op.prog), Call::ProgCode { prog: op.prog.clone() }))
    }

    pub(super) fn prog_stream_read(&mut self, op: &ProgStreamRead, setting: &Setting) -> Option<Made> {
        self.own_prog(&op.prog, setting)?;
        let missing = self.lexicon.lacks_cmd("prog_stream_read_by_fd");
        let call = Call::ProgStreamRead { prog: op.prog.clone() };
        Some(Made { missing, ..made(Words::new("prog_stream_read").word(&op.prog), call) })
    }

    pub(super) fn prog_assoc_struct_ops(&mut self, op: &ProgAssocStructOps, setting: &Setting) -> Option<Made> {
        self.own_prog(&op.prog, setting)?;
        self.map(&op.map, &setting.place.key("map"))?;
        let missing = self.lexicon.lacks_cmd("prog_assoc_struct_ops");
        let call = Call::ProgAssocStructOps { prog: op.prog.clone(), map: op.map.clone() };
        Some(Made { missing, ..made(Words::new("prog_assoc_struct_ops").word(&op.prog).word(&op.map), call) })
    }

    pub(super) fn raw_tracepoint_open(&mut self, op: &RawTracepointOpen, setting: &Setting) -> Option<Made> {
        self.own_prog(&op.prog, setting)?;
        let words = Words::new("raw_tracepoint_open").word(&op.prog).given("name", op.name.as_ref());
        let call = Call::RawTracepointOpen { prog: op.prog.clone(), name: op.name.clone() };
        Some(Made { gives: Some(Object::Link), ..made(words, call) })
    }

    pub(super) fn next_id(&self, op: &NextId) -> Made {
        let word = match op.kind {
            ObjectKind::Map => "map",
            ObjectKind::Prog => "prog",
            ObjectKind::Link => "link",
            ObjectKind::Btf => "btf",
        };
        made(Words::new("next_id").word(word), Call::NextId { kind: op.kind, after: op.after.unwrap_or(0) })
    }

    pub(super) fn fd_by_id(&mut self, op: &FdById, setting: &Setting) -> Option<Made> {
        let object = self.object(&op.object, setting)?;
        let Some(kind) = kind(&object) else {
            self.sink.problem(&setting.place.key("object"), format!("{} has no id", object.noun()));
            return None;
        };
        let call = Call::FdById { kind, object: op.object.clone() };
        Some(Made { gives: Some(object), ..made(Words::new("fd_by_id").word(&op.object), call) })
    }

    pub(super) fn obj_info(&mut self, op: &ObjInfo, setting: &Setting) -> Option<Made> {
        let kind = kind(&self.object(&op.object, setting)?);
        Some(made(Words::new("obj_info").word(&op.object), Call::ObjInfo { object: op.object.clone(), kind }))
    }

    pub(super) fn task_fd_query(&mut self, op: &TaskFdQuery, setting: &Setting) -> Option<Made> {
        self.object(&op.object, setting)?;
        Some(made(Words::new("task_fd_query").word(&op.object), Call::TaskFdQuery { object: op.object.clone() }))
    }

    pub(super) fn link_update(&mut self, op: &LinkUpdate, setting: &Setting) -> Option<Made> {
        self.link(&op.link, setting)?;
        self.own_prog(&op.prog, setting)?;
        if let Some(old) = &op.old {
            self.prog(old, &setting.place.key("old"))?;
        }
        let call = Call::LinkUpdate { link: op.link.clone(), prog: op.prog.clone(), old: op.old.clone() };
        Some(made(Words::new("link_update").word(&op.link).word(&op.prog).given("old", op.old.as_ref()), call))
    }

    pub(super) fn link_detach(&mut self, op: &LinkDetach, setting: &Setting) -> Option<Made> {
        self.link(&op.link, setting)?;
        Some(made(Words::new("link_detach").word(&op.link), Call::LinkDetach { link: op.link.clone() }))
    }

    pub(super) fn iter_create(&mut self, op: &IterCreate, setting: &Setting) -> Option<Made> {
        self.link(&op.link, setting)?;
        Some(made(Words::new("iter_create").word(&op.link), Call::IterCreate { link: op.link.clone() }))
    }
}

/// What has an id.
fn kind(object: &Object) -> Option<ObjectKind> {
    match object {
        Object::Map(_) => Some(ObjectKind::Map),
        Object::Prog { .. } => Some(ObjectKind::Prog),
        Object::Link => Some(ObjectKind::Link),
        Object::Btf => Some(ObjectKind::Btf),
        Object::Token | Object::Helpers => None,
    }
}
