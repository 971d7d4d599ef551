//! What a policy is in the maps of the BPF programs.

use crate::{
    file::{Identity, Mode, Otherwise, Reload, Signed, TokenNeed, Unrecorded, Userns},
    layout::{self, BITS, CGROUP_DEPTH, CGROUP_NAME, FILE_NAME, SetKey},
    policy::{Action, Cgroup, Loader, Policy, Profile, Rule},
};

/// The values of the policy's maps. Only the names are left to be found in the BTF of the running kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// What is of the policy as a whole.
    pub settings: layout::Settings,
    /// The entries of `rules`, at most [`layout::MOST_RULES`].
    pub rules: Vec<layout::Rule>,
    /// The entries of `profiles`, at most [`layout::MOST_PROFILES`].
    pub profiles: Vec<layout::Profile>,
    /// The entries of `cgroups`, at most [`layout::MOST_CGROUPS`].
    pub cgroups: Vec<layout::Cgroup>,
    /// Kfuncs that profiles allow: functions in the BTF of vmlinux.
    pub kfuncs: Vec<Named>,
    /// Targets that profiles allow: functions, typedefs or structures in the BTF of vmlinux.
    pub targets: Vec<Named>,
    /// The keys of map `sets` for the tags that profiles allow.
    pub tags: Vec<SetKey>,
    /// The entries of `loaders`, at most [`layout::MOST_LOADERS`].
    pub loaders: Vec<layout::Loader>,
    /// The entries of map `sets` for loaders that are known by a digest: 1 + their index.
    pub identities: Vec<(SetKey, u8)>,
    /// The files of loaders that are known by their inode, with 1 + their index.
    pub files: Vec<(String, u8)>,
    /// Whether a rule asks for the login user id, which not every kernel has (`CONFIG_AUDIT`).
    pub uses_loginuid: bool,
}

/// A name of the kernel's BTF that a profile allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Index into the profiles.
    pub profile: u32,
    /// The name.
    pub name: String,
}

/// A range of all ids.
const ALL_IDS: (u32, u32) = (0, u32::MAX);

impl Policy {
    /// Returns the values of the maps.
    pub fn compile(&self) -> Compiled {
        let rules: Vec<layout::Rule> = self.rules.iter().flat_map(entries).collect();
        let settings = layout::Settings {
            abi: layout::ABI,
            rules: u32::try_from(rules.len()).unwrap_or(u32::MAX),
            enforce: (self.mode == Mode::Enforce).into(),
            default_allow: (self.default == Otherwise::Allow).into(),
            when_full_deny: (self.guard.when_full == Unrecorded::Deny).into(),
            no_reader_deny: (self.guard.on_no_reader == Unrecorded::Deny).into(),
            self_protection: self.guard.unprotected.is_none().into(),
            loaders: u8::try_from(self.loaders.len()).unwrap_or(u8::MAX),
            reload: match self.guard.reload {
                Reload::Never => layout::RELOAD_NEVER,
                Reload::Root => layout::RELOAD_ROOT,
                Reload::Builtin => layout::RELOAD_BUILTIN,
                Reload::Secondary => layout::RELOAD_SECONDARY,
                Reload::Platform => layout::RELOAD_PLATFORM,
            },
            reserved: 0,
            patience_ns: u64::try_from(self.guard.patience.as_nanos()).unwrap_or(u64::MAX),
            count_only: self.guard.count_only.word(),
            revision: self.revision,
        };
        Compiled {
            settings,
            rules,
            profiles: self.profiles.iter().map(profile).collect(),
            cgroups: self.cgroups.iter().map(cgroup).collect(),
            kfuncs: self.named(|profile| profile.kfuncs.as_deref()),
            targets: self.named(|profile| profile.targets.as_deref()),
            tags: self.tags(),
            loaders: self.loaders.iter().map(loader).collect(),
            identities: self.identities(),
            files: self.files(),
            uses_loginuid: self.rules.iter().any(|rule| !rule.loginuid.is_empty()),
        }
    }

    fn identities(&self) -> Vec<(SetKey, u8)> {
        let mut keys = Vec::new();
        for (loader, number) in self.loaders.iter().zip(1..) {
            let identity = identity(loader.identity);
            keys.extend(loader.digests.iter().map(|digest| (SetKey::of_digest(identity, digest), number)));
        }
        keys
    }

    fn files(&self) -> Vec<(String, u8)> {
        let loaders = self.loaders.iter().zip(1..);
        let known = loaders.filter(|(loader, _)| loader.identity == Identity::Inode);
        known.map(|(loader, number)| (loader.file.clone(), number)).collect()
    }

    fn tags(&self) -> Vec<SetKey> {
        let of = |(profile, index): (&Profile, u16)| {
            let tags = profile.tags.clone().unwrap_or_default();
            tags.into_iter().map(move |tag| SetKey::of_tag(index, tag))
        };
        self.profiles.iter().zip(0..).flat_map(of).collect()
    }

    /// The names of all profiles; a profile without a list allows all.
    fn named<'a>(&'a self, names: impl Fn(&'a Profile) -> Option<&'a [String]>) -> Vec<Named> {
        let of = |(profile, index): (&'a Profile, u32)| {
            names(profile).unwrap_or_default().iter().map(move |name| Named { profile: index, name: name.clone() })
        };
        self.profiles.iter().zip(0..).flat_map(of).collect()
    }
}

impl Compiled {
    /// Returns the value of map `policies`: `struct guard_policy`.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; layout::POLICY_SIZE];
        let mut parts = layout::POLICY_FIELDS.iter().map(|field| field.offset);
        let mut put = |values: Vec<Vec<u8>>| {
            let start = parts.next().expect("each member is written once");
            let values = values.concat();
            bytes[start..start + values.len()].copy_from_slice(&values);
        };
        put(vec![self.settings.bytes()]);
        put(self.rules.iter().map(layout::Rule::bytes).collect());
        put(self.cgroups.iter().map(layout::Cgroup::bytes).collect());
        put(self.profiles.iter().map(layout::Profile::bytes).collect());
        put(self.loaders.iter().map(layout::Loader::bytes).collect());
        bytes
    }
}

/// The entries of a rule: one for each combination of a range of user ids, a range of login user ids, a cgroup and a loader.
fn entries(rule: &Rule) -> Vec<layout::Rule> {
    let (action, profile) = match rule.action {
        Action::Profile(index) => (layout::USE_PROFILE, u16::try_from(index).unwrap_or(u16::MAX)),
        Action::Allow => (layout::ALLOW, 0),
        Action::Deny => (layout::DENY, 0),
    };
    let shared = layout::Rule {
        cmds: rule.cmds.word(),
        number: rule.number,
        profile,
        userns: match rule.userns {
            None => layout::USERNS_ANY,
            Some(Userns::Initial) => layout::USERNS_INITIAL,
            Some(Userns::NotInitial) => layout::USERNS_NOT_INITIAL,
        },
        action,
        mode: match rule.mode {
            None => layout::MODE_OF_POLICY,
            Some(Mode::Audit) => layout::MODE_AUDIT,
            Some(Mode::Enforce) => layout::MODE_ENFORCE,
        },
        ..layout::Rule::default()
    };
    let any_id = [ALL_IDS];
    let ids = |ranges: &[(u32, u32)]| if ranges.is_empty() { any_id.to_vec() } else { ranges.to_vec() };
    let cgroups: Vec<u16> = match rule.cgroups.as_slice() {
        [] => vec![0],
        indices => indices.iter().map(|index| u16::try_from(index + 1).unwrap_or(u16::MAX)).collect(),
    };
    let mut entries = Vec::new();
    for (uid_min, uid_max) in ids(&rule.uid) {
        for (loginuid_min, loginuid_max) in ids(&rule.loginuid) {
            for cgroup in &cgroups {
                for loader in if rule.loaders.is_empty() { &[0][..] } else { &rule.loaders } {
                    let (cgroup, loader) = (*cgroup, *loader);
                    let ids = layout::Rule { uid_min, uid_max, loginuid_min, loginuid_max, ..shared };
                    entries.push(layout::Rule { cgroup, loader, ..ids });
                }
            }
        }
    }
    entries
}

fn profile(profile: &Profile) -> layout::Profile {
    let mut attach = [[0; 2]; BITS];
    for (words, bits) in attach.iter_mut().zip(&profile.attach) {
        *words = bits.words();
    }
    layout::Profile {
        cmds: profile.cmds.word(),
        progs: profile.progs.word(),
        maps: profile.maps.word(),
        max_entries: profile.max_entries.map_or(u64::MAX, u64::from),
        max_bytes: profile.max_bytes.unwrap_or(u64::MAX),
        token_caps: profile.token_caps.word(),
        helpers: profile.helpers.words(),
        max_insns: profile.max_insns.unwrap_or(u32::MAX),
        token_required: (profile.token == TokenNeed::Required).into(),
        any_kfunc: profile.kfuncs.is_none().into(),
        any_target: profile.targets.is_none().into(),
        modules: profile.modules.into(),
        own_maps: profile.own_maps.into(),
        signature: match profile.signed {
            Signed::No => layout::SIGNED_NO,
            Signed::Any => layout::SIGNED_ANY,
            Signed::Builtin => layout::SIGNED_BUILTIN,
            Signed::Secondary => layout::SIGNED_SECONDARY,
            Signed::Platform => layout::SIGNED_PLATFORM,
        },
        only_tags: profile.tags.is_some().into(),
        reserved: [0; 5],
        attach,
    }
}

const fn identity(identity: Identity) -> u32 {
    match identity {
        Identity::Inode => layout::IDENTITY_INODE,
        Identity::Ima => layout::IDENTITY_IMA,
        Identity::FsVerity => layout::IDENTITY_FS_VERITY,
    }
}

fn loader(loader: &Loader) -> layout::Loader {
    let last = loader.file.rsplit('/').next().unwrap_or_default().as_bytes();
    let last = &last[..last.len().min(FILE_NAME - 1)];
    let mut name = [0; FILE_NAME];
    name[..last.len()].copy_from_slice(last);
    layout::Loader { identity: identity(loader.identity), length: u32::try_from(last.len()).unwrap_or(0), name }
}

fn cgroup(cgroup: &Cgroup) -> layout::Cgroup {
    let mut value = layout::Cgroup {
        depth: u32::try_from(cgroup.0.len()).unwrap_or(0),
        length: [0; CGROUP_DEPTH],
        reserved: 0,
        name: [[0; CGROUP_NAME]; CGROUP_DEPTH],
    };
    for (at, name) in cgroup.0.iter().enumerate().take(CGROUP_DEPTH) {
        let bytes = &name.as_bytes()[..name.len().min(CGROUP_NAME - 1)];
        value.length[at] = u32::try_from(bytes.len()).unwrap_or(0);
        value.name[at][..bytes.len()].copy_from_slice(bytes);
    }
    value
}
