//! The signatures of programs: made for each VM, and put where its guest finds them.

use std::{collections::BTreeMap, fs, io, path::Path};

use harness_builder::{command::CommandError, kernel::Kernel, signing::SigningKey};
use harness_protocol::plan::{Call, OBJECTS_FOLDER, OWN_CERTIFICATE, Scenario, Signature, SigningKey as Whose};

/// Makes every signature that programs of these scenarios are loaded with, by a key made for the occasion or the
/// kernel's. If the kernel has no key that is known here, its signatures are left out, and the guest names one that it
/// lacks. Private keys stay outside of the folder.
///
/// # Errors
/// If a file cannot be written, or openssl is missing or fails.
pub(crate) fn put(scenarios: &[Scenario], kernel: &Kernel, share: &Path) -> io::Result<()> {
    let signatures = of(scenarios);
    if signatures.is_empty() {
        return Ok(());
    }
    let folder = share.join(OBJECTS_FOLDER);
    fs::create_dir_all(&folder)?;
    let private = tempfile::tempdir()?;
    let own = SigningKey::make(&private.path().join("own.pem")).map_err(failed)?;
    own.write_certificate(&folder.join(OWN_CERTIFICATE)).map_err(failed)?;
    let builtin = kernel.signing_key().map(|path| SigningKey::in_file(&path));
    for (file, signature) in signatures {
        let key = match signature.key {
            Whose::Own => Some(&own),
            Whose::Builtin => builtin.as_ref(),
        };
        let Some(key) = key else { continue };
        let signed = private.path().join("signed");
        fs::write(&signed, &signature.signed)?;
        key.sign(&signed, &folder.join(file)).map_err(failed)?;
    }
    Ok(())
}

/// Returns the signatures that scenarios need, by their files.
fn of(scenarios: &[Scenario]) -> BTreeMap<&str, &Signature> {
    let attempts = scenarios.iter().flat_map(|scenario| &scenario.cases).flat_map(|case| &case.attempts);
    let signatures = attempts.filter_map(|attempt| match &attempt.call {
        Call::ProgLoad { signature, .. } => signature.as_ref(),
        _ => None,
    });
    signatures.map(|signature| (signature.file.as_str(), signature)).collect()
}

fn failed(error: CommandError) -> io::Error {
    io::Error::other(format!("cannot sign a program: {error}"))
}
