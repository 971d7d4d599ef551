//! A replacement for pahole while mutants are built. A mutant changes what functions do, not their types: the type
//! information is made once, from the original kernel, and without debug information each link takes a fraction of the
//! time.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

const SCRIPT: &str = include_str!("pahole.sh");

/// The program, and the type information it returns.
#[derive(Debug)]
pub(super) struct StandIn {
    program: PathBuf,
    kept: PathBuf,
}

impl StandIn {
    /// Writes the program into a folder.
    pub(super) fn write(folder: &Path) -> io::Result<Self> {
        let stand_in = Self { program: folder.join("pahole"), kept: folder.join("kept.btf") };
        let kept = stand_in.kept.to_string_lossy().replace('\'', r"'\''");
        fs::write(&stand_in.program, SCRIPT.replace("@KEPT@", &kept))?;
        fs::set_permissions(&stand_in.program, fs::Permissions::from_mode(0o755))?;
        Ok(stand_in)
    }

    /// The program.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// Reports whether it has type information to return; until then it runs the real pahole and keeps the result.
    pub(super) fn is_primed(&self) -> bool {
        self.kept.exists()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn kept_type_information_is_written_to_a_detached_file() {
        let folder = tempfile::tempdir().unwrap();
        let stand_in = StandIn::write(folder.path()).unwrap();
        assert!(!stand_in.is_primed());
        fs::write(folder.path().join("kept.btf"), "types").unwrap();
        assert!(stand_in.is_primed());
        let into = folder.path().join("out.btf");
        let argument = format!("--btf_encode_detached={}", into.display());
        let status = Command::new(stand_in.program()).args(["-J", &argument, "vmlinux"]).status().unwrap();
        assert!(status.success());
        assert_eq!(fs::read_to_string(into).unwrap(), "types");
    }

    #[test]
    fn a_section_that_cannot_be_added_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let stand_in = StandIn::write(folder.path()).unwrap();
        fs::write(folder.path().join("kept.btf"), "types").unwrap();
        let gone = folder.path().join("gone");
        assert!(!Command::new(stand_in.program()).arg("-J").arg(gone).status().unwrap().success());
    }
}
