//! Programs to run in VMs.

use std::sync::Arc;

use harness_protocol::plan::Exec;

/// A program of the user's, with all files that it needs and the image lacks.
#[derive(Clone, Debug)]
pub struct Program {
    /// How it is run; its files and commands are set for each kernel.
    pub exec: Exec,
    /// The files, each a copy at its own path.
    pub files: Vec<ProgramFile>,
    /// Whether it counts as working wherever it ends as it should, whatever it is refused meanwhile.
    pub with_losses: bool,
}

/// A file of a program.
#[derive(Clone, Debug)]
pub struct ProgramFile {
    /// Its absolute path in the guest.
    pub path: String,
    /// What it is.
    pub content: ProgramContent,
}

/// What a file of a program is.
#[derive(Clone, Debug)]
pub enum ProgramContent {
    /// A regular file.
    File {
        /// Its content.
        bytes: Arc<[u8]>,
        /// Whether it can be executed.
        executable: bool,
    },
    /// A symbolic link with this content.
    Link(String),
    /// A folder.
    Folder,
}

impl Program {
    /// Returns its name, as shown in results: its path.
    pub fn name(&self) -> &str {
        &self.exec.program
    }
}
