//! Objects with what they are called: a file that is one, or all that a program carries.

use thiserror::Error;

use crate::{Object, ObjectError, embedded, read};

/// An object with its file's bytes.
#[derive(Clone, Debug)]
pub struct Named {
    /// The file, with what it is called in a program that carries it.
    pub name: String,
    /// The whole file.
    pub bytes: Vec<u8>,
    /// What was read of it.
    pub object: Object,
}

/// Why there are no objects in a file.
#[derive(Debug, Error)]
pub enum NamedError {
    /// It is something else.
    #[error("{name} is no BPF object and carries none: {why}")]
    NoObject {
        /// The file.
        name: String,
        /// What is wrong with it as an object.
        why: ObjectError,
    },
    /// A program carries an object that is broken.
    #[error("{name}, {own} at byte {offset}")]
    Carried {
        /// The program.
        name: String,
        /// What the object is called in it.
        own: String,
        /// Where it is.
        offset: usize,
        /// What is wrong with it.
        source: ObjectError,
    },
}

impl Named {
    /// The objects in a file of this name: itself, or those it carries.
    ///
    /// # Errors
    /// [`NamedError`] if there is none, or a broken one.
    pub fn of_bytes(name: &str, bytes: Vec<u8>) -> Result<Vec<Self>, NamedError> {
        let why = match read(&bytes) {
            Ok(object) => return Ok(vec![Self { name: name.to_owned(), bytes, object }]),
            Err(error) => error,
        };
        let mut carried = Vec::new();
        for (number, inner) in embedded(&bytes).into_iter().enumerate() {
            let part = &bytes[inner.offset..inner.offset + inner.size];
            let own = inner.name.unwrap_or_else(|| format!("object {}", number + 1));
            let (name, offset) = (name.to_owned(), inner.offset);
            match read(part) {
                Ok(object) => carried.push(Self { name: format!("{name}:{own}"), bytes: part.to_vec(), object }),
                Err(source) => return Err(NamedError::Carried { name, own, offset, source }),
            }
        }
        if carried.is_empty() { Err(NamedError::NoObject { name: name.to_owned(), why }) } else { Ok(carried) }
    }

    /// Name and contents, as functions of several objects take them.
    pub fn plain(&self) -> (String, Object) {
        (self.name.clone(), self.object.clone())
    }
}
