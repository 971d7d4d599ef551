//! Expands attempts that pin an object or open a pinned one.

use harness_protocol::plan::{Call, PinLocation};
use harness_scenario::{
    attempt::{ObjGet, ObjPin},
    expect::Expect,
};

use crate::{
    expand::{
        context::{AttemptContext, ExpandContext, ExpandedCall, made},
        label::AttemptLabel,
        objects::is_plain_name,
        values,
    },
    recipe,
};

impl ExpandContext<'_, '_> {
    pub(super) fn obj_pin(&mut self, op: &ObjPin, current: &AttemptContext) -> Option<ExpandedCall> {
        let may_have_dots = op.expect == Some(Expect::Malformed) || !current.complete;
        let path = self.path(&op.path, may_have_dots, current)?;
        let mode = self.mode(op.mode.as_deref(), current);
        let key_path = current.key_path.key("object");
        let object =
            self.objects.find(&op.object, "an object", |object| Some(object.clone()), &key_path, self.problems);
        let is_found = object.is_some();
        if !matches!(op.expect, Some(Expect::Denied | Expect::Malformed)) {
            let owner = self.containers.owner_of_bpffs(current.actor.as_ref()?);
            self.objects.pin(&owner, &path, object);
        }
        let mode = mode.filter(|_| is_found)?;
        let elsewhere = (op.place == PinLocation::Tmpfs).then_some("tmpfs");
        let label = AttemptLabel::new("obj_pin").word(&op.object).word(&path);
        let label = label.given("place", elsewhere).given("mode", op.mode.as_ref());
        Some(made(label, Call::ObjPin { object: op.object.clone(), path, stays: true, place: op.place, mode }))
    }

    pub(super) fn obj_get(&mut self, op: &ObjGet, current: &AttemptContext) -> Option<ExpandedCall> {
        let path = self.path(&op.path, false, current)?;
        let owner = self.containers.owner_of_bpffs(current.actor.as_ref()?);
        if !current.complete || !self.containers.are_right() {
            // It may not be this bpffs.
            return None;
        }
        let result = self.objects.pinned(&owner, &path, &current.key_path.key("path"), self.problems)?;
        let flags = self.flags(op.flags.as_deref(), &[], &recipe::FILE_FLAGS, current);
        let label = AttemptLabel::new("obj_get").word(&path).given("flags", values::shown_flags(op.flags.as_deref()));
        Some(ExpandedCall { result: Some(result), ..made(label, Call::ObjGet { path, flags }) })
    }

    /// Checks a file name. The kernel refuses names with a dot, which it reserves (`bpf_lookup` in
    /// `kernel/bpf/inode.c`).
    fn path(&mut self, path: &str, may_have_dots: bool, current: &AttemptContext) -> Option<String> {
        let dotted = may_have_dots && path.split('.').all(is_plain_name);
        if dotted || is_plain_name(path) {
            return Some(path.to_owned());
        }
        let message = format!("`{}` is not a valid file name in a bpffs", path.escape_debug());
        self.problems.advise(
            &current.key_path.key("path"),
            message,
            "use letters, digits, `_` and `-`, but no slash or dot",
        );
        None
    }

    #[expect(clippy::option_option, reason = "the outer one is a reported error, the inner one an absent key")]
    fn mode(&mut self, written: Option<&str>, current: &AttemptContext) -> Option<Option<u32>> {
        const ALL: u32 = 0o777;
        let Some(text) = written else { return Some(None) };
        let read = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= ALL && !text.starts_with('+'));
        if read.is_none() {
            let message = format!("`{}` is not a file mode", text.escape_debug());
            self.problems.advise(&current.key_path.key("mode"), message, "write octal digits, for example \"644\"");
        }
        read.map(Some)
    }
}
