//! The object files that proofs are about.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use harness_objects::Named;
use harness_protocol::plan::LARGEST_OBJECT;

use super::ProofError;
use crate::file;

/// A BPF object file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    name: String,
    bytes: Arc<[u8]>,
}

impl Object {
    /// An object of these bytes, which need not be one: that is for libbpf to say.
    ///
    /// # Errors
    /// [`ProofError::Object`] if it is too large.
    pub fn new(name: &str, bytes: impl Into<Arc<[u8]>>) -> Result<Self, ProofError> {
        let (name, bytes) = (name.to_owned(), bytes.into());
        if bytes.len() as u64 > LARGEST_OBJECT {
            let why = format!("it is larger than {LARGEST_OBJECT} bytes");
            return Err(ProofError::Object { path: PathBuf::from(name), why });
        }
        Ok(Self { name, bytes })
    }

    /// Reads one, which is called as its file is.
    ///
    /// # Errors
    /// [`ProofError::Object`] if it cannot be read or is too large.
    pub fn read(path: &Path) -> Result<Self, ProofError> {
        let failed = |error: std::io::Error| ProofError::Object { path: path.to_owned(), why: error.to_string() };
        Self::new(&path.display().to_string(), file::read(path, LARGEST_OBJECT).map_err(failed)?)
    }

    /// Those that were read, as proofs take them.
    ///
    /// # Errors
    /// [`ProofError::Object`] if one is too large.
    pub fn all<'a>(named: impl IntoIterator<Item = &'a Named>) -> Result<Vec<Self>, ProofError> {
        named.into_iter().map(|one| Self::new(&one.name, one.bytes.clone())).collect()
    }

    /// Its name, as it is told.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn bytes(&self) -> Arc<[u8]> {
        Arc::clone(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_or_too_large_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.bpf.o");
        assert!(Object::read(&path).unwrap_err().to_string().contains("x.bpf.o cannot be used: No such file"));
        std::fs::File::create(&path).unwrap().set_len(LARGEST_OBJECT + 1).unwrap();
        assert!(Object::read(&path).unwrap_err().to_string().contains("larger than 4194304 bytes"));
        std::fs::write(&path, b"no object").unwrap();
        assert_eq!(*Object::read(&path).unwrap().bytes(), *b"no object");
    }
}
