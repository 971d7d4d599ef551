//! Signatures of programs (Linux 6.18).

use serde::{Deserialize, Serialize};

/// The file of the own key's certificate, an X.509 certificate in DER, in [`super::OBJECTS_FOLDER`].
pub const OWN_CERTIFICATE: &str = "own.x509";

/// A PKCS#7 signature that a program is loaded with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// Its file in [`super::OBJECTS_FOLDER`], which the host makes for each VM.
    pub file: String,
    /// Whose signature it is.
    pub key: SigningKey,
    /// Where the kernel looks for the key (`keyring_id`).
    pub keyring: Keyring,
    /// The bytes that are signed.
    pub signed: Vec<u8>,
}

impl Signature {
    /// Returns the files that it needs.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.file.as_str()).chain(self.keyring.needs_certificate().then_some(OWN_CERTIFICATE))
    }
}

/// Whose key signs a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SigningKey {
    /// A key that is made afresh for each VM.
    #[default]
    Own,
    /// The key that the kernel's build made: its certificate is in the built-in keyring. Only kernels that are built
    /// here have it.
    Builtin,
}

/// Where the kernel looks for the key of a signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Keyring {
    /// In a session keyring that the actor makes for the attempt, with the certificate of the own key.
    #[default]
    Session,
    /// In a session keyring that the actor makes for the attempt, without a key.
    Empty,
    /// In the keys that are built into the kernel.
    Builtin,
    /// In the built-in keys and those that these have signed.
    Secondary,
    /// In the keys of the platform's firmware.
    Platform,
}

impl Keyring {
    /// Returns whether the own key's certificate is added to it.
    pub const fn needs_certificate(self) -> bool {
        matches!(self, Self::Session)
    }

    /// Returns its name in scenario files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Empty => "empty",
            Self::Builtin => "builtin",
            Self::Secondary => "secondary",
            Self::Platform => "platform",
        }
    }
}

impl SigningKey {
    /// Returns its name in scenario files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Builtin => "builtin",
        }
    }
}
