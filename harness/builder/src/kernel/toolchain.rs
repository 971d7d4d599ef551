//! The programs that build a kernel: another version of one of them may make another kernel.

use serde::{Deserialize, Serialize};

use crate::{
    command::CommandError,
    compilers::{self, Compiler},
    digest::Sha256,
};

/// The versions of the programs whose output is in a kernel, each as the program prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Toolchain {
    /// The compiler.
    pub gcc: String,
    /// The linker.
    pub ld: String,
    /// The program that converts debug information to BTF.
    pub pahole: String,
}

impl Toolchain {
    /// Returns the toolchain of this machine; the error names a missing program.
    pub fn of_this_machine() -> Result<Self, CommandError> {
        Ok(Self { gcc: version(&compilers::GCC)?, ld: version(&compilers::LD)?, pahole: version(&compilers::PAHOLE)? })
    }

    /// Computes a sum of all versions.
    pub fn sum(&self) -> Sha256 {
        Sha256::of_parts([&self.gcc, &self.ld, &self.pahole].map(|version| version.as_bytes()))
    }
}

/// Returns the first line of a program's version output.
fn version(compiler: &Compiler) -> Result<String, CommandError> {
    Ok(compiler.version()?.lines().next().unwrap_or_default().trim().to_owned())
}
