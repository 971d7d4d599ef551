//! The keys of operations that attach or detach programs, or query what is attached.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    attempt::{Common, operation},
    choice::Flag,
};

operation! {
    /// The keys of `prog_attach`.
    ProgAttach {
        /// The saved program.
        pub prog: String,
        /// The attach type, such as `"tcx_ingress"`; by default the one that the program was loaded for, or the usual
        /// one of its type.
        #[serde(default)]
        pub attach: Option<String>,
        /// What to attach to: `cgroup`, `root-cgroup`, `interface:NAME`, `netns`, `map:SAVED` or `lirc`; `cgroup of
        /// NAME` or `interface:NAME of NAME` for that of another container.
        pub target: String,
        /// Flags by name, such as `["allow_multi"]`, or as numbers; by default none.
        #[serde(default)]
        pub flags: Option<Vec<Flag>>,
        /// Whether the program stays attached after the attempt; otherwise it is detached at once.
        #[serde(default)]
        pub stays: bool,
    }
}

operation! {
    /// The keys of `prog_detach`.
    ProgDetach {
        /// The saved program; by default whichever is attached.
        #[serde(default)]
        pub prog: Option<String>,
        /// The attach type, such as `"tcx_ingress"`; by default the one that the program was loaded for, or the usual
        /// one of its type.
        #[serde(default)]
        pub attach: Option<String>,
        /// What to detach from: `cgroup`, `root-cgroup`, `interface:NAME`, `netns`, `map:SAVED` or `lirc`.
        pub target: String,
    }
}

operation! {
    /// The keys of `prog_query`.
    ProgQuery {
        /// The attach type to query, such as `"cgroup_device"`.
        pub attach: String,
        /// What to query: `cgroup`, `root-cgroup`, `interface:NAME`, `netns`, `map:SAVED` or `lirc`.
        pub target: String,
    }
}

operation! {
    /// The keys of `link_create`.
    LinkCreate, save {
        /// The saved program, or with the target `struct-ops` the saved map.
        pub prog: String,
        /// The attach type, such as `"tcx_ingress"`; by default the one that the program was loaded for, or the usual
        /// one of its type.
        #[serde(default)]
        pub attach: Option<String>,
        /// What to attach to: `interface:NAME` (`dummy0`, `netkit0` and `lo` exist), `cgroup` for the container's own,
        /// `root-cgroup`, `netns` for the actor's own, `netfilter:FAMILY:HOOK:PRIORITY` such as
        /// `netfilter:ipv4:local_out:0`, `perf-event` for a perf event of the actor, `event:SAVED` for a
        /// saved one, `kprobe:FUNCTION` or `function:FUNCTION` for a kernel function, `uprobe` for a function of the guest program, `map:SAVED` for a
        /// map of sockets, `elements:SAVED` for an iterator over a map, `struct-ops` for the map that replaces the
        /// program, or `none`. Those of another container are written `cgroup of NAME`, `netns of NAME` and
        /// `interface:dummy0 of NAME`.
        pub target: String,
    }
}

operation! {
    /// The keys of `raw_tracepoint_open`.
    RawTracepointOpen, save {
        /// The saved program.
        pub prog: String,
        /// The tracepoint, such as `"sys_enter"`; by default the one that the program was loaded for.
        #[serde(default)]
        pub name: Option<String>,
    }
}
