//! What a call is called, and what it has to do with tokens and the kernel's types.

use super::{Call, HelperSurvey, KernelMember, KernelType, LinkTarget, MapTypes, PartPlace, ProgTarget, Verify};

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
            Self::MapMmap { .. } => "map_mmap",
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
            Self::ProgCode { .. } => "prog_code",
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
            Self::SysctlWrite { .. } => "sysctl_write",
            Self::Unflagged(_) => "unflagged",
            Self::PerfQuery => "perf_query",
            Self::SocketAttach { .. } => "socket_attach",
            Self::Exit => "exit",
            Self::Sabotage(_) => "sabotage",
        }
    }

    /// Whether the kernel takes a token with it, to judge by or to tell about.
    pub const fn takes_token(&self) -> bool {
        self.is_judged_by_token() || matches!(self, Self::TokenInfo | Self::Unflagged(_))
    }

    /// Whether a token that is handed over decides about it.
    pub const fn is_judged_by_token(&self) -> bool {
        matches!(
            self,
            Self::MapCreate { .. }
                | Self::ProgLoad { .. }
                | Self::BtfLoad
                | Self::BtfGetFdById { .. }
                | Self::HelperSurvey(_)
                | Self::Verify(_)
        )
    }

    /// The map type, program type and expected attach type it names: what a token must hold besides its command.
    pub const fn types(&self) -> [Option<u32>; 3] {
        match self {
            Self::MapCreate { map_type, .. } => [Some(*map_type), None, None],
            Self::ProgLoad { prog_type, expected_attach_type, .. }
            | Self::HelperSurvey(HelperSurvey { prog_type, expected_attach_type, .. })
            | Self::Verify(Verify { prog_type, expected_attach_type, .. }) => {
                [None, Some(*prog_type), Some(*expected_attach_type)]
            }
            _ => [None; 3],
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
            Self::Verify(verify) => verify.functions.iter().cloned().map(KernelType::Func).collect(),
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

impl ProgTarget {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::PinPlace;

    #[test]
    fn what_stays_is_told_from_what_does_not() {
        let (place, mode) = (PinPlace::Bpffs, None);
        let pin = |stays| Call::ObjPin { object: "m".into(), path: "p".into(), stays, place, mode };
        assert!(pin(true).leaves_something() && !pin(false).leaves_something());
    }
}
