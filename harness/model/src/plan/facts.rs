//! What a call is called, which saved objects it is about, and whether it takes a token.

use super::{Call, HelperSurvey, KernelMember, KernelType, LinkTarget, MapTypes, PartContent, PartPlace, ProgTarget};

impl Call {
    /// Its name, as scenario files write it.
    pub const fn op(&self) -> &'static str {
        match self {
            Self::TokenCreate { .. } => "token_create",
            Self::MapCreate { .. } => "map_create",
            Self::ProgLoad { .. } => "prog_load",
            Self::BtfLoad => "btf_load",
            Self::BtfGetFdById { .. } => "btf_get_fd_by_id",
            Self::TokenInfo => "token_info",
            Self::MountDelegate { .. } => "mount_delegate",
            Self::ObjPin { .. } => "obj_pin",
            Self::ObjGet { .. } => "obj_get",
            Self::MapUpdate { .. } => "map_update",
            Self::MapLookup { .. } => "map_lookup",
            Self::MapDelete { .. } => "map_delete",
            Self::MapNextKey { .. } => "map_next_key",
            Self::MapLookupAndDelete { .. } => "map_lookup_and_delete",
            Self::MapBatch { .. } => "map_batch",
            Self::MapFreeze { .. } => "map_freeze",
            Self::ProgTestRun { .. } => "prog_test_run",
            Self::ProgAttach { .. } => "prog_attach",
            Self::ProgDetach { .. } => "prog_detach",
            Self::ProgQuery { .. } => "prog_query",
            Self::ProgBindMap { .. } => "prog_bind_map",
            Self::ProgStreamRead { .. } => "prog_stream_read",
            Self::ProgAssocStructOps { .. } => "prog_assoc_struct_ops",
            Self::RawTracepointOpen { .. } => "raw_tracepoint_open",
            Self::NextId { .. } => "next_id",
            Self::FdById { .. } => "fd_by_id",
            Self::ObjInfo { .. } => "obj_info",
            Self::TaskFdQuery { .. } => "task_fd_query",
            Self::EnableStats => "enable_stats",
            Self::LinkCreate { .. } => "link_create",
            Self::LinkUpdate { .. } => "link_update",
            Self::LinkDetach { .. } => "link_detach",
            Self::IterCreate { .. } => "iter_create",
            Self::Object(_) => "object",
            Self::HelperSurvey(_) => "helper_survey",
            Self::Verify(_) => "verify",
            Self::Remount { .. } => "remount",
            Self::Umount { .. } => "umount",
            Self::Exit => "exit",
            Self::Sabotage(_) => "sabotage",
        }
    }

    /// Whether the kernel takes a token with it, to judge by or to tell about.
    pub const fn takes_token(&self) -> bool {
        matches!(
            self,
            Self::MapCreate { .. }
                | Self::ProgLoad { .. }
                | Self::BtfLoad
                | Self::BtfGetFdById { .. }
                | Self::TokenInfo
                | Self::HelperSurvey(_)
                | Self::Verify(_)
        )
    }

    /// The saved objects it is about, in the order in which their descriptors are handed to the actor.
    pub fn objects(&self) -> Vec<&str> {
        match self {
            Self::MapCreate { inner_map, types, .. } => {
                inner_map.iter().map(String::as_str).chain(types.object()).collect()
            }
            Self::ProgLoad { target, types, maps, .. } => {
                let types = types.iter().map(|types| types.btf.as_str());
                target.object().into_iter().chain(types).chain(maps.iter().map(String::as_str)).collect()
            }
            Self::MapUpdate { map, parts, .. } => {
                let held = parts.iter().filter_map(|part| part.what.object());
                std::iter::once(map.as_str()).chain(held).collect()
            }
            Self::ObjPin { object, .. }
            | Self::FdById { object, .. }
            | Self::ObjInfo { object }
            | Self::TaskFdQuery { object } => vec![object],
            Self::MapLookup { map, .. }
            | Self::MapDelete { map, .. }
            | Self::MapNextKey { map, .. }
            | Self::MapLookupAndDelete { map, .. }
            | Self::MapBatch { map, .. }
            | Self::MapFreeze { map } => vec![map],
            Self::ProgTestRun { prog } | Self::ProgStreamRead { prog } | Self::RawTracepointOpen { prog, .. } => {
                vec![prog]
            }
            Self::ProgBindMap { prog, map } | Self::ProgAssocStructOps { prog, map } => vec![prog, map],
            Self::LinkCreate { prog, target, .. } | Self::ProgAttach { prog, target, .. } => {
                std::iter::once(prog.as_str()).chain(target.object()).collect()
            }
            Self::ProgDetach { prog, target, .. } => prog.iter().map(String::as_str).chain(target.object()).collect(),
            Self::ProgQuery { target, .. } => target.object().into_iter().collect(),
            Self::LinkUpdate { link, prog } => vec![link, prog],
            Self::LinkDetach { link } | Self::IterCreate { link } => vec![link],
            Self::HelperSurvey(survey) => survey.within.iter().chain(&survey.beyond).map(String::as_str).collect(),
            Self::Verify(verify) => verify.map.iter().map(String::as_str).collect(),
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
            | Self::Exit
            | Self::Sabotage(_) => Vec::new(),
        }
    }

    /// The kernel's types it names.
    pub fn kernel_types(&self) -> Vec<KernelType> {
        match self {
            Self::MapCreate { types: MapTypes::KernelStruct { structure, .. }, .. } => {
                vec![KernelType::Struct(structure.clone())]
            }
            Self::ProgLoad { target, .. } | Self::HelperSurvey(HelperSurvey { target, .. }) => target.kernel_types(),
            Self::LinkCreate { target: LinkTarget::Functions(functions), .. } => functions.clone(),
            Self::MapUpdate { parts, .. } => parts.iter().flat_map(|part| part.at.kernel_types()).collect(),
            _ => Vec::new(),
        }
    }

    /// What it attaches to, if it attaches, takes off or asks for what is attached.
    pub const fn target(&self) -> Option<&LinkTarget> {
        match self {
            Self::LinkCreate { target, .. }
            | Self::ProgAttach { target, .. }
            | Self::ProgDetach { target, .. }
            | Self::ProgQuery { target, .. } => Some(target),
            _ => None,
        }
    }

    /// Whether something that no descriptor holds is there after it: a name in a bpffs, a program that stays attached.
    pub const fn leaves_something(&self) -> bool {
        matches!(self, Self::ObjPin { stays: true, .. } | Self::ProgAttach { stays: true, .. })
    }
}

impl MapTypes {
    /// The saved object it is about.
    fn object(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Saved { btf, .. } | Self::KernelStruct { btf, .. } => Some(btf),
        }
    }
}

impl ProgTarget {
    /// The saved program it is about.
    fn object(&self) -> Option<&str> {
        if let Self::Program { prog, .. } = self { Some(prog) } else { None }
    }

    fn kernel_types(&self) -> Vec<KernelType> {
        match self {
            Self::Kernel(wanted) => vec![wanted.clone()],
            Self::Member(member) => vec![KernelType::Struct(member.structure.clone())],
            Self::None | Self::Program { .. } => Vec::new(),
        }
    }
}

impl PartPlace {
    fn kernel_types(&self) -> Vec<KernelType> {
        let Self::StructOps(member) = self else { return Vec::new() };
        [member.structure.clone(), member.kept_in().structure].map(KernelType::Struct).to_vec()
    }
}

impl KernelMember {
    /// Where the kernel keeps a structure of functions within the value of its map (`DEFINE_STRUCT_OPS_VALUE_TYPE` and
    /// its successors in `kernel/bpf/bpf_struct_ops.c`).
    pub fn kept_in(&self) -> Self {
        Self { structure: format!("bpf_struct_ops_{}", self.structure), member: "data".to_owned() }
    }
}

impl PartContent {
    /// The saved object it is about.
    fn object(&self) -> Option<&str> {
        if let Self::Fd(object) = self { Some(object) } else { None }
    }
}

impl LinkTarget {
    /// The saved map it is about.
    fn object(&self) -> Option<&str> {
        if let Self::Map(map) | Self::Elements(map) = self { Some(map) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::ObjectKind;

    #[test]
    fn objects_are_told_in_the_order_they_are_handed_over() {
        let update = Call::LinkUpdate { link: "l".into(), prog: "p".into() };
        assert_eq!(update.objects(), ["l", "p"]);
        let link = Call::LinkCreate { prog: "p".into(), attach_type: 4, target: LinkTarget::Map("m".into()) };
        assert_eq!(link.objects(), ["p", "m"]);
        assert!(Call::NextId { kind: ObjectKind::Map, after: 0 }.objects().is_empty());
    }

    #[test]
    fn what_stays_is_told_from_what_does_not() {
        let pin = |stays| Call::ObjPin { object: "m".into(), path: "p".into(), stays };
        assert!(pin(true).leaves_something() && !pin(false).leaves_something());
    }
}
