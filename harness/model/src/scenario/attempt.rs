//! The operations a scenario can attempt, and the keys of each.

use schemars::JsonSchema;
use serde::Deserialize;

use super::choice::{Bytes, Flag, TokenChoice};
use crate::{plan::BpffsFd, verdict::Expect};

/// The keys that every operation has, and those some have.
#[derive(Clone, Copy, Debug)]
pub struct Common<'a> {
    /// Who makes the attempt; the container named `container` if `None`.
    pub by: Option<&'a str>,
    /// What it is meant to give, where that is known.
    pub expect: Option<Expect>,
    /// The token it hands over, if it is written.
    pub token: Option<&'a TokenChoice>,
    /// Whether the operation takes a token at all.
    pub takes_token: bool,
    /// The name its result is kept under.
    pub save: Option<&'a str>,
}

/// Declares the keys of an operation: those of every operation, `token` and `save` where it has them, and its own.
macro_rules! operation {
    ($(#[$meta:meta])* $name:ident { $($own:tt)* }) => {
        operation!(@struct [$(#[$meta])*] $name {} { $($own)* });
        operation!(@common $name, |op| None, false, None);
    };
    ($(#[$meta:meta])* $name:ident, save { $($own:tt)* }) => {
        operation!(@struct [$(#[$meta])*] $name {
            /// The name under which later attempts find the resulting file descriptor.
            #[serde(default)]
            pub save: Option<String>,
        } { $($own)* });
        operation!(@common $name, |op| None, false, op.save.as_deref());
    };
    ($(#[$meta:meta])* $name:ident, token { $($own:tt)* }) => {
        operation!(@struct [$(#[$meta])*] $name {
            /// The token it is about: `true` for the one the container made while it was set up, or the name an earlier
            /// attempt saved one under.
            #[serde(default)]
            pub token: Option<TokenChoice>,
        } { $($own)* });
        operation!(@common $name, |op| op.token.as_ref(), true, None);
    };
    ($(#[$meta:meta])* $name:ident, token, save { $($own:tt)* }) => {
        operation!(@struct [$(#[$meta])*] $name {
            /// The token handed over: `true` for the one the container made while it was set up, `false` for none, or
            /// the name an earlier attempt saved one under. By default `true` where the container's bpffs delegates
            /// anything, else `false`.
            #[serde(default)]
            pub token: Option<TokenChoice>,
            /// The name under which later attempts find the resulting file descriptor.
            #[serde(default)]
            pub save: Option<String>,
        } { $($own)* });
        operation!(@common $name, |op| op.token.as_ref(), true, op.save.as_deref());
    };
    (@struct [$($meta:tt)*] $name:ident { $($shared:tt)* } { $($own:tt)* }) => {
        $($meta)*
        #[derive(Clone, Debug, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($own)*
            /// Who makes the attempt: the name of a container, or `host` for full root outside of all containers.
            /// By default `container`.
            #[serde(default)]
            pub by: Option<String>,
            $($shared)*
            /// What it must give.
            #[serde(default)]
            pub expect: Option<Expect>,
        }
    };
    (@common $name:ident, |$op:ident| $token:expr, $takes:literal, $save:expr) => {
        impl $name {
            fn common(&self) -> Common<'_> {
                let $op = self;
                Common { by: $op.by.as_deref(), expect: $op.expect, token: $token, takes_token: $takes, save: $save }
            }
        }
    };
}

operation! {
    /// The keys of `token_create`.
    TokenCreate, save {
        /// Whose bpffs: the name of a container, or `host`. By default the actor's own.
        #[serde(default)]
        pub from: Option<String>,
        /// Which file descriptor of it.
        #[serde(default)]
        pub fd: BpffsFd,
    }
}

operation! {
    /// The keys of `map_create`.
    MapCreate, token, save {
        /// The map type.
        #[serde(rename = "type")]
        pub map_type: String,
        /// Bytes of a key.
        #[serde(default)]
        pub key_size: Option<u32>,
        /// Bytes of a value.
        #[serde(default)]
        pub value_size: Option<u32>,
        /// The number of entries.
        #[serde(default)]
        pub max_entries: Option<u32>,
        /// Flags by name, such as `no_prealloc`, or as numbers.
        #[serde(default)]
        pub flags: Option<Vec<Flag>>,
        /// The saved map that serves as the pattern of a map of maps.
        #[serde(default)]
        pub inner_map: Option<String>,
    }
}

operation! {
    /// The keys of `prog_load`.
    ProgLoad, token, save {
        /// The program type.
        #[serde(rename = "type")]
        pub prog_type: String,
        /// The expected attach type; by default the one its type needs, or the type's number 0, which is
        /// `cgroup_inet_ingress`.
        #[serde(default)]
        pub attach: Option<String>,
        /// Flags by name, such as `sleepable`, or as numbers; by default what its type needs.
        #[serde(default)]
        pub flags: Option<Vec<Flag>>,
        /// What the program returns; by default what its type may return.
        #[serde(default)]
        pub returns: Option<i32>,
        /// Its licence, by default `GPL`.
        #[serde(default)]
        pub license: Option<String>,
    }
}

operation! {
    /// The keys of `btf_load`.
    BtfLoad, token, save {}
}

operation! {
    /// The keys of `btf_get_fd_by_id`.
    BtfGetFdById, token, save {
        /// The id; by default 1, the kernel's own.
        #[serde(default)]
        pub id: Option<u32>,
    }
}

operation! {
    /// The keys of `token_info`.
    TokenInfo, token {}
}

operation! {
    /// The keys of `mount_delegate`.
    MountDelegate {
        /// Options as `key=value`, set in this order and handed to the kernel as they are.
        pub options: Vec<String>,
        /// Whether the file system is created afterwards (`FSCONFIG_CMD_CREATE`).
        #[serde(default)]
        pub create: bool,
    }
}

operation! {
    /// The keys of `obj_pin`.
    ObjPin {
        /// The object, by the name it was saved under.
        pub object: String,
        /// A file name: letters, digits, `_` and `-`.
        pub path: String,
    }
}

operation! {
    /// The keys of `obj_get`.
    ObjGet, save {
        /// The name an earlier attempt of the same actor pinned it under.
        pub path: String,
    }
}

operation! {
    /// The keys of `map_update`.
    MapUpdate {
        /// The map, by the name it was saved under.
        pub map: String,
        /// The key's bytes, by default zeros.
        #[serde(default)]
        pub key: Option<Bytes>,
        /// The value's bytes, by default zeros.
        #[serde(default)]
        pub value: Option<Bytes>,
    }
}

operation! {
    /// The keys of `map_lookup`.
    MapLookup {
        /// The map, by the name it was saved under.
        pub map: String,
        /// The key's bytes, by default zeros.
        #[serde(default)]
        pub key: Option<Bytes>,
    }
}

operation! {
    /// The keys of `prog_test_run`.
    ProgTestRun {
        /// The program, by the name it was saved under.
        pub prog: String,
    }
}

operation! {
    /// The keys of `link_create`.
    LinkCreate, save {
        /// The program, by the name it was saved under.
        pub prog: String,
        /// The attach type; by default what the program was loaded for, or the usual one of its type.
        #[serde(default)]
        pub attach: Option<String>,
        /// `interface:NAME` (`dummy0` and `lo` exist), `cgroup` for the container's own, `root-cgroup`, or
        /// `netfilter:FAMILY:HOOK:PRIORITY` such as `netfilter:ipv4:local_out:0`.
        pub target: String,
    }
}

/// One attempt: an operation by one actor.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Attempt {
    /// Makes a token from a bpffs (`BPF_TOKEN_CREATE`), after capabilities were dropped. Not needed for `token = true`:
    /// that token was made while the container was set up.
    TokenCreate(TokenCreate),
    /// Makes a map (`BPF_MAP_CREATE`). Sizes, number of entries and flags are by default what its type needs.
    MapCreate(MapCreate),
    /// Loads a program that returns a constant (`BPF_PROG_LOAD`).
    ProgLoad(ProgLoad),
    /// Loads a small type description (`BPF_BTF_LOAD`).
    BtfLoad(BtfLoad),
    /// Opens a loaded type description by its id (`BPF_BTF_GET_FD_BY_ID`).
    BtfGetFdById(BtfGetFdById),
    /// Asks what a token allows (`BPF_OBJ_GET_INFO_BY_FD`).
    TokenInfo(TokenInfo),
    /// Opens a bpffs and sets mount options on it (`fsopen(2)`, `fsconfig(2)`), all by the actor itself.
    MountDelegate(MountDelegate),
    /// Gives an object a name in the actor's bpffs (`BPF_OBJ_PIN`).
    ObjPin(ObjPin),
    /// Opens an object by its name in the actor's bpffs (`BPF_OBJ_GET`).
    ObjGet(ObjGet),
    /// Sets an element of a map (`BPF_MAP_UPDATE_ELEM`).
    MapUpdate(MapUpdate),
    /// Reads an element of a map (`BPF_MAP_LOOKUP_ELEM`).
    MapLookup(MapLookup),
    /// Runs a program once on a packet of 64 bytes (`BPF_PROG_TEST_RUN`).
    ProgTestRun(ProgTestRun),
    /// Attaches a program (`BPF_LINK_CREATE`).
    LinkCreate(LinkCreate),
}

impl Attempt {
    /// Its operation, as it is written.
    pub const fn op(&self) -> &'static str {
        match self {
            Self::TokenCreate(_) => "token_create",
            Self::MapCreate(_) => "map_create",
            Self::ProgLoad(_) => "prog_load",
            Self::BtfLoad(_) => "btf_load",
            Self::BtfGetFdById(_) => "btf_get_fd_by_id",
            Self::TokenInfo(_) => "token_info",
            Self::MountDelegate(_) => "mount_delegate",
            Self::ObjPin(_) => "obj_pin",
            Self::ObjGet(_) => "obj_get",
            Self::MapUpdate(_) => "map_update",
            Self::MapLookup(_) => "map_lookup",
            Self::ProgTestRun(_) => "prog_test_run",
            Self::LinkCreate(_) => "link_create",
        }
    }

    /// The keys it shares with other operations.
    pub fn common(&self) -> Common<'_> {
        match self {
            Self::TokenCreate(op) => op.common(),
            Self::MapCreate(op) => op.common(),
            Self::ProgLoad(op) => op.common(),
            Self::BtfLoad(op) => op.common(),
            Self::BtfGetFdById(op) => op.common(),
            Self::TokenInfo(op) => op.common(),
            Self::MountDelegate(op) => op.common(),
            Self::ObjPin(op) => op.common(),
            Self::ObjGet(op) => op.common(),
            Self::MapUpdate(op) => op.common(),
            Self::MapLookup(op) => op.common(),
            Self::ProgTestRun(op) => op.common(),
            Self::LinkCreate(op) => op.common(),
        }
    }
}
