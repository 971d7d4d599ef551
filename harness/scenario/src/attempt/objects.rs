//! The keys of operations on programs, links and other objects.

use harness_protocol::plan::ObjectKind;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::attempt::{Common, operation};

operation! {
    /// The keys of `prog_bind_map`.
    ProgBindMap {
        /// The saved program.
        pub prog: String,
        /// The saved map.
        pub map: String,
    }
}

operation! {
    /// The keys of `prog_stream_read`.
    ProgStreamRead {
        /// The saved program.
        pub prog: String,
    }
}

operation! {
    /// The keys of `prog_assoc_struct_ops`.
    ProgAssocStructOps {
        /// The saved program.
        pub prog: String,
        /// The saved map.
        pub map: String,
    }
}

operation! {
    /// The keys of `next_id`.
    NextId {
        /// The kind of object.
        pub kind: ObjectKind,
        /// The id before it; by default 0.
        #[serde(default)]
        pub after: Option<u32>,
    }
}

operation! {
    /// The keys of `fd_by_id`.
    FdById, save {
        /// The saved object to open.
        pub object: String,
    }
}

operation! {
    /// The keys of `obj_info`.
    ObjInfo {
        /// The saved object.
        pub object: String,
    }
}

operation! {
    /// The keys of `prog_code`.
    ProgCode {
        /// The saved program.
        pub prog: String,
        /// Whether to count the instructions that the verifier processed instead, each as often as it did so.
        #[serde(default)]
        pub verified: bool,
    }
}

operation! {
    /// The keys of `task_fd_query`.
    TaskFdQuery {
        /// The saved link.
        pub object: String,
    }
}

operation! {
    /// The keys of `enable_stats`.
    EnableStats {}
}

operation! {
    /// The keys of `link_update`.
    LinkUpdate {
        /// The saved link.
        pub link: String,
        /// The saved program that the link gets.
        pub prog: String,
        /// The saved program that the link must have before (`BPF_F_REPLACE`); by default any.
        #[serde(default)]
        pub old: Option<String>,
    }
}

operation! {
    /// The keys of `link_detach`.
    LinkDetach {
        /// The saved link.
        pub link: String,
    }
}

operation! {
    /// The keys of `iter_create`.
    IterCreate {
        /// The saved link of an iterator.
        pub link: String,
    }
}
