//! Makes the archive of what the program brings: the repository's manifests and scenarios, and the guest's programs and the
//! BPF objects, built as `cargo xtask` builds them, in its cache.

use std::{env, error::Error, fs, path::Path};

use harness_builder::{
    bundle,
    cache::{CACHE_VARIABLE, Cache},
    guest_program,
    progress::Progress,
    project::Project,
};

fn main() -> Result<(), Box<dyn Error>> {
    let project = Project::above(Path::new(env!("CARGO_MANIFEST_DIR")))?;
    for read in ["kernels", "images", "scenarios"].into_iter().chain(guest_program::sources()) {
        println!("cargo::rerun-if-changed={}", project.root().join(read).display());
    }
    println!("cargo::rerun-if-env-changed={CACHE_VARIABLE}");
    let folder = env::var("OUT_DIR")?;
    let folder = Path::new(&folder);
    let sum = bundle::write(&project, &Cache::from_env()?, &folder.join("bundle.tar.zst"), &Progress::silent())?;
    fs::write(folder.join("bundle.sum"), sum)?;
    Ok(())
}
