//! Object files to prove.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use harness_objects::Named;
use harness_protocol::plan::{LARGEST_OBJECT, MapSize};

use super::ProofError;
use crate::file;

/// A BPF object file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    name: String,
    bytes: Arc<[u8]>,
    sizes: Vec<MapSize>,
}

impl Object {
    /// Creates an object of these bytes. They may be invalid: that is for libbpf to decide.
    ///
    /// # Errors
    /// [`ProofError::Object`] if it is too large.
    pub fn new(name: &str, bytes: impl Into<Arc<[u8]>>) -> Result<Self, ProofError> {
        let (name, bytes) = (name.to_owned(), bytes.into());
        if bytes.len() as u64 > LARGEST_OBJECT {
            let why = format!("it is larger than {LARGEST_OBJECT} bytes");
            return Err(ProofError::Object { path: PathBuf::from(name), why });
        }
        Ok(Self { name, bytes, sizes: Vec::new() })
    }

    /// Reads an object, named by its path.
    ///
    /// # Errors
    /// [`ProofError::Object`] if it cannot be read or is too large.
    pub fn read(path: &Path) -> Result<Self, ProofError> {
        let failed = |error: std::io::Error| ProofError::Object { path: path.to_owned(), why: error.to_string() };
        Self::new(&path.display().to_string(), file::read(path, LARGEST_OBJECT).map_err(failed)?)
    }

    /// Sets sizes of its maps before it is loaded.
    pub fn with_sizes(self, sizes: Vec<MapSize>) -> Self {
        Self { sizes, ..self }
    }

    /// Converts objects that were read, with the sizes of their maps.
    ///
    /// # Errors
    /// [`ProofError::Object`] if one is too large.
    pub fn all<'a>(named: impl IntoIterator<Item = &'a Named>) -> Result<Vec<Self>, ProofError> {
        let size = |size: &harness_objects::MapSize| MapSize { map: size.map.clone(), max_entries: size.max_entries };
        let one = |one: &Named| {
            let sizes = one.object.sizes.iter().map(size).collect();
            Ok(Self::new(&one.name, one.bytes.clone())?.with_sizes(sizes))
        };
        named.into_iter().map(one).collect()
    }

    /// Returns its name, as shown in results.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn sizes(&self) -> &[MapSize] {
        &self.sizes
    }

    pub(super) fn bytes(&self) -> Arc<[u8]> {
        Arc::clone(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_too_large_object_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.bpf.o");
        let message =
            || Object::read(&path).unwrap_err().to_string().replace(folder.path().to_str().unwrap(), "FOLDER");
        insta::assert_snapshot!(message(), @"object FOLDER/x.bpf.o cannot be used: No such file or directory (os error 2)");
        std::fs::File::create(&path).unwrap().set_len(LARGEST_OBJECT + 1).unwrap();
        insta::assert_snapshot!(message(), @"object FOLDER/x.bpf.o cannot be used: it is larger than 4194304 bytes");
        std::fs::write(&path, b"no object").unwrap();
        assert_eq!(*Object::read(&path).unwrap().bytes(), *b"no object");
    }
}
