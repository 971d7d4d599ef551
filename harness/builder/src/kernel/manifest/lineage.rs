//! Whose snapshots hold for a kernel: the one it is like, the one that is like, and so on.

use std::path::Path;

use harness_protocol::name::KernelName;

use super::{File, ManifestError, of_kernel};

/// The kernels whose snapshots hold for this one, the nearest first; `nearest` is what its own manifest names.
pub(super) fn lineage(
    folder: &Path,
    name: &KernelName,
    nearest: Option<&KernelName>,
) -> Result<Vec<KernelName>, ManifestError> {
    let mut chain: Vec<KernelName> = Vec::new();
    let mut next = nearest.cloned();
    while let Some(kernel) = next {
        let path = of_kernel(folder, chain.last().unwrap_or(name));
        let meaning = |reason: String| ManifestError::Meaning { path, reason };
        if kernel == *name || chain.contains(&kernel) {
            return Err(meaning(format!("`{kernel}` is like itself, by way of others: one of them must be like none")));
        }
        if !of_kernel(folder, &kernel).is_file() {
            return Err(meaning(format!("there is no kernel `{kernel}`: {kernel}.toml is not in its folder")));
        }
        next = File::read(&of_kernel(folder, &kernel))?.nearest().cloned();
        chain.push(kernel);
    }
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The chain of the first of these kernels, each with the one it is like.
    fn chain(kernels: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, line) in kernels {
            let text = format!("summary = 's'\n{line}\n");
            fs::write(folder.path().join(format!("{name}.toml")), text).unwrap();
        }
        let name = kernels[0].0.parse().unwrap();
        let nearest = File::read(&of_kernel(folder.path(), &name)).unwrap().nearest().cloned();
        let chain = lineage(folder.path(), &name, nearest.as_ref()).map_err(|error| error.to_string())?;
        Ok(chain.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_kernel_is_like_those_which_that_is_like() {
        let kernels = [("7.2", "alike = '7.3-d'"), ("7.3-d", "alike = '7.3'"), ("7.3", "")];
        assert_eq!(chain(&kernels).unwrap(), ["7.3-d", "7.3"]);
        assert!(chain(&kernels[2..]).unwrap().is_empty());
        let variant = [("v", "base = '7.3-d'"), ("7.3-d", "alike = '7.3'"), ("7.3", "")];
        assert_eq!(chain(&variant).unwrap(), ["7.3-d", "7.3"]);
        let other = [("v", "base = '7.3-d'\nalike = '7.3'"), ("7.3-d", ""), ("7.3", "")];
        assert_eq!(chain(&other).unwrap(), ["7.3"]);
    }

    #[test]
    fn a_circle_and_a_stranger_are_named_with_their_file() {
        let circle = chain(&[("a", "alike = 'b'"), ("b", "alike = 'c'"), ("c", "alike = 'b'")]).unwrap_err();
        assert!(circle.contains("c.toml") && circle.contains("`b` is like itself"), "{circle}");
        assert!(chain(&[("a", "alike = 'a'")]).unwrap_err().contains("`a` is like itself"));
        let stranger = chain(&[("a", "alike = 'b'"), ("b", "alike = 'x'")]).unwrap_err();
        assert!(stranger.contains("b.toml") && stranger.contains("no kernel `x`"), "{stranger}");
    }
}
