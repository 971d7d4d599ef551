//! Records of images whose packages have left the mirror.

use std::{fs, io, path::PathBuf};

use harness_protocol::name::ImageName;
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, now, write};
/// The folder of a store that holds these records.
pub(super) const FOLDER: &str = "gone";

/// The largest record that is read, in bytes; an error message takes some hundred.
pub(super) const LARGEST: u64 = 1 << 20;

/// An image that a machine tried to build, and whose pinned packages had left the mirror.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoneImage {
    /// The image's name.
    pub image: ImageName,
    /// The key of the image: a changed manifest, such as one with new pins, has another.
    pub key: String,
    /// When it was last tried, in seconds since 1970.
    pub at: u64,
    /// The error of the build.
    pub reason: String,
}

impl Store {
    /// Records that the packages of an image have left the mirror.
    ///
    /// # Errors
    /// [`StoreError`] if the record cannot be written.
    pub fn remember_gone(&self, image: &ImageName, key: &str, reason: String) -> Result<(), StoreError> {
        self.remember_gone_record(&GoneImage { image: image.clone(), key: key.to_owned(), at: now(), reason })
    }

    /// Stores a record, unless there is a newer one.
    pub(super) fn remember_gone_record(&self, record: &GoneImage) -> Result<(), StoreError> {
        match self.gone(&record.image, &record.key) {
            Some(mine) if mine.at > record.at => Ok(()),
            _ => write(&self.gone_path(&record.image, &record.key), record),
        }
    }

    /// Removes the record of an image that was built, if there is one.
    ///
    /// # Errors
    /// [`StoreError`] if the record cannot be removed.
    pub fn forget_gone(&self, image: &ImageName, key: &str) -> Result<(), StoreError> {
        let path = self.gone_path(image, key);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::of("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    /// Returns the record of an image, if there is one. A damaged one is removed, and shown.
    pub fn gone(&self, image: &ImageName, key: &str) -> Option<GoneImage> {
        let what_now = format!("image {image} is tried again");
        let record: GoneImage = self.load(&self.gone_path(image, key), LARGEST, &what_now)?;
        (&record.image == image && record.key == key).then_some(record)
    }

    fn gone_path(&self, image: &ImageName, key: &str) -> PathBuf {
        self.root.join(FOLDER).join(file_name(image, key))
    }
}

/// Returns the name of a record's file.
pub(super) fn file_name(image: &ImageName, key: &str) -> String {
    format!("{image}-{key}.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Freshness, RunId};

    #[test]
    fn a_gone_image_is_recorded_until_it_is_built_or_its_manifest_changes() {
        let folder = tempfile::tempdir().unwrap();
        // Each call is another process.
        let store = || Store::new(folder.path().join("store"), RunId::current(), Freshness::ThisRun);
        let image: ImageName = "systemd-262.1".parse().unwrap();
        store().forget_gone(&image, "k1").unwrap();
        assert_eq!(store().gone(&image, "k1"), None);
        store().remember_gone(&image, "k1", "no p=1".to_owned()).unwrap();
        assert_eq!(store().gone(&image, "k1").unwrap().reason, "no p=1");
        assert_eq!(store().gone(&image, "k2"), None);
        assert_eq!(store().gone(&"systemd-262".parse().unwrap(), "k1"), None);
        store().forget_gone(&image, "k1").unwrap();
        assert_eq!(store().gone(&image, "k1"), None);
    }

    #[test]
    fn a_damaged_record_or_one_of_another_image_counts_as_missing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned(), RunId::current(), Freshness::Any);
        let [image, other]: [ImageName; 2] = ["a", "b"].map(|name| name.parse().unwrap());
        store.remember_gone(&image, "k", String::new()).unwrap();
        fs::copy(store.gone_path(&image, "k"), store.gone_path(&other, "k")).unwrap();
        assert_eq!(store.gone(&other, "k"), None);
        fs::write(store.gone_path(&image, "k"), "{").unwrap();
        assert_eq!(store.gone(&image, "k"), None);
    }
}
