//! The order of arguments: a list such as that of `--kernel` also takes the files behind it.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use crate::{Context, known_kernels};

/// The first bytes of an ELF file.
const ELF: [u8; 4] = *b"\x7fELF";

/// Moves the files at the end of a list of kernels to the files: those that exist and name no kernel. The first value
/// belongs to the option.
pub(crate) fn after_kernels(kernels: &[String], context: &Context) -> (Vec<String>, Vec<PathBuf>) {
    let is_file =
        |value: &String| (value == "-" || Path::new(value).exists()) && !known_kernels::is_named(value, context);
    let (kernels, files) = split(kernels, is_file);
    (kernels, files.into_iter().map(PathBuf::from).collect())
}

/// Moves the files at the end of a list of objects to the files: those that are no ELF file. The first value belongs to the
/// option, so that it is reported if it is not an object.
pub(crate) fn after_objects(objects: &[PathBuf]) -> (Vec<PathBuf>, Vec<PathBuf>) {
    split(objects, |path| path == Path::new("-") || (path.exists() && !is_elf(path)))
}

/// Moves the files at the end of a list of what programs need to the files: those whose names are not of JSON.
pub(crate) fn after_programs(programs: &[PathBuf]) -> (Vec<PathBuf>, Vec<PathBuf>) {
    split(programs, |path| path == Path::new("-") || !path.to_string_lossy().ends_with(".json"))
}

/// Moves the files at the end of a list of policies of the guard to the files: those whose names are not of one.
pub(crate) fn after_policies(policies: &[PathBuf]) -> (Vec<PathBuf>, Vec<PathBuf>) {
    split(policies, |path| !path.to_string_lossy().ends_with(".toml"))
}

/// Splits a list before the last values that are files; the first value stays.
fn split<T: Clone>(values: &[T], is_file: impl Fn(&T) -> bool) -> (Vec<T>, Vec<T>) {
    let files = values.iter().skip(1).rev().take_while(|value| is_file(value)).count();
    let (kept, files) = values.split_at(values.len() - files);
    (kept.to_vec(), files.to_vec())
}

fn is_elf(path: &Path) -> bool {
    let mut first = [0; 4];
    File::open(path).and_then(|mut file| file.read_exact(&mut first)).is_ok() && first == ELF
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_behind_a_list_are_files() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let (unit, object) = (at("f.service", "[Service]"), at("x.o", "\x7fELF..."));
        assert_eq!(after_objects(&[object.clone(), unit.clone()]), (vec![object.clone()], vec![unit.clone()]));
        assert_eq!(after_objects(&[object.clone(), object.clone()]).0.len(), 2);
        // What is no object is reported as one, and what does not exist, too.
        assert_eq!(after_objects(std::slice::from_ref(&unit)).1, Vec::<PathBuf>::new());
        assert_eq!(after_objects(&[object, folder.path().join("missing.o")]).1, Vec::<PathBuf>::new());
        let needs = at("needs.json", "{}");
        assert_eq!(after_programs(&[needs.clone(), unit.clone()]), (vec![needs], vec![unit.clone()]));
        let policy = at("p.guard.toml", "");
        assert_eq!(after_policies(&[policy.clone(), unit.clone()]), (vec![policy], vec![unit.clone()]));
        let kernels = ["6.12".to_owned(), "7.3".to_owned(), unit.display().to_string()];
        let (kernels, files) = after_kernels(&kernels, &Context::find());
        assert_eq!((kernels.len(), files), (2, vec![unit]));
    }
}
