//! Loads an object by libbpf, and pins each of its programs in a folder of a bpffs: a program that finds its token by itself.

use std::{env, error::Error, path::Path, process::ExitCode};

use libbpf_rs::ObjectBuilder;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [object, folder] = &arguments[..] else {
        eprintln!("usage: load-by-libbpf OBJECT FOLDER");
        return ExitCode::from(2);
    };
    match load(object, Path::new(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot load {object}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn load(object: &str, folder: &Path) -> Result<(), Box<dyn Error>> {
    let loaded = ObjectBuilder::default().open_file(object)?.load()?;
    for mut program in loaded.progs_mut() {
        let name = program.name().to_owned();
        program.pin(folder.join(&name))?;
        println!("{}", name.display());
    }
    Ok(())
}
