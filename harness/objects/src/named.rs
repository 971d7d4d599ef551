//! Objects with names: a file that is an object, or all objects embedded in a program.

use thiserror::Error;

use crate::{
    Object, ObjectError, embedded,
    loader::{self, Loader},
    read_for,
};

/// An object with its name and bytes.
#[derive(Clone, Debug)]
pub struct Named {
    /// The file's name, followed by the object's own name if it is embedded in a program.
    pub name: String,
    /// The object's bytes.
    pub bytes: Vec<u8>,
    /// The parsed object.
    pub object: Object,
    /// Whether the program that it is embedded in shows what loads it.
    pub has_loader: bool,
}

/// Why the objects in a file cannot be read.
#[derive(Debug, Error)]
pub enum NamedError {
    /// The file is not an object and embeds none.
    #[error("{name} is not a BPF object and embeds none: {why}")]
    NoObject {
        /// The file's name.
        name: String,
        /// Why it is not an object.
        why: ObjectError,
    },
    /// A program embeds a damaged object.
    #[error("{name}, {own} at byte {offset}")]
    Carried {
        /// The program's name.
        name: String,
        /// The object's own name.
        own: String,
        /// Its offset in bytes.
        offset: usize,
        /// What is wrong with it.
        source: ObjectError,
    },
}

impl Named {
    /// Reads the objects in a file: the file itself, or those embedded in it. Without a loader it is the one that the
    /// program has built in, else libbpf.
    ///
    /// # Errors
    /// [`NamedError`] if there is none, or a damaged one.
    pub fn of_bytes(name: &str, bytes: Vec<u8>, loader: Option<Loader>) -> Result<Vec<Self>, NamedError> {
        let why = match read_for(&bytes, loader.unwrap_or(Loader::LIBBPF)) {
            Ok(object) => return Ok(vec![Self { name: name.to_owned(), bytes, object, has_loader: false }]),
            Err(error) => error,
        };
        let built_in = loader::found(&bytes);
        let (loader, has_loader) = (loader.or(built_in).unwrap_or(Loader::LIBBPF), built_in.is_some());
        let mut found = Vec::new();
        for (number, inner) in embedded(&bytes).into_iter().enumerate() {
            let part = &bytes[inner.offset..inner.offset + inner.size];
            let own = inner.name.unwrap_or_else(|| format!("object {}", number + 1));
            let (name, offset) = (name.to_owned(), inner.offset);
            match read_for(part, loader) {
                Ok(object) => {
                    found.push(Self { name: format!("{name}:{own}"), bytes: part.to_vec(), object, has_loader });
                }
                Err(source) => return Err(NamedError::Carried { name, own, offset, source }),
            }
        }
        if found.is_empty() { Err(NamedError::NoObject { name: name.to_owned(), why }) } else { Ok(found) }
    }

    /// The name and the object, as functions that take several objects expect them.
    pub fn plain(&self) -> (String, Object) {
        (self.name.clone(), self.object.clone())
    }
}
