//! The values of the policy's maps, as `harness/guard/bpf/abi.h` defines them.
//!
//! Each structure is a twin of the one in C: the same members in the same order. `bytes` writes it as the BPF programs
//! read it: little-endian, without holes. What is decided has the same numbers there and in a record, and so the same types.

use std::mem::offset_of;

use guard_record::Field;
pub use guard_record::{Reason, Verdict};

/// Raised when the meaning of anything in `abi.h` changes.
pub const ABI: u32 = 4;
/// The most entries of `rules`.
pub const MOST_RULES: usize = 512;
/// The most entries of `profiles`.
pub const MOST_PROFILES: usize = 64;
/// The most entries of `cgroups`.
pub const MOST_CGROUPS: usize = 64;
/// The most names in the path of a cgroup.
pub const CGROUP_DEPTH: usize = 4;
/// The bytes of a name in the path of a cgroup, with its terminating zero.
pub const CGROUP_NAME: usize = 64;
/// Attach types from this number up are never allowed.
pub const ATTACH_TYPES: usize = 128;
/// Helpers from this number up are never allowed.
pub const HELPERS: usize = 256;
/// The most entries of `loaders`.
pub const MOST_LOADERS: usize = 32;
/// The bytes of the name of a loader's file, with its terminating zero.
pub const FILE_NAME: usize = 64;
/// The most entries that an image has for map `sets`.
pub const MOST_SETS: usize = 4096;
/// The most bytes of the signature of an image.
pub const SIGNATURE: usize = 4096;
/// The bytes of the build id of a kernel.
pub const BUILD_ID: usize = 20;
/// Program and map types, and commands, from this number up are never allowed.
pub const BITS: usize = 64;

/// Gives a structure its bytes, and the list of its members.
macro_rules! encoded {
    ($name:ident { $($member:ident),* $(,)? }, $size:expr) => {
        const _: () = assert!(size_of::<$name>() == $size && sum($name::FIELDS) == $size);

        impl $name {
            /// The size of the value, in bytes.
            pub const SIZE: usize = $size;

            /// All members, in order.
            pub const FIELDS: &[Field] = &[$(Field {
                name: stringify!($member),
                offset: offset_of!($name, $member),
                size: size_of_member(|value: &$name| &value.$member),
            }),*];

            /// Returns the value as the BPF programs read it.
            pub fn bytes(&self) -> Vec<u8> {
                let mut bytes = Vec::with_capacity(Self::SIZE);
                $(self.$member.put(&mut bytes);)*
                bytes
            }
        }
    };
}

/// Returns the size of a member.
const fn size_of_member<T, M>(_: fn(&T) -> &M) -> usize {
    size_of::<M>()
}

/// Returns the bytes of all members together: those of the structure if no member is missing and there are no holes.
const fn sum(fields: &[Field]) -> usize {
    let (mut bytes, mut index) = (0, 0);
    while index < fields.len() {
        bytes += fields[index].size;
        index += 1;
    }
    bytes
}

/// What a structure is made of.
trait Put {
    fn put(&self, bytes: &mut Vec<u8>);
}

macro_rules! numbers {
    ($($number:ty),*) => {
        $(impl Put for $number {
            fn put(&self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }
        })*
    };
}

numbers!(u8, u16, u32, u64);

impl<T: Put, const N: usize> Put for [T; N] {
    fn put(&self, bytes: &mut Vec<u8>) {
        self.iter().for_each(|member| member.put(bytes));
    }
}

/// What is of the policy as a whole: `struct guard_settings`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// [`ABI`].
    pub abi: u32,
    /// The number of entries of `rules` that count.
    pub rules: u32,
    /// 1: rules without a mode of their own are enforced; 0: their refusals are recorded only.
    pub enforce: u8,
    /// 1: a call that no rule takes is allowed.
    pub default_allow: u8,
    /// 1: a call whose record does not fit the ring is refused.
    pub when_full_deny: u8,
    /// 1: a call is refused once nobody has read the rings for `patience_ns`.
    pub no_reader_deny: u8,
    /// 1: the guard protects itself, and the hard rule holds. 0 only in tests.
    pub self_protection: u8,
    /// The number of entries of `loaders`.
    pub loaders: u8,
    /// [`RELOAD_NEVER`] to [`RELOAD_PLATFORM`].
    pub reload: u8,
    /// Zero.
    pub reserved: u8,
    /// Nanoseconds.
    pub patience_ns: u64,
    /// Commands (bit per number) that are only counted while they are allowed.
    pub count_only: u64,
    /// Only a policy with a higher one takes its place.
    pub revision: u64,
}

encoded!(
    Settings {
        abi,
        rules,
        enforce,
        default_allow,
        when_full_deny,
        no_reader_deny,
        self_protection,
        loaders,
        reload,
        reserved,
        patience_ns,
        count_only,
        revision,
    },
    40
);

/// `reload` of the settings: nobody puts another policy in its place.
pub const RELOAD_NEVER: u8 = 0;
/// `reload` of the settings: root of the initial user namespace.
pub const RELOAD_ROOT: u8 = 1;
/// `reload` of the settings: root, with one that is signed by a key of the built-in keyring.
pub const RELOAD_BUILTIN: u8 = 2;
/// `reload` of the settings: root, with one that is signed by a key of the built-in or the secondary keyring.
pub const RELOAD_SECONDARY: u8 = 3;
/// `reload` of the settings: root, with one that is signed by a key of the platform's keyring.
pub const RELOAD_PLATFORM: u8 = 4;

/// `userns` of a rule: any user namespace.
pub const USERNS_ANY: u8 = 0;
/// `userns` of a rule: the initial user namespace.
pub const USERNS_INITIAL: u8 = 1;
/// `userns` of a rule: any user namespace but the initial one.
pub const USERNS_NOT_INITIAL: u8 = 2;

/// `action` of a rule: the profile decides.
pub const USE_PROFILE: u8 = 0;
/// `action` of a rule: allowed.
pub const ALLOW: u8 = 1;
/// `action` of a rule: refused.
pub const DENY: u8 = 2;

/// `mode` of a rule: that of the policy.
pub const MODE_OF_POLICY: u8 = 0;
/// `mode` of a rule: refusals are recorded only.
pub const MODE_AUDIT: u8 = 1;
/// `mode` of a rule: refusals are denials.
pub const MODE_ENFORCE: u8 = 2;

/// `signature` of a profile: none is needed.
pub const SIGNED_NO: u8 = 0;
/// `signature` of a profile: by a key of any keyring.
pub const SIGNED_ANY: u8 = 1;
/// `signature` of a profile: by a key of the built-in keyring.
pub const SIGNED_BUILTIN: u8 = 2;
/// `signature` of a profile: by a key of the built-in or the secondary keyring.
pub const SIGNED_SECONDARY: u8 = 3;
/// `signature` of a profile: by a key of the platform's keyring.
pub const SIGNED_PLATFORM: u8 = 4;

/// An entry of `rules`: `struct guard_rule`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Commands that it takes, bit per number.
    pub cmds: u64,
    /// The first user id that it takes.
    pub uid_min: u32,
    /// The last user id that it takes.
    pub uid_max: u32,
    /// The first login user id that it takes.
    pub loginuid_min: u32,
    /// The last login user id that it takes.
    pub loginuid_max: u32,
    /// Its number in the file, from 1.
    pub number: u16,
    /// Index into `profiles`, if its action is [`USE_PROFILE`].
    pub profile: u16,
    /// 0: any; otherwise 1 + index into `cgroups`.
    pub cgroup: u16,
    /// [`USERNS_ANY`], [`USERNS_INITIAL`] or [`USERNS_NOT_INITIAL`].
    pub userns: u8,
    /// [`USE_PROFILE`], [`ALLOW`] or [`DENY`].
    pub action: u8,
    /// [`MODE_OF_POLICY`], [`MODE_AUDIT`] or [`MODE_ENFORCE`].
    pub mode: u8,
    /// 0: whatever program calls; [`ANY_LOADER`]; otherwise 1 + index into `loaders`.
    pub loader: u8,
    /// Zero.
    pub reserved: [u8; 6],
}

encoded!(
    Rule {
        cmds,
        uid_min,
        uid_max,
        loginuid_min,
        loginuid_max,
        number,
        profile,
        cgroup,
        userns,
        action,
        mode,
        loader,
        reserved,
    },
    40
);

/// `loader` of a rule: any known loader.
pub const ANY_LOADER: u8 = 255;

/// `identity` of a loader: its device and inode.
pub const IDENTITY_INODE: u32 = 0;
/// `identity` of a loader: its hash by IMA.
pub const IDENTITY_IMA: u32 = 1;
/// `identity` of a loader: its digest by fs-verity.
pub const IDENTITY_FS_VERITY: u32 = 2;

/// An entry of `loaders`: `struct guard_loader`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loader {
    /// [`IDENTITY_INODE`], [`IDENTITY_IMA`] or [`IDENTITY_FS_VERITY`].
    pub identity: u32,
    /// The length of the name in bytes, without the terminating zero.
    pub length: u32,
    /// The last name of its path, zero-padded.
    pub name: [u8; FILE_NAME],
}

encoded!(Loader { identity, length, name }, 72);

/// An entry of `cgroups`: `struct guard_cgroup`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// The number of names, at least 1.
    pub depth: u32,
    /// Their lengths in bytes, without the terminating zero.
    pub length: [u32; CGROUP_DEPTH],
    /// Zero.
    pub reserved: u32,
    /// Zero-padded.
    pub name: [[u8; CGROUP_NAME]; CGROUP_DEPTH],
}

encoded!(Cgroup { depth, length, reserved, name }, 280);

/// An entry of `profiles`: `struct guard_profile`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Commands, bit per number.
    pub cmds: u64,
    /// Program types, bit per number.
    pub progs: u64,
    /// Map types, bit per number.
    pub maps: u64,
    /// The most entries of a map.
    pub max_entries: u64,
    /// The most bytes of a map: entries times key and value, each rounded up to 8 bytes.
    pub max_bytes: u64,
    /// Capabilities that a token may stand for, bit per number.
    pub token_caps: u64,
    /// Helpers, bit per number.
    pub helpers: [u64; HELPERS / 64],
    /// The most instructions of a program, inclusive.
    pub max_insns: u32,
    /// 1: programs and maps must come with a token.
    pub token_required: u8,
    /// 1: any kfunc of the kernel; 0: those in `kfuncs`.
    pub any_kfunc: u8,
    /// 1: any target with BTF; 0: those in `targets`.
    pub any_target: u8,
    /// 1: kfuncs and targets of modules too.
    pub modules: u8,
    /// 1: programs may use only maps that the same user made.
    pub own_maps: u8,
    /// [`SIGNED_NO`] to [`SIGNED_PLATFORM`].
    pub signature: u8,
    /// 1: only programs whose tags are in `tags`.
    pub only_tags: u8,
    /// Zero.
    pub reserved: [u8; 5],
    /// Attach types by program type, bit per number.
    pub attach: [[u64; ATTACH_TYPES / 64]; BITS],
}

encoded!(
    Profile {
        cmds,
        progs,
        maps,
        max_entries,
        max_bytes,
        token_caps,
        helpers,
        max_insns,
        token_required,
        any_kfunc,
        any_target,
        modules,
        own_maps,
        signature,
        only_tags,
        reserved,
        attach,
    },
    1120
);

/// `set` of a key: a loader by its device and inode.
pub const SET_INODE: u8 = 0;
/// `set` of a key: a loader by its hash by IMA.
pub const SET_IMA: u8 = 1;
/// `set` of a key: a loader by its digest by fs-verity.
pub const SET_FS_VERITY: u8 = 2;
/// `set` of a key: a function of the kernel that programs may call.
pub const SET_KFUNC: u8 = 3;
/// `set` of a key: what programs may be bound to.
pub const SET_TARGET: u8 = 4;
/// `set` of a key: the tag of a program.
pub const SET_TAG: u8 = 5;

/// A key of map `sets`: `struct guard_set_key`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SetKey {
    /// The entry of map `policies` that it belongs to; that of an image is filled in when it is put in force.
    pub slot: u8,
    /// [`SET_INODE`] to [`SET_TAG`].
    pub set: u8,
    /// Index into `profiles`; of an identity, 0.
    pub profile: u16,
    /// An id of vmlinux' BTF, a tag, device and inode, or SHA-256; then zeros.
    pub value: [u8; 32],
}

encoded!(SetKey { slot, set, profile, value }, 36);

impl SetKey {
    fn of(set: u8, profile: u16, start: &[u8]) -> Self {
        let mut value = [0; 32];
        value[..start.len()].copy_from_slice(start);
        Self { slot: 0, set, profile, value }
    }

    /// The key of a file by its device, as the kernel has it (major << 20 | minor), and its inode.
    pub fn of_inode(device: u32, inode: u64) -> Self {
        let mut place = [0; 16];
        place[..8].copy_from_slice(&u64::from(device).to_le_bytes());
        place[8..].copy_from_slice(&inode.to_le_bytes());
        Self::of(SET_INODE, 0, &place)
    }

    /// The key of a file by its SHA-256; `identity` is that of its [`Loader`].
    pub fn of_digest(identity: u32, digest: &[u8; 32]) -> Self {
        let set = if identity == IDENTITY_IMA { SET_IMA } else { SET_FS_VERITY };
        Self::of(set, 0, digest)
    }

    /// The key of a function that the programs of a profile may call.
    pub fn of_kfunc(profile: u16, btf_id: u32) -> Self {
        Self::of(SET_KFUNC, profile, &btf_id.to_le_bytes())
    }

    /// The key of what the programs of a profile may be bound to.
    pub fn of_target(profile: u16, btf_id: u32) -> Self {
        Self::of(SET_TARGET, profile, &btf_id.to_le_bytes())
    }

    /// The key of the tag of a program that a profile allows.
    pub fn of_tag(profile: u16, tag: [u8; 8]) -> Self {
        Self::of(SET_TAG, profile, &tag)
    }
}

/// The members of `struct guard_policy`, which [`crate::Compiled::bytes`] writes.
pub const POLICY_FIELDS: &[Field] = &fields([
    ("settings", Settings::SIZE),
    ("rules", MOST_RULES * Rule::SIZE),
    ("cgroups", MOST_CGROUPS * Cgroup::SIZE),
    ("profiles", MOST_PROFILES * Profile::SIZE),
    ("loaders", MOST_LOADERS * Loader::SIZE),
]);

/// The members of `struct guard_set_entry`.
pub const SET_ENTRY_FIELDS: &[Field] = &fields([("key", SetKey::SIZE), ("value", 1), ("reserved", 3)]);

/// The members of `struct guard_image`, which [`crate::Image`] writes.
pub const IMAGE_FIELDS: &[Field] = &fields([
    ("magic", MAGIC.len()),
    ("entries", 4),
    ("build_id", BUILD_ID),
    ("reserved", 4),
    ("policy", sum(POLICY_FIELDS)),
    ("sets", MOST_SETS * sum(SET_ENTRY_FIELDS)),
]);

/// The members of `struct guard_incoming`.
pub const INCOMING_FIELDS: &[Field] = &fields([
    ("ready", 4),
    ("signature_size", 4),
    ("reason", 4),
    ("reserved", 4),
    ("what", 8),
    ("signature", SIGNATURE),
    ("image", sum(IMAGE_FIELDS)),
]);

/// How an image begins.
pub const MAGIC: &[u8; 4] = b"bpfg";

/// The size of a policy in bytes.
pub const POLICY_SIZE: usize = sum(POLICY_FIELDS);
/// The size of an image in bytes.
pub const IMAGE_SIZE: usize = sum(IMAGE_FIELDS);

/// Gives members the offsets that they have without holes.
const fn fields<const N: usize>(members: [(&'static str, usize); N]) -> [Field; N] {
    let mut fields = [Field { name: "", offset: 0, size: 0 }; N];
    let (mut offset, mut index) = (0, 0);
    while index < N {
        fields[index] = Field { name: members[index].0, offset, size: members[index].1 };
        offset += members[index].1;
        index += 1;
    }
    fields
}

#[cfg(test)]
mod tests;
