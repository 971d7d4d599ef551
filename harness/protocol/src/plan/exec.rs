//! Running a program that knows nothing of the harness, with its system calls recorded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::TokenCommand;

/// A program, and how it is run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    /// The absolute path of the program in the guest.
    pub program: String,
    /// Its arguments, without the program's own name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Its environment, beside `PATH` and `HOME`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The folder that it starts in; `/` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Files that are there while it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PlacedFile>,
    /// Whose token it uses.
    #[serde(default)]
    pub token: ExecToken,
    /// The commands of this kernel that take a token: what one is handed over for, if it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<TokenCommand>,
    /// Text of its output with which it counts as done, although it goes on; `None` if it has to end by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// How long it may take, in milliseconds.
    pub limit_ms: u64,
    /// Whether it is recorded where in the program each call is made. It must be in the initial pid namespace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sites: bool,
    /// Whether a denial gets no search for its cause, because the attempt is itself part of such a search.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unexplained: bool,
}

/// A file that the guest program puts into the guest's file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlacedFile {
    /// Its absolute path in the guest.
    pub path: String,
    /// What is there.
    pub content: PlacedContent,
}

/// What a placed file is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PlacedContent {
    /// A regular file.
    File {
        /// While a plan is expanded, the name of an object in the scenario; in a guest's plan, the name of a file in
        /// [`PLACED_FOLDER`] of the run folder.
        name: String,
        /// Whether it can be executed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        executable: bool,
    },
    /// A symbolic link.
    Link {
        /// What it contains.
        to: String,
    },
    /// A folder; nothing happens where there is one.
    Folder,
}

impl PlacedContent {
    /// Returns the name of a regular file's content.
    pub fn name(&self) -> Option<&String> {
        match self {
            Self::File { name, .. } => Some(name),
            Self::Link { .. } | Self::Folder => None,
        }
    }

    /// Returns the name of a regular file's content for renaming.
    pub fn name_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::File { name, .. } => Some(name),
            Self::Link { .. } | Self::Folder => None,
        }
    }
}

/// Whose token a program uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ExecToken {
    /// One that is made for it and handed over with each of its calls that takes one and has none.
    #[default]
    Inject,
    /// One that it makes itself, if it knows how.
    Own,
    /// None: as `own`, with the empty `LIBBPF_BPF_TOKEN_PATH` that keeps libbpf from making one.
    None,
}

/// The folder of the files to place, in the run folder.
pub const PLACED_FOLDER: &str = "placed";

/// The largest file that is placed, in bytes.
pub const LARGEST_PLACED: u64 = 64 * 1024 * 1024;
