//! The names of the saved objects and files that a call uses.

use crate::plan::{Call, saved_objects::SavedObjects};

impl Call {
    /// Returns the saved objects that it uses, in the order in which the actor gets their descriptors.
    pub fn objects(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.names(&mut names);
        names.into_iter().map(String::as_str).collect()
    }

    /// Returns the same call with a prefix on the name of every saved object and file, so that calls from one recipe do
    /// not collide.
    pub fn prefixed(&self, prefix: &str) -> Self {
        let mut call = self.clone();
        if let Self::ObjPin { path, .. } | Self::ObjGet { path, .. } = &mut call {
            path.insert_str(0, prefix);
        }
        let mut names = Vec::new();
        call.names_mut(&mut names);
        names.into_iter().for_each(|name| name.insert_str(0, prefix));
        call
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{LinkTarget, ObjectKind, PinLocation};

    #[test]
    fn objects_are_named_in_the_order_they_are_handed_over() {
        let update = Call::LinkUpdate { link: "l".into(), prog: "p".into(), old: Some("o".into()) };
        assert_eq!(update.objects(), ["l", "p", "o"]);
        let link = Call::LinkCreate { prog: "p".into(), attach_type: 4, target: LinkTarget::Map("m".into()) };
        assert_eq!(link.objects(), ["p", "m"]);
        assert!(Call::NextId { kind: ObjectKind::Map, after: 0 }.objects().is_empty());
    }

    #[test]
    fn objects_and_files_of_a_prefixed_call_have_the_prefix() {
        let pin = |object: &str, path: &str| Call::ObjPin {
            object: object.into(),
            path: path.into(),
            stays: false,
            place: PinLocation::Bpffs,
            mode: None,
        };
        assert_eq!(pin("m", "p").prefixed("x-"), pin("x-m", "x-p"));
        let link = Call::LinkCreate { prog: "p".into(), attach_type: 4, target: LinkTarget::Elements("m".into()) };
        assert_eq!(link.prefixed("x-").objects(), ["x-p", "x-m"]);
    }
}
