//! Signing BPF programs as the kernel verifies it (`bpf_prog_load` in `kernel/bpf/syscall.c`, since Linux 6.18): PKCS#7
//! by openssl.

use std::path::{Path, PathBuf};

use xshell::cmd;

use crate::command::{self, CommandError};

/// A private key and its certificate.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// Both, in PEM.
    path: PathBuf,
}

impl SigningKey {
    /// Uses the key and certificate in a file.
    pub fn in_file(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Makes a new RSA key with a certificate that it signs itself, and writes both to a file.
    ///
    /// # Errors
    /// [`CommandError`] if openssl is missing or fails.
    pub fn make(path: &Path) -> Result<Self, CommandError> {
        let name = format!("/CN={}", harness_program::NAME);
        command::output(|shell| {
            cmd!(
                shell,
                "openssl req -x509 -new -newkey rsa:2048 -nodes -batch -sha512 -days 36500 -subj {name}
                 -addext keyUsage=digitalSignature -keyout {path} -out {path}"
            )
        })?;
        Ok(Self::in_file(path))
    }

    /// Writes the certificate in DER, as the kernel takes it (`add_key(2)` of type `asymmetric`).
    ///
    /// # Errors
    /// [`CommandError`] if openssl is missing or fails.
    pub fn write_certificate(&self, into: &Path) -> Result<(), CommandError> {
        let path = &self.path;
        command::output(|shell| cmd!(shell, "openssl x509 -in {path} -outform DER -out {into}")).map(drop)
    }

    /// Signs the bytes of a file. The signature names the key by its identifier and has neither certificates nor
    /// attributes, which the kernel does not need.
    ///
    /// # Errors
    /// [`CommandError`] if openssl is missing or fails.
    pub fn sign(&self, file: &Path, into: &Path) -> Result<(), CommandError> {
        let path = &self.path;
        // SHA-512 is what every kernel that verifies signatures of modules has.
        command::output(|shell| {
            cmd!(
                shell,
                "openssl cms -sign -binary -in {file} -signer {path} -inkey {path} -outform DER -out {into} -md sha512
                 -nocerts -noattr -nosmimecap -keyid"
            )
        })
        .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn openssl_verifies_a_signature_and_refuses_one_of_other_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let key = SigningKey::make(&at("key.pem")).unwrap();
        fs::write(at("signed"), b"instructions").unwrap();
        fs::write(at("changed"), b"Instructions").unwrap();
        key.sign(&at("signed"), &at("signature")).unwrap();
        key.write_certificate(&at("certificate")).unwrap();
        assert_eq!(fs::read(at("certificate")).unwrap()[0], 0x30, "DER begins with a sequence");
        let verified = |content: &str| {
            let (key, signature, content) = (at("key.pem"), at("signature"), at(content));
            command::output(|shell| {
                cmd!(
                    shell,
                    "openssl cms -verify -binary -inform DER -in {signature} -content {content} -certfile {key}
                     -noverify"
                )
            })
        };
        assert!(verified("signed").is_ok());
        let error = verified("changed").unwrap_err().to_string();
        assert!(error.contains("verification failure") || error.contains("digest"), "{error}");
    }

    #[test]
    fn a_file_without_a_key_is_an_error_with_the_command() {
        let folder = tempfile::tempdir().unwrap();
        let error = SigningKey::in_file(&folder.path().join("none.pem"))
            .sign(folder.path(), &folder.path().join("signature"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("openssl cms -sign") && error.contains("none.pem"), "{error}");
    }
}
