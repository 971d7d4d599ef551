//! Signatures, of programs and of policies that are reloaded: made for each VM, and put where its guest finds them.

use std::{collections::BTreeMap, fs, io, path::Path};

use guard_policy::Image;
use harness_builder::{command::CommandError, kernel::Kernel, signing::SigningKey};
use harness_protocol::plan::{Call, OBJECTS_FOLDER, OWN_CERTIFICATE, Reload, Scenario, Signature, SigningKey as Whose};

/// Makes everything that these scenarios need a signature for, by a key made for the occasion or the kernel's. If the kernel has
/// no key that is known here, what it would sign is left out, and the guest names a file that it lacks. Private keys stay outside
/// of the folder.
///
/// # Errors
/// If a file cannot be written, a policy is wrong, or openssl is missing or fails.
pub(crate) fn put(scenarios: &[Scenario], kernel: &Kernel, share: &Path) -> io::Result<()> {
    let (signatures, reloads) = of(scenarios);
    if signatures.is_empty() && reloads.is_empty() {
        return Ok(());
    }
    let folder = share.join(OBJECTS_FOLDER);
    fs::create_dir_all(&folder)?;
    let private = tempfile::tempdir()?;
    let needs_own = !signatures.is_empty() || reloads.values().any(|reload| reload.key == Some(Whose::Own));
    let own = match needs_own {
        true => Some(SigningKey::make(&private.path().join("own.pem")).map_err(failed)?),
        false => None,
    };
    if let Some(own) = &own {
        own.write_certificate(&folder.join(OWN_CERTIFICATE)).map_err(failed)?;
    }
    let builtin = kernel.signing_key().map(|path| SigningKey::in_file(&path));
    let key_of = |whose| match whose {
        Whose::Own => own.as_ref(),
        Whose::Builtin => builtin.as_ref(),
    };
    let signed = private.path().join("signed");
    for (file, signature) in signatures {
        let Some(key) = key_of(signature.key) else { continue };
        fs::write(&signed, &signature.signed)?;
        key.sign(&signed, &folder.join(file)).map_err(failed)?;
    }
    for (file, reload) in reloads {
        let image = image(&reload.policy)?;
        let mut signature = Vec::new();
        if let Some(whose) = reload.key {
            let Some(key) = key_of(whose) else { continue };
            let into = private.path().join("signature");
            fs::write(&signed, image.bytes())?;
            key.sign(&signed, &into).map_err(failed)?;
            signature = fs::read(into)?;
        }
        fs::write(folder.join(file), image.incoming(&signature))?;
    }
    Ok(())
}

/// Returns the signatures and the reloads that scenarios need, by their files.
fn of(scenarios: &[Scenario]) -> (BTreeMap<&str, &Signature>, BTreeMap<&str, &Reload>) {
    let (mut signatures, mut reloads) = (BTreeMap::new(), BTreeMap::new());
    for attempt in scenarios.iter().flat_map(|scenario| &scenario.cases).flat_map(|case| &case.attempts) {
        match &attempt.call {
            Call::ProgLoad { signature: Some(signature), .. } => {
                signatures.insert(signature.file.as_str(), signature);
            }
            Call::Reload(reload) => {
                reloads.insert(reload.file.as_str(), reload);
            }
            _ => {}
        }
    }
    (signatures, reloads)
}

fn image(policy: &str) -> io::Result<Image> {
    let (policy, _) = guard_policy::parse("the policy of a reload", policy).map_err(io::Error::other)?;
    Image::of(&policy.compile(), None, &[]).map_err(io::Error::other)
}

fn failed(error: CommandError) -> io::Error {
    io::Error::other(format!("cannot sign: {error}"))
}
