//! The keys of operations on a bpffs: its options, its mounts, and what is pinned in it.

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
        /// A file name: letters, digits, `_` and `-`; dots too where it is to be refused to everybody.
        pub path: String,
        /// Where.
        #[serde(default)]
        pub place: PinLocation,
        /// The permissions its file is given then, in octal digits such as `"644"` (`chmod(2)`); by default those the
        /// kernel gave it.
        #[serde(default)]
        pub mode: Option<String>,
    }
}

operation! {
    /// The keys of `obj_get`.
    ObjGet, save {
        /// The name an earlier attempt of the same actor pinned it under.
        pub path: String,
        /// What the descriptor is for: `rdonly` or `wronly`, by default both.
        #[serde(default)]
        pub flags: Option<Vec<Flag>>,
    }
}

operation! {
    /// The keys of `remount`.
    Remount {
        /// Whose bpffs: the name of a container, or `host`. By default the actor's own.
        #[serde(default)]
        pub from: Option<String>,
        /// Options as `key=value`, set in this order and handed to the kernel as they are.
        pub options: Vec<String>,
    }
}

operation! {
    /// The keys of `umount`.
    Umount {
        /// What is held of the mount meanwhile.
        #[serde(default)]
        pub holding: Holding,
    }
}
