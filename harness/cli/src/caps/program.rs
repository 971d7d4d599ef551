//! `caps --exec`: the least delegation and capabilities with which a program does its work, found by running it.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, anyhow};
use clap::{Args as ClapArgs, ValueHint};
use harness_builder::{
    host::{find_program, is_program},
    program_files::{self, Kind},
};
use harness_findings::input::KernelFacts;
use harness_proof::minimizer::Reduction;
use harness_protocol::{
    name::KernelName,
    plan::{Exec, ExecToken, LARGEST_PLACED},
};
use harness_runner::{
    proof::{Program, ProgramContent, ProgramFile, ProgramProof, prove_program},
    resources::Resources,
};

use crate::{
    exit::{self, Wrong},
    proving::{Proving, blame},
};

/// Options for running a program.
#[derive(Debug, ClapArgs)]
pub(super) struct ExecOptions {
    /// Run the program behind `--` in VMs: record what it asks of bpf(2) as root, and find the least with which it does its work
    /// in a container. Without --image it is a program of this machine, and copies of it and its libraries are run
    #[arg(long, conflicts_with_all = ["objects", "object", "table", "prove", "set", "loader"], requires = "command")]
    pub(super) exec: bool,

    /// What else of this machine the program needs, with --exec: a file, or a folder with all that is in it; files that its
    /// arguments name are copied anyway
    #[arg(long, value_name = "PATH", num_args = 1.., requires = "exec", value_hint = ValueHint::AnyPath)]
    file: Vec<PathBuf>,

    /// Text of its output with which the program counts as done, with --exec; by default it has to exit with status 0
    #[arg(long, value_name = "TEXT", requires = "exec")]
    until: Option<String>,

    /// How many seconds each run of the program may take, with --exec
    #[arg(long, value_name = "SECONDS", requires = "exec", default_value = "20", value_parser = seconds)]
    r#for: u64,

    /// Count the program as working wherever it ends as it should, with --exec, even if it is refused something on the way
    /// that it is not refused with everything, such as a feature that its library does without
    #[arg(long, requires = "exec")]
    with_losses: bool,

    /// The program, and its arguments
    #[arg(last = true, value_name = "PROGRAM", value_hint = ValueHint::CommandWithArguments)]
    command: Vec<String>,
}

/// Reads seconds, with or without the unit.
fn seconds(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix('s').unwrap_or(text).parse().ok();
    number.filter(|seconds| (1..=600).contains(seconds)).ok_or_else(|| "it must be 1 to 600 seconds".to_owned())
}

/// What running a program showed.
pub(super) struct Found {
    /// The program and its arguments.
    pub(super) command: Vec<String>,
    /// The files that were copied.
    pub(super) copied: Vec<String>,
    /// What it needs, for each kernel.
    pub(super) kernels: Vec<(KernelName, ProgramProof)>,
}

/// Runs a program in VMs of these kernels.
pub(super) fn find(
    options: &ExecOptions,
    proving: &Proving,
    resources: &Resources,
    kernels: &[KernelFacts],
) -> Result<Found> {
    let program = program(options, proving.has_image()).map_err(Wrong::input)?;
    let names: Vec<KernelName> = kernels.iter().map(|kernel| kernel.name.clone()).collect();
    let testbeds = proving.testbeds(resources, &names, &proving.image())?;
    let kernels = prove_program(&testbeds.iter().collect::<Vec<_>>(), &program).map_err(blame)?;
    let copied = program.files.iter().map(|file| file.path.clone()).collect();
    Ok(Found { command: options.command.clone(), copied, kernels })
}

/// Reads a program with all that is copied for it.
fn program(options: &ExecOptions, in_image: bool) -> Result<Program> {
    let (first, args) = options.command.split_first().expect("clap requires a program");
    let folder = env::current_dir().context("the working directory is gone")?;
    let mut more: Vec<PathBuf> = args.iter().filter_map(|word| named(&folder, word)).collect();
    more.extend(options.file.iter().map(|path| folder.join(path)));
    let (path, files) = if in_image {
        if !first.starts_with('/') {
            return Err(anyhow!(
                "`{first}` is not an absolute path: with --image name the program as the image has it"
            ));
        }
        (PathBuf::from(first), plain(&more)?)
    } else {
        let path = located(&folder, first)?;
        let files = program_files::closure(&path, &more)?;
        (path, files.iter().map(copy).collect::<Result<Vec<_>>>()?)
    };
    let folder = text(&folder)?;
    let files = files.into_iter().chain([ProgramFile { path: folder.clone(), content: ProgramContent::Folder }]);
    let exec = Exec {
        program: text(&path)?,
        args: args.to_vec(),
        folder: Some(folder),
        until: options.until.clone(),
        limit_ms: options.r#for * 1000,
        ..Exec::default()
    };
    Ok(Program { exec, files: files.collect(), with_losses: options.with_losses })
}

/// Returns the file of this machine that an argument names, if it names one.
fn named(folder: &Path, word: &str) -> Option<PathBuf> {
    let path = folder.join(word);
    let is_own = !word.is_empty() && !["/proc", "/sys", "/dev"].iter().any(|pseudo| path.starts_with(pseudo));
    (is_own && path.is_file()).then_some(path)
}

/// Finds a program as a shell would.
fn located(folder: &Path, name: &str) -> Result<PathBuf> {
    if name.contains('/') {
        return Ok(folder.join(name));
    }
    find_program(&env::var_os("PATH").unwrap_or_default(), name).ok_or_else(|| {
        anyhow!("there is no program `{name}` in PATH; with --image IMAGE an image's own program is run")
    })
}

/// Reads files without what they need: the image has that.
fn plain(paths: &[PathBuf]) -> Result<Vec<ProgramFile>> {
    let mut all = BTreeMap::new();
    for path in paths {
        for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
            let entry = entry.with_context(|| format!("cannot read {}", path.display()))?;
            if entry.metadata()?.is_file() {
                let executable = is_program(entry.path());
                all.insert(text(entry.path())?, ProgramContent::File { bytes: read(entry.path())?, executable });
            }
        }
    }
    Ok(all.into_iter().map(|(path, content)| ProgramFile { path, content }).collect())
}

fn copy(file: &program_files::ProgramFile) -> Result<ProgramFile> {
    let content = match &file.kind {
        Kind::File { from, executable, .. } => ProgramContent::File { bytes: read(from)?, executable: *executable },
        Kind::Link { to } => ProgramContent::Link(text(to)?),
        Kind::Folder => ProgramContent::Folder,
    };
    Ok(ProgramFile { path: text(&file.path)?, content })
}

fn read(path: &Path) -> Result<std::sync::Arc<[u8]>> {
    let size = path.metadata().with_context(|| format!("cannot read {}", path.display()))?.len();
    if size > LARGEST_PLACED {
        return Err(anyhow!("{} has {size} bytes, and at most {LARGEST_PLACED} are copied into a VM", path.display()));
    }
    Ok(fs::read(path).with_context(|| format!("cannot read {}", path.display()))?.into())
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()))
}

impl Found {
    /// Returns whether a kernel gave no answer.
    pub(super) fn is_unknown(&self) -> bool {
        self.kernels.iter().any(|(_, proof)| proof.recording.is_err() || matches!(proof.reduction, Some(Err(_))))
    }

    /// Returns the kernels on which no delegation makes the program work.
    pub(super) fn never(&self) -> Vec<&KernelName> {
        let never = |proof: &ProgramProof| match &proof.reduction {
            Some(Ok(Reduction::Insufficient(_))) => true,
            Some(_) => false,
            None => proof.recording.is_ok(),
        };
        self.kernels.iter().filter(|(_, proof)| never(proof)).map(|(kernel, _)| kernel).collect()
    }

    /// Returns a grant that is sufficient on all kernels on which the program works; `None` if it works on none.
    pub(super) fn grant(&self) -> Option<harness_uapi::permission::Grant> {
        let minimal = |proof: &ProgramProof| match &proof.reduction {
            Some(Ok(Reduction::Minimal(minimal))) => Some(minimal.grant.elements().collect::<BTreeSet<_>>()),
            _ => None,
        };
        let all: Vec<_> = self.kernels.iter().filter_map(|(_, proof)| minimal(proof)).collect();
        (!all.is_empty()).then(|| harness_uapi::permission::Grant::of(all.into_iter().flatten()))
    }

    /// Returns whether a token had to be handed over anywhere.
    pub(super) fn was_handed(&self) -> bool {
        self.kernels
            .iter()
            .filter_map(|(_, proof)| proof.recording.as_ref().ok())
            .any(|recording| recording.token == ExecToken::Inject && recording.container.injected > 0)
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        if self.is_unknown() {
            return exit::FAILED.into();
        }
        if self.never().is_empty() { ExitCode::SUCCESS } else { ExitCode::from(exit::DIFFERS) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_have_their_unit() {
        assert_eq!(["20", "20s", "600"].map(seconds), [Ok(20), Ok(20), Ok(600)]);
        for wrong in ["", "s", "0", "601", "1m", "-1"] {
            assert_eq!(seconds(wrong), Err("it must be 1 to 600 seconds".to_owned()));
        }
    }

    #[test]
    fn arguments_that_name_files_are_copied() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("x.bpf.o"), "x").unwrap();
        let names = |word: &str| named(folder.path(), word).is_some();
        assert!(names("x.bpf.o") && names("./x.bpf.o") && names(folder.path().join("x.bpf.o").to_str().unwrap()));
        assert!(!names("") && !names("missing") && !names(".") && !names("/proc/self/exe") && !names("prog"));
    }

    #[test]
    fn a_program_is_found_in_path_or_by_its_own() {
        assert_eq!(located(Path::new("/a"), "b/c").unwrap(), Path::new("/a/b/c"));
        assert!(located(Path::new("/a"), "sh").unwrap().ends_with("sh"));
        let missing = located(Path::new("/a"), "no-such-program").unwrap_err().to_string();
        assert!(missing.starts_with("there is no program `no-such-program` in PATH"), "{missing}");
    }
}
