//! Mutants: each is a kernel of its own, and the tree it is made from never changes.

use std::{fs, path::Path};

use harness_builder::{
    kernel::{
        Kernel, Manifest,
        mutant::{self, Mutant, MutantTree, Mutants, MutationError},
    },
    progress::Progress,
};

use crate::stand_in::Bench;

const MUTANTS: &str = "
file = 'fork.c'
[[mutant]]
name = 'more'
bug = 'One too many.'
pattern = 'fork_count;'
replacement = 'fork_count = 1;'
[[mutant]]
name = 'broken'
bug = 'No C.'
pattern = 'fork_count;'
replacement = 'fork_count'
[[mutant]]
name = 'gone'
bug = 'Of another kernel.'
pattern = 'spoon_count'
replacement = ''
";

struct Trial {
    bench: Bench,
    manifest: Manifest,
    base: Kernel,
    mutants: Vec<Mutant>,
}

impl Trial {
    fn new() -> Self {
        let bench = Bench::new();
        let manifest = bench.tree();
        let base = bench.build(&manifest).unwrap();
        let folder = bench.path("kernels/mutants");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("fork.toml"), MUTANTS).unwrap();
        let mutants = Mutants::of_folder(&folder, std::slice::from_ref(&manifest.name)).unwrap();
        Self { bench, manifest, base, mutants: mutants.iter().cloned().collect() }
    }

    fn build(&self, index: usize) -> Result<Kernel, MutationError> {
        let cache = self.bench.cache();
        let mutant = &self.mutants[index];
        let tree = MutantTree::open(&self.manifest, &self.base, &cache, &Progress::silent())?;
        tree.build(mutant, mutant.edit(&self.base.name).unwrap())
    }

    fn found(&self, index: usize) -> Option<Kernel> {
        let mutant = &self.mutants[index];
        let edit = mutant.edit(&self.base.name).unwrap();
        mutant::find_built(&self.manifest, &self.base, mutant, edit, &self.bench.cache())
    }

    fn copy(&self) -> std::path::PathBuf {
        self.bench.cache().root().join("trees/mutants-9.9")
    }

    fn original(&self) -> String {
        fs::read_to_string(self.bench.path("linux/fork.c")).unwrap()
    }
}

fn boot(kernel: &Kernel) -> Vec<u8> {
    fs::read(kernel.boot_image()).unwrap()
}

#[test]
fn a_mutant_is_a_kernel_of_its_own() {
    let trial = Trial::new();
    assert!(trial.found(0).is_none());
    let mutated = trial.build(0).unwrap();
    assert_eq!(mutated.record.objects_compiled, 1);
    assert!(boot(&mutated) != boot(&trial.base) && mutated.key.starts_with("mutant-more-"), "{}", mutated.key);
    assert!(mutated.record.source.starts_with(&mutated.key));
    assert_eq!((mutated.name.as_str(), mutated.release()), ("9.9", "9.9.0"));
    assert_eq!(mutated.vocabulary().unwrap(), trial.base.vocabulary().unwrap());
    let kernels = trial.bench.cache().root().join("kernels");
    assert!(!mutated.dir.starts_with(&kernels), "{}", mutated.dir.display());
    assert_eq!(fs::read_dir(kernels).unwrap().count(), 1);
    assert_eq!(trial.original(), "int fork_count;\n");
    assert_eq!(trial.bench.build(&trial.manifest).unwrap().key, trial.base.key);
    let again = trial.found(0).unwrap();
    assert_eq!((again.key, again.record.built), (mutated.key, mutated.record.built));
}

#[test]
fn a_mutant_with_a_flipped_bit_is_built_again() {
    let trial = Trial::new();
    let mutated = trial.build(0).unwrap();
    let whole = boot(&mutated);
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    fs::write(mutated.boot_image(), flipped).unwrap();
    assert!(trial.found(0).is_none());
    assert_eq!(boot(&trial.build(0).unwrap()), whole);
}

#[test]
fn an_interrupted_build_leaves_nothing_behind() {
    let trial = Trial::new();
    let first = boot(&trial.build(0).unwrap());
    let (aside, source) = (trial.copy().join("aside/fork.c"), trial.copy().join("source/fork.c"));
    fs::rename(&source, &aside).unwrap();
    fs::write(&source, "int fork_count = 2;\n").unwrap();
    fs::remove_dir_all(trial.bench.cache().root().join("mutants")).unwrap();
    assert_eq!(boot(&trial.build(0).unwrap()), first);
    assert!(!aside.exists());
    assert_eq!(fs::read_to_string(source).unwrap(), "int fork_count;\n");
}

#[test]
fn a_mutant_that_does_not_compile_is_reported_and_restored() {
    let trial = Trial::new();
    let error = trial.build(1).unwrap_err();
    assert!(matches!(&error, MutationError::DoesNotCompile { .. }), "{error}");
    insta::assert_snapshot!(error, @"mutant broken does not compile as kernel 9.9");
    assert!(trial.found(1).is_none());
    trial.build(0).unwrap();
}

#[test]
fn a_mutant_of_another_source_does_not_fit() {
    let trial = Trial::new();
    let error = trial.build(2).unwrap_err();
    insta::assert_snapshot!(error, @"mutant gone does not fit kernel 9.9: cannot edit fork.c");
    let cause = std::error::Error::source(&error).unwrap();
    insta::assert_snapshot!(cause, @"the pattern `spoon_count` does not occur in it");
    assert!(!Path::new(&trial.copy().join("aside/fork.c")).exists());
}

#[test]
fn another_base_is_copied_again() {
    let mut trial = Trial::new();
    let first = trial.build(0).unwrap();
    fs::write(trial.bench.path("linux/token.c"), include_str!("token.c").to_owned() + "int more;\n").unwrap();
    trial.base = trial.bench.build(&trial.manifest).unwrap();
    assert!(trial.found(0).is_none());
    let second = trial.build(0).unwrap();
    assert!(first.key != second.key && boot(&second) != boot(&trial.base));
}
