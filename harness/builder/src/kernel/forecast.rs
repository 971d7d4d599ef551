//! What a run has to compile first, and about how long that takes on this machine.

use std::{thread, time::Duration};

use harness_program::NAME;
use harness_protocol::name::KernelName;

use super::{
    KernelError, find_built,
    manifest::{Manifest, Source},
};
use crate::cache::Cache;

/// The processor time of a build for each compiled object, linking and type information included: 6.12 and 7.3 together were
/// measured to take 1,856 s for 2,911 objects, on a processor (AMD EPYC) that compiled 50 random ones of 6.12 in 0.59 s each.
const AN_OBJECT: Duration = Duration::from_millis(640);

/// The number of objects of a kernel whose manifest does not tell it.
const OBJECTS: u64 = 1410;

/// The kernels that have to be compiled, and about how long that takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// The kernels, in their order; a variant stands for its base.
    pub kernels: Vec<KernelName>,
    /// The prebuilt kernels that can take their places; empty if one of them has none.
    pub prebuilt: Vec<KernelName>,
    objects: u64,
    processors: u64,
}

impl Forecast {
    /// Returns the forecast for these kernels; `None` if none of them has to be compiled.
    ///
    /// # Errors
    /// [`KernelError`] if the cache or a source cannot be read.
    pub fn of(manifests: &[Manifest], cache: &Cache) -> Result<Option<Self>, KernelError> {
        let mut missing: Vec<&Manifest> = Vec::new();
        for manifest in manifests.iter().filter(|manifest| !matches!(manifest.source, Source::Prebuilt(_))) {
            let is_new = missing.iter().all(|known| known.build_name() != manifest.build_name());
            if is_new && find_built(manifest, cache)?.is_none() {
                missing.push(manifest);
            }
        }
        let processors = thread::available_parallelism().map_or(1, |count| count.get() as u64);
        Ok((!missing.is_empty()).then(|| Self::on(processors, &missing)))
    }

    fn on(processors: u64, missing: &[&Manifest]) -> Self {
        let prebuilt: Option<Vec<KernelName>> = missing.iter().map(|manifest| manifest.prebuilt.clone()).collect();
        Self {
            kernels: missing.iter().map(|manifest| manifest.build_name().clone()).collect(),
            prebuilt: prebuilt.unwrap_or_default(),
            objects: missing.iter().map(|manifest| manifest.objects.unwrap_or(OBJECTS)).sum(),
            processors,
        }
    }

    /// Returns about how long compiling takes if nothing else runs.
    pub fn time(&self) -> Duration {
        AN_OBJECT.mul_f64(self.objects as f64 / self.processors as f64)
    }

    /// Says what is compiled, about how long that takes, and what the quick way is.
    pub fn describe(&self) -> String {
        let minutes = self.time().as_secs().div_ceil(60);
        let minutes = if minutes == 1 { "a minute".to_owned() } else { format!("{minutes} minutes") };
        let (kernels, are, processors) = (listed("kernel", &self.kernels), are(&self.kernels), self.processors);
        let processors = if processors == 1 { "one processor".to_owned() } else { format!("{processors} processors") };
        let compiling = format!(
            "{kernels} {are} not built: compiling takes about {minutes} on {processors}, once, and longer if this machine has other work"
        );
        if self.prebuilt.is_empty() {
            return compiling;
        }
        let instead = listed("kernel", &self.prebuilt);
        format!(
            "{compiling}\nthe quick way: `{NAME} run --prebuilt` takes {instead} instead, which a distribution built"
        )
    }
}

fn listed(what: &str, kernels: &[KernelName]) -> String {
    let names: Vec<&str> = kernels.iter().map(KernelName::as_str).collect();
    match &names[..] {
        [one] => format!("{what} {one}"),
        [most @ .., last] => format!("{what}s {} and {last}", most.join(", ")),
        [] => String::new(),
    }
}

fn are(kernels: &[KernelName]) -> &'static str {
    if kernels.len() == 1 { "is" } else { "are" }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SUM: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    /// Returns the manifests of two kernels that are compiled, of a variant of the first, and of a prebuilt kernel.
    fn manifests(folder: &std::path::Path) -> Vec<Manifest> {
        let source = format!("objects = 1500\n[source.git]\nurl = '/srv/linux.git'\nrevision = '{}'\n", &SUM[..40]);
        let prebuilt = format!("[source.prebuilt.debian]\nsuite = 's'\nversion = '1'\npackages = {{ p = '{SUM}' }}\n");
        let files = [
            ("6.12-debian", prebuilt),
            ("6.12", format!("prebuilt = '6.12-debian'\n{source}")),
            ("6.12-variant", "base = '6.12'\nprebuilt = '6.12-debian'\n".to_owned()),
            ("7.3", source),
        ];
        let paths = files.map(|(name, text)| {
            let path = folder.join(format!("{name}.toml"));
            fs::write(&path, format!("summary = 's'\n{text}")).unwrap();
            path
        });
        paths.iter().map(|path| Manifest::read(path).unwrap()).collect()
    }

    #[test]
    fn each_build_that_is_missing_is_told_once_with_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let all = manifests(folder.path());
        let told = |names: &[usize], processors| {
            let missing: Vec<&Manifest> = names.iter().map(|&at| &all[at]).collect();
            Forecast::on(processors, &missing).describe()
        };
        let texts = [told(&[1], 1), told(&[1, 3], 2), told(&[3], 64)];
        insta::assert_snapshot!(texts.join("\n"), @"
        kernel 6.12 is not built: compiling takes about 16 minutes on one processor, once, and longer if this machine has other work
        the quick way: `cargo xtask run --prebuilt` takes kernel 6.12-debian instead, which a distribution built
        kernels 6.12 and 7.3 are not built: compiling takes about 16 minutes on 2 processors, once, and longer if this machine has other work
        kernel 7.3 is not built: compiling takes about a minute on 64 processors, once, and longer if this machine has other work
        ");
    }

    #[test]
    fn prebuilt_kernels_are_not_compiled_and_variants_are_their_base() {
        let folder = tempfile::tempdir().unwrap();
        let all = manifests(folder.path());
        let cache = Cache::at(folder.path().join("cache")).unwrap();
        let of = |manifests: &[Manifest]| {
            Forecast::of(manifests, &cache).unwrap().map(|forecast| listed("kernel", &forecast.kernels))
        };
        assert_eq!(of(&all[..1]), None);
        assert_eq!(of(&all).as_deref(), Some("kernels 6.12 and 7.3"));
    }
}
