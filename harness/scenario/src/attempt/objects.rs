//! The keys of operations on objects as such.

use harness_protocol::plan::ObjectKind;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::attempt::{Common, operation};

operation! {
    /// The keys of `prog_bind_map`.
    ProgBindMap {
        /// The program, by the name it was saved under.
        pub prog: String,
        /// The map, by the name it was saved under.
        pub map: String,
    }
}

operation! {
    /// The keys of `prog_stream_read`.
    ProgStreamRead {
        /// The program, by the name it was saved under.
        pub prog: String,
    }
}

operation! {
    /// The keys of `prog_assoc_struct_ops`.
    ProgAssocStructOps {
        /// The program, by the name it was saved under.
        pub prog: String,
        /// The map, by the name it was saved under.
        pub map: String,
    }
}

operation! {
    /// The keys of `next_id`.
    NextId {
        /// Of what.
        pub kind: ObjectKind,
        /// The id before it, by default 0.
        #[serde(default)]
        pub after: Option<u32>,
    }
}

operation! {
    /// The keys of `fd_by_id`.
    FdById, save {
        /// The object whose id is asked for, by the name it was saved under.
        pub object: String,
    }
}

operation! {
    /// The keys of `obj_info`.
    ObjInfo {
        /// The object, by the name it was saved under.
        pub object: String,
    }
}

operation! {
    /// The keys of `prog_code`.
    ProgCode {
        /// The program, by the name it was saved under.
        pub prog: String,
    }
}

operation! {
    /// The keys of `task_fd_query`.
    TaskFdQuery {
        /// The link, by the name it was saved under.
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
        /// The link, by the name it was saved under.
        pub link: String,
        /// The new program, by the name it was saved under.
        pub prog: String,
        /// The program it must have so far, likewise (`BPF_F_REPLACE`); by default any.
        #[serde(default)]
        pub old: Option<String>,
    }
}

operation! {
    /// The keys of `link_detach`.
    LinkDetach {
        /// The link, by the name it was saved under.
        pub link: String,
    }
}

operation! {
    /// The keys of `iter_create`.
    IterCreate {
        /// The link of an iterator, by the name it was saved under.
        pub link: String,
    }
}
