//! How calls relate to tokens and to the kernel's types.

use crate::plan::{
    Attack, AttackTarget, Call, HelperSurvey, KernelMember, KernelType, LinkTarget, LsmHook, MapTypes, PartOffset,
    PerfEventSource, PlacedFile, ProgTarget, Verify,
};

impl Call {
    /// Returns whether the kernel takes a token with it, to authorize it or as its subject.
    pub const fn takes_token(&self) -> bool {
        self.is_judged_by_token() || matches!(self, Self::TokenInfo | Self::Unflagged(_))
    }

    /// Returns the member of `union bpf_attr` in which it hands a token over, with or without the flag.
    pub const fn token_member(&self) -> Option<&'static str> {
        match (self.token_command(), self) {
            (Some(command), _) => Some(command.member()),
            (None, Self::Unflagged(command)) => Some(command.member()),
            _ => None,
        }
    }

    /// Returns whether a token that is handed over decides about it.
    pub const fn is_judged_by_token(&self) -> bool {
        self.token_command().is_some()
    }

    /// Returns the map type, program type and expected attach type that it names: what a token must allow besides the
    /// command.
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

    /// Returns the kernel's types that it names.
    pub fn kernel_types(&self) -> Vec<KernelType> {
        match self {
            Self::MapCreate { types: MapTypes::KernelStruct { structure, .. }, .. } => {
                vec![KernelType::Struct(structure.clone())]
            }
            Self::ProgLoad { target, .. } | Self::HelperSurvey(HelperSurvey { target, .. }) => target.kernel_types(),
            Self::LinkCreate { target: LinkTarget::Functions(functions), .. } => functions.clone(),
            Self::Verify(verify) => verify.functions.iter().cloned().map(KernelType::Func).collect(),
            Self::Several(calls) => calls.iter().flat_map(Self::kernel_types).collect(),
            // The control has a link of the same kind.
            Self::Attack { way, .. }
                if *way == Attack::LinkDetach
                    || matches!(way.target(), AttackTarget::Objects | AttackTarget::Calls) =>
            {
                vec![LsmHook::Bpf.function()]
            }
            Self::MapUpdate { parts, .. } => parts.iter().flat_map(|part| part.at.kernel_types()).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns the tracepoint that it names, as `SYSTEM/NAME`.
    pub fn tracepoint(&self) -> Option<&str> {
        match self {
            Self::PerfEventOpen { source: PerfEventSource::Tracepoint(name), .. } => Some(name),
            _ => None,
        }
    }

    /// Returns the target of an attachment, detachment or query.
    pub const fn target(&self) -> Option<&LinkTarget> {
        match self {
            Self::LinkCreate { target, .. }
            | Self::ProgAttach { target, .. }
            | Self::ProgDetach { target, .. }
            | Self::ProgQuery { target, .. } => Some(target),
            _ => None,
        }
    }

    /// Returns whether it leaves something that no descriptor holds: a pin, or a program that stays attached.
    pub const fn leaves_something(&self) -> bool {
        matches!(self, Self::ObjPin { stays: true, .. } | Self::ProgAttach { stays: true, .. } | Self::Exec(_))
    }

    /// Returns whether a denial gets no search for its cause.
    pub const fn is_unexplained(&self) -> bool {
        match self {
            Self::Object(load) => load.unexplained,
            Self::Exec(exec) => exec.unexplained,
            _ => false,
        }
    }

    /// Returns the files that are put into the guest's file system for it.
    pub fn placed(&self) -> &[PlacedFile] {
        match self {
            Self::Exec(exec) => &exec.files,
            _ => &[],
        }
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

impl PartOffset {
    fn kernel_types(&self) -> Vec<KernelType> {
        let Self::StructOps(member) = self else { return Vec::new() };
        [member.structure.clone(), member.kept_in().structure].map(KernelType::Struct).to_vec()
    }
}

impl KernelMember {
    /// Returns where the kernel keeps a structure of functions within the value of its map
    /// (`DEFINE_STRUCT_OPS_VALUE_TYPE` and its successors in `kernel/bpf/bpf_struct_ops.c`).
    pub fn kept_in(&self) -> Self {
        Self { structure: format!("bpf_struct_ops_{}", self.structure), member: "data".to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::PinLocation;

    #[test]
    fn what_stays_is_distinguished_from_what_does_not() {
        let (place, mode) = (PinLocation::Bpffs, None);
        let pin = |stays| Call::ObjPin { object: "m".into(), path: "p".into(), stays, place, mode };
        assert!(pin(true).leaves_something() && !pin(false).leaves_something());
    }
}
