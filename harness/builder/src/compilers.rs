//! What the programs that compile kernels, objects and the guest program say of their version: the keys of what they
//! make depend on it. Each is asked once a process.

use std::{
    sync::{Mutex, PoisonError},
    thread,
};

use xshell::cmd;

use crate::command::{self, CommandError};

/// A program that is asked for its version.
#[derive(Debug)]
pub(crate) struct Compiler {
    program: &'static str,
    option: &'static str,
    answer: Mutex<Option<String>>,
}

/// The compiler of kernels.
pub(crate) static GCC: Compiler = Compiler::new("gcc", "--version");
/// The linker of kernels.
pub(crate) static LD: Compiler = Compiler::new("ld", "--version");
/// The program that converts a kernel's debug information to BTF.
pub(crate) static PAHOLE: Compiler = Compiler::new("pahole", "--version");
/// The compiler of BPF programs.
pub(crate) static CLANG: Compiler = Compiler::new("clang", "--version");
/// The compiler of the guest program; the toolchain is that of the working directory (rustup's overrides).
pub(crate) static RUSTC: Compiler = Compiler::new("rustc", "-vV");

impl Compiler {
    const fn new(program: &'static str, option: &'static str) -> Self {
        Self { program, option, answer: Mutex::new(None) }
    }

    /// Returns what the program prints of its version, in English. Whoever asks while another asks waits for its answer.
    ///
    /// # Errors
    /// [`CommandError`] if it is missing or fails; it is asked again the next time.
    pub(crate) fn version(&self) -> Result<String, CommandError> {
        let mut known = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = &*known {
            return Ok(answer.clone());
        }
        let Self { program, option, .. } = self;
        let answer = command::output(|shell| cmd!(shell, "{program} {option}").env("LC_ALL", "C"))?;
        Ok(known.insert(answer).clone())
    }
}

/// Asks those whose answer takes long, in the background: clang loads large libraries, and rustup looks for its toolchain
/// first. What is missing is told by whoever needs it.
pub fn ask_ahead() {
    for compiler in [&CLANG, &RUSTC] {
        thread::spawn(|| drop(compiler.version()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_missing_is_named_and_one_that_answers_is_asked_once() {
        let missing = Compiler::new("no-such-compiler", "--version");
        assert!(missing.version().unwrap_err().to_string().contains("no-such-compiler"));
        let clock = Compiler::new("date", "+%N");
        assert_eq!(clock.version().unwrap(), clock.version().unwrap());
    }
}
