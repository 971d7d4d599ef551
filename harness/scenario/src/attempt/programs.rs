//! The keys of the operation that runs a program.

use std::collections::BTreeMap;

use harness_protocol::plan::ExecToken;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::attempt::{Common, operation};

operation! {
    /// The keys of `exec`.
    Exec {
        /// The absolute path of the program: in the image, or one of `files`.
        pub program: String,
        /// Its arguments.
        #[serde(default)]
        #[schemars(length(max = 64))]
        pub args: Vec<String>,
        /// Its environment, beside `PATH` and `HOME`.
        #[serde(default)]
        pub env: BTreeMap<String, String>,
        /// Files that are there while the scenario runs, by their absolute path: each is an object, written as `file` of `object` is.
        #[serde(default)]
        pub files: BTreeMap<String, String>,
        /// Whose token it uses: `inject` hands one over with each call that takes one, for programs that know none; `own`
        /// leaves the program to itself; `none` is `own` with the empty `LIBBPF_BPF_TOKEN_PATH`, so that libbpf makes none.
        #[serde(default)]
        pub token: ExecToken,
        /// Text of its output with which it counts as done, although it goes on. By default it has to end by itself, with
        /// status 0.
        #[serde(default)]
        pub until: Option<String>,
        /// How long it may take, in seconds.
        #[serde(default = "seconds")]
        #[schemars(range(min = 1, max = 120))]
        pub limit: u32,
    }
}

const fn seconds() -> u32 {
    20
}
