//! The saved objects and files a call is about, by their names.

use super::{Call, LinkTarget, MapTypes, PartContent, ProgTarget};

/// Writes the list of saved objects once, for reading and for changing: `objects` by shared reference and
/// `objects_mut` by exclusive.
macro_rules! saved_objects {
    ($objects:ident, $object:ident, $iter:ident $(, $mutable:tt)?) => {
        impl Call {
            /// The names of the saved objects it is about, in the order in which their descriptors are handed to the
            /// actor.
            fn $objects(&$($mutable)? self) -> Vec<&$($mutable)? String> {
                match self {
                    Self::MapCreate { inner_map, types, .. } => inner_map.$iter().chain(types.$object()).collect(),
                    Self::ProgLoad { target, types, maps, .. } => {
                        let types = types.$iter().map(|types| &$($mutable)? types.btf);
                        target.$object().into_iter().chain(types).chain(maps).collect()
                    }
                    Self::MapUpdate { map, parts, .. } => {
                        let held = parts.$iter().filter_map(|part| part.what.$object());
                        std::iter::once(map).chain(held).collect()
                    }
                    Self::ObjPin { object, .. }
                    | Self::FdById { object, .. }
                    | Self::ObjInfo { object, .. }
                    | Self::TaskFdQuery { object } => vec![object],
                    Self::MapLookup { map, .. }
                    | Self::MapDelete { map, .. }
                    | Self::MapNextKey { map, .. }
                    | Self::MapLookupAndDelete { map, .. }
                    | Self::MapBatch { map, .. }
                    | Self::MapFreeze { map }
                    | Self::MapMmap { map, .. } => vec![map],
                    Self::ProgTestRun { prog }
                    | Self::ProgStreamRead { prog }
                    | Self::ProgCode { prog }
                    | Self::RawTracepointOpen { prog, .. }
                    | Self::SocketAttach { prog, .. } => {
                        vec![prog]
                    }
                    Self::ProgBindMap { prog, map } | Self::ProgAssocStructOps { prog, map } => vec![prog, map],
                    Self::LinkCreate { prog, target, .. } | Self::ProgAttach { prog, target, .. } => {
                        std::iter::once(prog).chain(target.$object()).collect()
                    }
                    Self::ProgDetach { prog, target, .. } => prog.$iter().chain(target.$object()).collect(),
                    Self::ProgQuery { target, .. } => target.$object().into_iter().collect(),
                    Self::LinkUpdate { link, prog, old } => [link, prog].into_iter().chain(old).collect(),
                    Self::LinkDetach { link } | Self::IterCreate { link } => vec![link],
                    Self::HelperSurvey(survey) => survey.within.$iter().chain(survey.beyond.$iter()).collect(),
                    Self::Verify(verify) => verify.map.$iter().collect(),
                    Self::TokenCreate { .. }
                    | Self::BtfLoad
                    | Self::BtfGetFdById { .. }
                    | Self::TokenInfo
                    | Self::MountDelegate { .. }
                    | Self::ObjGet { .. }
                    | Self::NextId { .. }
                    | Self::EnableStats
                    | Self::Object(_)
                    | Self::Remount { .. }
                    | Self::Umount { .. }
                    | Self::SysctlWrite { .. }
                    | Self::Unflagged(_)
                    | Self::PerfQuery
                    | Self::Exit
                    | Self::Sabotage(_) => Vec::new(),
                }
            }
        }

        impl MapTypes {
            fn $object(&$($mutable)? self) -> Option<&$($mutable)? String> {
                match self {
                    Self::None => None,
                    Self::Saved { btf, .. } | Self::KernelStruct { btf, .. } => Some(btf),
                }
            }
        }

        impl ProgTarget {
            fn $object(&$($mutable)? self) -> Option<&$($mutable)? String> {
                if let Self::Program { prog, .. } = self { Some(prog) } else { None }
            }
        }

        impl PartContent {
            fn $object(&$($mutable)? self) -> Option<&$($mutable)? String> {
                if let Self::Fd(object) = self { Some(object) } else { None }
            }
        }

        impl LinkTarget {
            fn $object(&$($mutable)? self) -> Option<&$($mutable)? String> {
                if let Self::Map(map) | Self::Elements(map) = self { Some(map) } else { None }
            }
        }
    };
}

saved_objects!(object_names, object, iter);
saved_objects!(object_names_mut, object_mut, iter_mut, mut);

impl Call {
    /// The saved objects it is about, in the order in which their descriptors are handed to the actor.
    pub fn objects(&self) -> Vec<&str> {
        self.object_names().into_iter().map(String::as_str).collect()
    }

    /// The same call with this before the name of every saved object and every file it is about, so that calls made
    /// from one recipe do not meet.
    pub fn prefixed(&self, prefix: &str) -> Self {
        let mut call = self.clone();
        if let Self::ObjPin { path, .. } | Self::ObjGet { path, .. } = &mut call {
            path.insert_str(0, prefix);
        }
        call.object_names_mut().into_iter().for_each(|name| name.insert_str(0, prefix));
        call
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{ObjectKind, PinPlace};

    #[test]
    fn objects_are_told_in_the_order_they_are_handed_over() {
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
            place: PinPlace::Bpffs,
            mode: None,
        };
        assert_eq!(pin("m", "p").prefixed("x-"), pin("x-m", "x-p"));
        let link = Call::LinkCreate { prog: "p".into(), attach_type: 4, target: LinkTarget::Elements("m".into()) };
        assert_eq!(link.prefixed("x-").objects(), ["x-p", "x-m"]);
    }
}
