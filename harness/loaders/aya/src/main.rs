//! Loads the programs of an object by aya, and pins each in a folder of a bpffs: a program that knows no tokens.

use std::{env, error::Error, path::Path, process::ExitCode};

use aya::{Ebpf, programs::Program};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [object, folder] = &arguments[..] else {
        eprintln!("usage: load-by-aya OBJECT FOLDER");
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
    let mut loaded = Ebpf::load_file(object)?;
    for (name, program) in loaded.programs_mut() {
        let path = folder.join(name);
        // In aya each type of program loads itself.
        match program {
            Program::Xdp(program) => {
                program.load()?;
                program.pin(path)?;
            }
            Program::SchedClassifier(program) => {
                program.load()?;
                program.pin(path)?;
            }
            _ => return Err(format!("{name} is neither an XDP program nor a classifier").into()),
        }
        println!("{name}");
    }
    Ok(())
}
