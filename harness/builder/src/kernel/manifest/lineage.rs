//! The kernels whose snapshots a kernel inherits: the nearest one, the nearest one of that, and so on.

use std::path::Path;

use harness_protocol::name::KernelName;

use super::{File, ManifestError, missing_kernel, of_kernel};

/// Returns the kernels whose snapshots a kernel inherits, the nearest first; `nearest` is the one its manifest names.
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
            return Err(meaning(format!(
                "`{kernel}` inherits its own snapshots: break the circle of `alike` and `base`"
            )));
        }
        if !of_kernel(folder, &kernel).is_file() {
            return Err(meaning(missing_kernel(&kernel)));
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

    /// Returns the chain of the first of these kernels; each has a line with its nearest one.
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
    fn the_chain_follows_alike_and_base() {
        let kernels = [("7.2", "alike = '7.3-d'"), ("7.3-d", "alike = '7.3'"), ("7.3", "")];
        assert_eq!(chain(&kernels).unwrap(), ["7.3-d", "7.3"]);
        assert!(chain(&kernels[2..]).unwrap().is_empty());
        let variant = [("v", "base = '7.3-d'"), ("7.3-d", "alike = '7.3'"), ("7.3", "")];
        assert_eq!(chain(&variant).unwrap(), ["7.3-d", "7.3"]);
        let other = [("v", "base = '7.3-d'\nalike = '7.3'"), ("7.3-d", ""), ("7.3", "")];
        assert_eq!(chain(&other).unwrap(), ["7.3"]);
    }

    #[test]
    fn circles_and_missing_kernels_are_errors() {
        let circle = [("a", "alike = 'b'"), ("b", "alike = 'c'"), ("c", "alike = 'b'")];
        for kernels in [&circle[..], &[("a", "alike = 'a'")], &[("a", "alike = 'b'"), ("b", "alike = 'x'")]] {
            assert!(chain(kernels).is_err(), "{kernels:?}");
        }
    }
}
