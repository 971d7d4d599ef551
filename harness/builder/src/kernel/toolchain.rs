//! The programs that make a kernel: another version of one of them may make another kernel.

use serde::{Deserialize, Serialize};
use xshell::cmd;

use crate::{
    command::{self, CommandError},
    digest::Sha256,
};

/// The versions of the programs whose output ends up in a kernel, each as the program says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Toolchain {
    /// The compiler.
    pub gcc: String,
    /// The linker.
    pub ld: String,
    /// What turns debug information into BTF.
    pub pahole: String,
}

impl Toolchain {
    /// The toolchain of this machine; an error names what is not installed.
    pub fn of_this_machine() -> Result<Self, CommandError> {
        Ok(Self { gcc: version("gcc")?, ld: version("ld")?, pahole: version("pahole")? })
    }

    /// A sum of all versions.
    pub fn sum(&self) -> Sha256 {
        Sha256::of_parts([&self.gcc, &self.ld, &self.pahole].map(|version| version.as_bytes()))
    }
}

/// The first line a program prints of its version.
fn version(program: &str) -> Result<String, CommandError> {
    let text = command::output(|shell| cmd!(shell, "{program} --version").env("LC_ALL", "C"))?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}
