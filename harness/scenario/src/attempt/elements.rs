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
        /// The saved map.
        pub map: String,
        /// The bytes of the key: hexadecimal digits such as `"01 00 00 00"`, or a list of numbers. By default zeros.
        #[serde(default)]
        pub key: Option<Bytes>,
        /// The bytes of the value: hexadecimal digits such as `"01 00 00 00"`, or a list of numbers. By default zeros.
        #[serde(default)]
        pub value: Option<Bytes>,
        /// A saved object: its file descriptor is placed at the start of the value.
        #[serde(default)]
        pub holds: Option<String>,
    }
}

operation! {
    /// The keys of `map_lookup`.
    MapLookup {
        /// The saved map.
        pub map: String,
        /// The bytes of the key: hexadecimal digits such as `"01 00 00 00"`, or a list of numbers. By default zeros.
        #[serde(default)]
        pub key: Option<Bytes>,
    }
}

operation! {
    /// The keys of `map_delete`.
    MapDelete {
        /// The saved map.
        pub map: String,
        /// The bytes of the key: hexadecimal digits such as `"01 00 00 00"`, or a list of numbers. By default zeros.
        #[serde(default)]
        pub key: Option<Bytes>,
    }
}

operation! {
    /// The keys of `map_next_key`.
    MapNextKey {
        /// The saved map.
        pub map: String,
        /// The bytes of the key before it, such as `"01 00 00 00"`; by default the first key is requested.
        #[serde(default)]
        pub key: Option<Bytes>,
    }
}

operation! {
    /// The keys of `map_lookup_and_delete`.
    MapLookupAndDelete {
        /// The saved map.
        pub map: String,
        /// The bytes of the key: hexadecimal digits such as `"01 00 00 00"`, or a list of numbers. By default zeros.
        #[serde(default)]
        pub key: Option<Bytes>,
    }
}

operation! {
    /// The keys of `map_batch`.
    MapBatch {
        /// The saved map.
        pub map: String,
        /// What the call does.
        pub batch: BatchOp,
        /// The number of elements, by default 1: the keys 0, 1 and so on, with zeros as values.
        #[serde(default)]
        #[schemars(range(min = 1, max = 1024))]
        pub count: Option<u32>,
    }
}

operation! {
    /// The keys of `map_freeze`.
    MapFreeze {
        /// The saved map.
        pub map: String,
    }
}

operation! {
    /// The keys of `map_mmap`.
    MapMmap {
        /// The saved map: an array that was created with the flag `mmapable`.
        pub map: String,
        /// Whether it is also mapped for writing.
        #[serde(default)]
        pub write: bool,
    }
}
