//! The keys of operations on a bpffs: its options, its mounts and its pins.

use harness_protocol::plan::{Holding, PinLocation};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    attempt::{Common, operation},
    choice::Flag,
};

operation! {
    /// The keys of `mount_delegate`.
    MountDelegate {
        /// Options such as `"delegate_cmds=map_create"`, passed to the kernel unchanged and in this order.
        pub options: Vec<String>,
        /// Whether the file system is then created (`FSCONFIG_CMD_CREATE`).
        #[serde(default)]
        pub create: bool,
    }
}

operation! {
    /// The keys of `obj_pin`.
    ObjPin {
        /// The saved object.
        pub object: String,
        /// The file name: letters, digits, `_` and `-`; with `expect = "malformed"` also dots.
        pub path: String,
        /// Where the object is pinned.
        #[serde(default)]
        pub place: PinLocation,
        /// The mode that the file then gets (`chmod(2)`), in octal digits such as `"644"`; by default that of the
        /// kernel.
        #[serde(default)]
        pub mode: Option<String>,
    }
}

operation! {
    /// The keys of `obj_get`.
    ObjGet, save {
        /// The file name under which an earlier attempt pinned the object in the same bpffs.
        pub path: String,
        /// The access: `["rdonly"]` or `["wronly"]`; by default both.
        #[serde(default)]
        pub flags: Option<Vec<Flag>>,
    }
}

operation! {
    /// The keys of `remount`.
    Remount {
        /// Whose bpffs is changed: the name of a container, or `host`. By default the actor's own.
        #[serde(default)]
        pub from: Option<String>,
        /// Options such as `"delegate_cmds=map_create"`, passed to the kernel unchanged and in this order.
        pub options: Vec<String>,
    }
}

operation! {
    /// The keys of `umount`.
    Umount {
        /// What the actor keeps open of the mount during the attempt.
        #[serde(default)]
        pub holding: Holding,
    }
}
