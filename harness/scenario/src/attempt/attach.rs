//! The keys of operations that attach programs, take them off, or ask what is attached.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    attempt::{Common, operation},
    choice::Flag,
};

operation! {
    /// The keys of `prog_attach`.
    ProgAttach {
        /// The program, by the name it was saved under.
        pub prog: String,
        /// The attach type; by default what the program was loaded for, or the usual one of its type.
        #[serde(default)]
        pub attach: Option<String>,
        /// `cgroup`, `root-cgroup`, `interface:NAME`, `netns`, `map:SAVED` or `lirc`; `cgroup of NAME`,
        /// `interface:NAME of NAME` for another container's.
        pub target: String,
        /// Flags by name, such as `allow_multi`, or as numbers; none by default.
        #[serde(default)]
        pub flags: Option<Vec<Flag>>,
        /// Whether it stays there after the attempt; it is taken off at once otherwise.
        #[serde(default)]
        pub stays: bool,
    }
}

operation! {
    /// The keys of `prog_detach`.
    ProgDetach {
        /// The program, by the name it was saved under; without it whichever is there.
        #[serde(default)]
        pub prog: Option<String>,
        /// The attach type; by default what the program was loaded for, or the usual one of its type.
        #[serde(default)]
        pub attach: Option<String>,
        /// `cgroup`, `root-cgroup`, `interface:NAME`, `netns`, `map:SAVED` or `lirc`.
        pub target: String,
    }
}

operation! {
    /// The keys of `prog_query`.
    ProgQuery {
        /// The attach type asked about.
        pub attach: String,
        /// `cgroup`, `root-cgroup`, `interface:NAME`, `netns`, `map:SAVED` or `lirc`.
        pub target: String,
    }
}

operation! {
    /// The keys of `link_create`.
    LinkCreate, save {
        /// The program, by the name it was saved under; for `struct-ops` the map.
        pub prog: String,
        /// The attach type; by default what the program was loaded for, or the usual one of its type.
        #[serde(default)]
        pub attach: Option<String>,
        /// `interface:NAME` (`dummy0`, `netkit0` and `lo` exist), `cgroup` for the container's own, `root-cgroup`,
        /// `netns` for the actor's own, `netfilter:FAMILY:HOOK:PRIORITY` such as `netfilter:ipv4:local_out:0`,
        /// `perf-event` for one of the actor itself, `kprobe:FUNCTION` and `function:FUNCTION` of the kernel, `uprobe`
        /// for one of the guest program, `map:SAVED` for a map of sockets, `elements:SAVED` for an iterator over a map,
        /// `struct-ops` for the map that stands in the program's place, or `none`. Another container's are written
        /// `cgroup of NAME`, `netns of NAME`, `interface:dummy0 of NAME`.
        pub target: String,
    }
}

operation! {
    /// The keys of `raw_tracepoint_open`.
    RawTracepointOpen, save {
        /// The program, by the name it was saved under.
        pub prog: String,
        /// The tracepoint; without it the one the program was loaded for.
        #[serde(default)]
        pub name: Option<String>,
    }
}
