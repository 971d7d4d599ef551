//! Expands attempts that attach or detach programs, or query what is attached.

use harness_diagnostics::node::KeyPath;
use harness_protocol::plan::{Call, LinkTarget};
use harness_scenario::attempt::{LinkCreate, ProgAttach, ProgDetach, ProgQuery};
use harness_uapi::{resolver::ResolvedName, vocabulary::Kind};

use crate::{
    expand::{
        context::{AttemptContext, ExpandContext, ExpandedCall, describe, made},
        label::AttemptLabel,
        links,
        objects::Object,
        values,
    },
    recipe,
};

impl ExpandContext<'_, '_> {
    #[expect(clippy::option_option, reason = "the outer one is a reported error, the inner one attach type 0")]
    pub(super) fn prog(&mut self, name: &str, key_path: &KeyPath) -> Option<Option<String>> {
        let link_attach = |object: &Object| match object {
            Object::Prog { link_attach } => Some(link_attach.clone()),
            _ => None,
        };
        self.objects.find(name, "a program", link_attach, key_path, self.problems)
    }

    pub(super) fn link_create(&mut self, op: &LinkCreate, current: &AttemptContext) -> Option<ExpandedCall> {
        let target = self.target(&op.target, current);
        let usual = match target {
            Some(LinkTarget::StructOps) => {
                self.map(&op.prog, &current.key_path.key("prog")).map(|_| Some("struct_ops".to_owned()))
            }
            _ => self.prog(&op.prog, &current.key_path.key("prog")),
        };
        let (usual, target) = (usual?, target?);
        let attach = self.link_attach(op.attach.as_deref().or(usual.as_deref()), current)?;
        self.check_target(&attach, &target, current)?;
        let label = attach_label("link_create", Some(&op.prog), op.attach.as_ref().map(|_| &attach), &op.target);
        let missing = attach.missing.clone();
        let call = Call::LinkCreate { prog: op.prog.clone(), attach_type: attach.number, target };
        Some(ExpandedCall { missing, result: Some(Object::Link), ..made(label, call) })
    }

    fn target(&mut self, text: &str, current: &AttemptContext) -> Option<LinkTarget> {
        let key_path = current.key_path.key("target");
        if let Some((what, whose)) = text.rsplit_once(" of ") {
            return self.target_of(what, whose, current);
        }
        let target = links::target(text, &key_path, self.problems)?;
        if let LinkTarget::Map(name) | LinkTarget::Elements(name) = &target {
            self.map(name, &key_path)?;
        }
        if let LinkTarget::Event(name) = &target {
            self.event(name, &key_path)?;
        }
        Some(target)
    }

    /// Resolves a target that another container has.
    fn target_of(&mut self, what: &str, whose: &str, current: &AttemptContext) -> Option<LinkTarget> {
        let key_path = current.key_path.key("target");
        let whose = self.containers.actor(Some(whose), &key_path, self.problems);
        let what = Box::new(links::target(what, &key_path, self.problems)?);
        if links::has_owner(&what) {
            return Some(LinkTarget::Of { whose: whose?, what });
        }
        let advice = "only `interface:NAME`, `cgroup` and `netns` do";
        self.problems.advise(&key_path, "this target does not belong to a container", advice);
        None
    }

    fn link_attach(&mut self, name: Option<&str>, current: &AttemptContext) -> Option<ResolvedName> {
        match name {
            Some(name) => self.name(Kind::Attach, name, &current.key_path.key("attach")),
            None => {
                let name = self.resolver.table(Kind::Attach).name(0).unwrap_or("cgroup_inet_ingress").to_owned();
                Some(ResolvedName { number: 0, name, missing: None })
            }
        }
    }

    fn check_target(&mut self, attach: &ResolvedName, target: &LinkTarget, current: &AttemptContext) -> Option<()> {
        let key_path = current.key_path.key("target");
        if let Some(message) = links::mismatch(&attach.name, target).filter(|_| current.complete) {
            self.problems.advise(&key_path, message, "set another attach type with `attach`");
            return None;
        }
        self.check_interface(target, current)
    }

    fn check_interface(&mut self, target: &LinkTarget, current: &AttemptContext) -> Option<()> {
        let key_path = current.key_path.key("target");
        let (name, actor) = match target {
            LinkTarget::Interface(name) => (name, current.actor.as_ref()?),
            LinkTarget::Of { whose, what } => match what.bare() {
                LinkTarget::Interface(name) => (name, whose),
                _ => return Some(()),
            },
            _ => return Some(()),
        };
        if links::MADE.contains(&name.as_str()) && !self.containers.has_own_network(actor) && current.complete {
            let message = format!("{} has no network namespace of its own, so it has no {name}", describe(actor));
            self.problems.advise(&key_path, message, "add `namespaces = [\"net\"]` to the container");
            return None;
        }
        Some(())
    }

    /// Resolves a target of `prog_attach`, `prog_detach` or `prog_query`, which support fewer than links.
    fn legacy_target(&mut self, text: &str, current: &AttemptContext) -> Option<LinkTarget> {
        let target = self.target(text, current)?;
        if links::is_legacy(&target) {
            self.check_interface(&target, current)?;
            return Some(target);
        }
        let message = format!("only a link can attach a program to `{}`", text.escape_debug());
        self.problems.advise(&current.key_path.key("target"), message, "use `link_create`");
        None
    }

    pub(super) fn prog_attach(&mut self, op: &ProgAttach, current: &AttemptContext) -> Option<ExpandedCall> {
        let usual = self.prog(&op.prog, &current.key_path.key("prog"));
        let target = self.legacy_target(&op.target, current)?;
        let attach = self.link_attach(op.attach.as_deref().or(usual?.as_deref()), current)?;
        let flags = self.flags(op.flags.as_deref(), &[], &recipe::ATTACH_FLAGS, current);
        let label = attach_label("prog_attach", Some(&op.prog), op.attach.as_ref().map(|_| &attach), &op.target);
        let label = label.given("flags", values::shown_flags(op.flags.as_deref()));
        let label = if op.stays { label } else { label.word("and off again") };
        let call =
            Call::ProgAttach { prog: op.prog.clone(), attach_type: attach.number, target, flags, stays: op.stays };
        Some(ExpandedCall { missing: attach.missing, ..made(label, call) })
    }

    pub(super) fn prog_detach(&mut self, op: &ProgDetach, current: &AttemptContext) -> Option<ExpandedCall> {
        let usual = match &op.prog {
            Some(prog) => self.prog(prog, &current.key_path.key("prog"))?,
            None => None,
        };
        let target = self.legacy_target(&op.target, current)?;
        let attach = self.link_attach(op.attach.as_deref().or(usual.as_deref()), current)?;
        let label = attach_label("prog_detach", op.prog.as_ref(), op.attach.as_ref().map(|_| &attach), &op.target);
        let call = Call::ProgDetach { prog: op.prog.clone(), attach_type: attach.number, target };
        Some(ExpandedCall { missing: attach.missing, ..made(label, call) })
    }

    pub(super) fn prog_query(&mut self, op: &ProgQuery, current: &AttemptContext) -> Option<ExpandedCall> {
        let attach = self.name(Kind::Attach, &op.attach, &current.key_path.key("attach"))?;
        let target = self.legacy_target(&op.target, current)?;
        let label = attach_label("prog_query", None, Some(&attach), &op.target);
        let call = Call::ProgQuery { attach_type: attach.number, target };
        Some(ExpandedCall { missing: attach.missing, ..made(label, call) })
    }
}

fn attach_label(op: &'static str, prog: Option<&String>, attach: Option<&ResolvedName>, target: &str) -> AttemptLabel {
    let label = prog.into_iter().fold(AttemptLabel::new(op), |label, prog| label.word(prog));
    label.given("attach", attach.map(|attach| &attach.name)).word(target)
}
