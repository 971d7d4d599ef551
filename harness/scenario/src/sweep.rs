//! Sweeps: every name of one kind that a kernel knows, attempted under different circumstances.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Attempts everything of one kind that the booted kernel knows, under the same circumstances, in one table.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// What the rows are.
    pub of: SweepOf,
    /// What the columns are, such as `["granted", "no_token"]`; by default every arm that applies to these rows.
    #[serde(default)]
    pub arms: Option<Vec<Arm>>,
    /// Arms in which every attempt must have the same verdict, unless the kernel does not know what is attempted. The
    /// keys `allowed` and `denied` are lists of arms, such as `{ allowed = ["granted"], denied = ["no_cmd"] }`.
    #[serde(default)]
    pub expect: SweepExpect,
}

/// Arms in which every attempt must have the same verdict.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SweepExpect {
    /// Arms in which every attempt must be allowed.
    #[serde(default)]
    pub allowed: Vec<Arm>,
    /// Arms in which every attempt must be denied.
    #[serde(default)]
    pub denied: Vec<Arm>,
}

/// What the rows of a sweep are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SweepOf {
    /// Creates a map of every type.
    MapTypes,
    /// Loads a program of every type.
    ProgTypes,
    /// Loads a program for every attach type.
    ExpectedAttachTypes,
    /// Creates a link of every attach type. The container loaded its program, or root if the arm has no token.
    AttachTypes,
    /// Attaches a program of every attach type with `BPF_PROG_ATTACH`. The container loaded it, or root if the arm has
    /// no token.
    LegacyAttach,
    /// Uses every command.
    Cmds,
    /// Loads a program with every feature of the verifier that `verify` knows. The verdicts that follow from the
    /// capabilities each feature needs are expected without `expect`.
    Features,
    /// Surveys the helpers of every program type. An arm does not ask again about helpers that an arm with fewer
    /// permissions has got.
    Helpers,
}

/// The circumstances of the attempts in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// Full root outside all containers; only for `helpers`.
    Root,
    /// A token with exactly the bits that the call needs, and every capability.
    Granted,
    /// A token with everything but the command, and every capability.
    NoCmd,
    /// A token with everything but the map or program type, and every capability.
    NoType,
    /// A token with everything but the attach type, and every capability.
    NoAttach,
    /// No token, and every capability in the user namespace.
    NoToken,
    /// The token of `granted`, and every capability except `CAP_BPF`, and `CAP_SYS_ADMIN`, which would replace it.
    NoBpf,
    /// The token of `granted`, and every capability except `CAP_PERFMON` and `CAP_SYS_ADMIN`.
    NoPerfmon,
    /// The token of `granted`, and every capability except `CAP_NET_ADMIN` and `CAP_SYS_ADMIN`.
    NoNetAdmin,
    /// The token of `granted`, and every capability except `CAP_SYS_ADMIN`.
    NoSysAdmin,
    /// The token of `granted`, and only `CAP_SYS_ADMIN`.
    OnlySysAdmin,
    /// The token of `granted`, and no capability.
    NoCaps,
    /// No token and no capability.
    Nothing,
    /// No token and no capability, with `kernel.unprivileged_bpf_disabled=0`.
    #[serde(rename = "unprivileged_0")]
    Unprivileged0,
    /// No token and no capability, with `kernel.unprivileged_bpf_disabled=2`.
    #[serde(rename = "unprivileged_2")]
    Unprivileged2,
    /// The same as `no_bpf`, with `kernel.unprivileged_bpf_disabled=0`, where some types load without `CAP_BPF`; only
    /// for `helpers` and `features`.
    #[serde(rename = "no_bpf_0")]
    NoBpf0,
}

impl Arm {
    /// All arms, in the order of columns.
    pub const ALL: [Self; 16] = [
        Self::Root,
        Self::Granted,
        Self::NoCmd,
        Self::NoType,
        Self::NoAttach,
        Self::NoToken,
        Self::NoBpf,
        Self::NoPerfmon,
        Self::NoNetAdmin,
        Self::NoSysAdmin,
        Self::OnlySysAdmin,
        Self::NoCaps,
        Self::Nothing,
        Self::Unprivileged0,
        Self::Unprivileged2,
        Self::NoBpf0,
    ];

    /// Returns its name in scenarios and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Granted => "granted",
            Self::NoCmd => "no_cmd",
            Self::NoType => "no_type",
            Self::NoAttach => "no_attach",
            Self::NoToken => "no_token",
            Self::NoBpf => "no_bpf",
            Self::NoPerfmon => "no_perfmon",
            Self::NoNetAdmin => "no_net_admin",
            Self::NoSysAdmin => "no_sys_admin",
            Self::OnlySysAdmin => "only_sys_admin",
            Self::NoCaps => "no_caps",
            Self::Nothing => "nothing",
            Self::Unprivileged0 => "unprivileged_0",
            Self::Unprivileged2 => "unprivileged_2",
            Self::NoBpf0 => "no_bpf_0",
        }
    }

    /// Returns the header of its column.
    pub const fn head(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Granted => "granted",
            Self::NoCmd => "-cmd",
            Self::NoType => "-type",
            Self::NoAttach => "-attach",
            Self::NoToken => "-token",
            Self::NoBpf => "-BPF",
            Self::NoPerfmon => "-PERF",
            Self::NoNetAdmin => "-NET",
            Self::NoSysAdmin => "-SYS",
            Self::OnlySysAdmin => "SYS",
            Self::NoCaps => "-caps",
            Self::Nothing => "none",
            Self::Unprivileged0 => "none,0",
            Self::Unprivileged2 => "none,2",
            Self::NoBpf0 => "-BPF,0",
        }
    }

    /// Returns what the header of its column means, in a sweep with these rows.
    pub const fn meaning(self, of: SweepOf) -> &'static str {
        match self {
            Self::Granted if of.attaches() => "the program was loaded with a token of everything; every capability",
            Self::NoCmd if of.attaches() => "it was loaded with a token of everything but the command that attaches it",
            Self::NoToken if of.attaches() => "root loaded the program; every capability in the user namespace",
            Self::Root => "full root outside of all containers",
            Self::Granted => "a token of exactly the bits it takes, and every capability",
            Self::NoCmd => "a token of everything but the command, and every capability",
            Self::NoType => "a token of everything but the map or program type, and every capability",
            Self::NoAttach => "a token of everything but the attach type, and every capability",
            Self::NoToken => "no token, and every capability in the user namespace",
            Self::NoBpf => "as granted, without CAP_BPF and CAP_SYS_ADMIN, which would stand in for it",
            Self::NoPerfmon => "as granted, without CAP_PERFMON and CAP_SYS_ADMIN",
            Self::NoNetAdmin => "as granted, without CAP_NET_ADMIN and CAP_SYS_ADMIN",
            Self::NoSysAdmin => "as granted, without CAP_SYS_ADMIN",
            Self::OnlySysAdmin => "as granted, with CAP_SYS_ADMIN and no other capability",
            Self::NoCaps => "as granted, without any capability",
            Self::Nothing => "no token and no capability",
            Self::Unprivileged0 if matches!(of, SweepOf::Helpers | SweepOf::Features) => {
                "no token and no capability, with kernel.unprivileged_bpf_disabled=0"
            }
            Self::Unprivileged0 => "the same with kernel.unprivileged_bpf_disabled=0",
            Self::Unprivileged2 => "the same with kernel.unprivileged_bpf_disabled=2",
            Self::NoBpf0 => "as granted, without CAP_BPF and CAP_SYS_ADMIN, with kernel.unprivileged_bpf_disabled=0",
        }
    }
}

impl SweepOf {
    /// Returns what the rows are, in words.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::MapTypes => "map types",
            Self::ProgTypes => "program types",
            Self::ExpectedAttachTypes => "attach types programs are loaded for",
            Self::AttachTypes => "attach types of links",
            Self::LegacyAttach => "attach types of prog_attach",
            Self::Cmds => "commands",
            Self::Features => "features of the verifier",
            Self::Helpers => "program types",
        }
    }

    /// Whether the rows attach programs. What the kernel allows then depends on how the program was loaded.
    pub const fn attaches(self) -> bool {
        matches!(self, Self::AttachTypes | Self::LegacyAttach)
    }

    /// Returns the arms that apply to some row.
    pub fn arms(self) -> Vec<Arm> {
        let applies = |arm: &Arm| match (arm, self) {
            (Arm::NoType, _) => !self.attaches(),
            (Arm::Root, _) => self == Self::Helpers,
            (Arm::NoBpf0, _) => matches!(self, Self::Helpers | Self::Features),
            (Arm::NoAttach, _) => !self.attaches() && self != Self::MapTypes,
            _ => true,
        };
        Arm::ALL.into_iter().filter(applies).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_arm_is_its_spelling() {
        for arm in Arm::ALL {
            assert_eq!(serde_json::to_value(arm).unwrap(), arm.name());
        }
        let heads: std::collections::BTreeSet<&str> = Arm::ALL.iter().map(|arm| arm.head()).collect();
        assert_eq!(heads.len(), Arm::ALL.len());
    }

    #[test]
    fn arms_that_do_not_apply_are_left_out() {
        assert!(!SweepOf::MapTypes.arms().contains(&Arm::NoAttach) && SweepOf::MapTypes.arms().contains(&Arm::NoType));
        assert!(
            !SweepOf::AttachTypes.arms().contains(&Arm::NoType) && SweepOf::AttachTypes.arms().contains(&Arm::NoCmd)
        );
        assert_eq!(SweepOf::Cmds.arms().len(), Arm::ALL.len() - 2);
        assert!(SweepOf::Helpers.arms().contains(&Arm::Root) && !SweepOf::ProgTypes.arms().contains(&Arm::Root));
    }
}
