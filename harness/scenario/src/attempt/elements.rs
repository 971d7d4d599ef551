//! The keys of operations on the elements of a map.

use harness_protocol::plan::BatchOp;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    attempt::{Common, operation},
    choice::Bytes,
};

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
        /// The saved object whose file descriptor the value begins with.
        #[serde(default)]
        pub holds: Option<String>,
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
    /// The keys of `map_delete`.
    MapDelete {
        /// The map, by the name it was saved under.
        pub map: String,
        /// The key's bytes, by default zeros.
        #[serde(default)]
        pub key: Option<Bytes>,
    }
}

operation! {
    /// The keys of `map_next_key`.
    MapNextKey {
        /// The map, by the name it was saved under.
        pub map: String,
        /// The bytes of the key before it; without it the first key is asked for.
        #[serde(default)]
        pub key: Option<Bytes>,
    }
}

operation! {
    /// The keys of `map_lookup_and_delete`.
    MapLookupAndDelete {
        /// The map, by the name it was saved under.
        pub map: String,
        /// The key's bytes, by default zeros.
        #[serde(default)]
        pub key: Option<Bytes>,
    }
}

operation! {
    /// The keys of `map_batch`.
    MapBatch {
        /// The map, by the name it was saved under.
        pub map: String,
        /// What is done.
        pub batch: BatchOp,
        /// How many elements, by default 1: the keys 0, 1 and so on, with values of zeros.
        #[serde(default)]
        #[schemars(range(min = 1, max = 1024))]
        pub count: Option<u32>,
    }
}

operation! {
    /// The keys of `map_freeze`.
    MapFreeze {
        /// The map, by the name it was saved under.
        pub map: String,
    }
}

operation! {
    /// The keys of `map_mmap`.
    MapMmap {
        /// The map, by the name it was saved under: an array made with the flag `mmapable`.
        pub map: String,
        /// Whether it is mapped for writing too.
        #[serde(default)]
        pub write: bool,
    }
}
