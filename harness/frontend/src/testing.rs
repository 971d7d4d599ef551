//! Helpers for the tests of several modules.

use harness_uapi::vocabulary::KnownNames;

/// Returns the names of the committed kernels.
pub(crate) fn known() -> KnownNames {
    let files = [
        ("6.12", include_str!("../../../kernels/vocabulary/6.12.json")),
        ("7.3", include_str!("../../../kernels/vocabulary/7.3.json")),
    ];
    KnownNames::from_json(files).unwrap()
}
