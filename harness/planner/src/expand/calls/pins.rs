//! Names in a bpffs.

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
    pub(super) fn obj_pin(&mut self, op: &ObjPin, setting: &AttemptContext) -> Option<ExpandedCall> {
        let path = self.path(&op.path, op.expect == Some(Expect::Malformed), setting)?;
        let mode = self.mode(op.mode.as_deref(), setting)?;
        let key_path = setting.key_path.key("object");
        let object =
            self.objects.find(&op.object, "an object", |object| Some(object.clone()), &key_path, self.problems)?;
        if !matches!(op.expect, Some(Expect::Denied | Expect::Malformed)) {
            let owner = self.containers.owner_of_bpffs(setting.actor.as_ref()?);
            self.objects.pin(&owner, &path, object);
        }
        let elsewhere = (op.place == PinLocation::Tmpfs).then_some("tmpfs");
        let words = AttemptLabel::new("obj_pin").word(&op.object).word(&path);
        let words = words.given("place", elsewhere).given("mode", op.mode.as_ref());
        Some(made(words, Call::ObjPin { object: op.object.clone(), path, stays: true, place: op.place, mode }))
    }

    pub(super) fn obj_get(&mut self, op: &ObjGet, setting: &AttemptContext) -> Option<ExpandedCall> {
        let path = self.path(&op.path, false, setting)?;
        let owner = self.containers.owner_of_bpffs(setting.actor.as_ref()?);
        let gives = self.objects.pinned(&owner, &path, &setting.key_path.key("path"), self.problems)?;
        let flags = self.flags(op.flags.as_deref(), &[], &recipe::FILE_FLAGS, setting);
        let words = AttemptLabel::new("obj_get").word(&path).given("flags", values::shown_flags(op.flags.as_deref()));
        Some(ExpandedCall { gives: Some(gives), ..made(words, Call::ObjGet { path, flags }) })
    }

    /// A file name; one with a dot is refused by the kernel, which keeps such for itself (`bpf_lookup` in
    /// `kernel/bpf/inode.c`).
    fn path(&mut self, path: &str, may_have_dots: bool, setting: &AttemptContext) -> Option<String> {
        let dotted = may_have_dots && path.split('.').all(is_plain_name);
        if dotted || is_plain_name(path) {
            return Some(path.to_owned());
        }
        let message = format!("`{}` is no file name below a bpffs", path.escape_debug());
        self.problems.advise(
            &setting.key_path.key("path"),
            message,
            "use letters, digits, `_` and `-`: no slash, no dot",
        );
        None
    }

    #[expect(clippy::option_option, reason = "the outer one is an error that was told, the inner one an absent key")]
    fn mode(&mut self, written: Option<&str>, setting: &AttemptContext) -> Option<Option<u32>> {
        const ALL: u32 = 0o777;
        let Some(text) = written else { return Some(None) };
        let read = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= ALL && !text.starts_with('+'));
        if read.is_none() {
            let message = format!("`{}` are no permissions of a file", text.escape_debug());
            self.problems.advise(&setting.key_path.key("mode"), message, "write octal digits, such as \"644\"");
        }
        read.map(Some)
    }
}
