//! The name of the program. Messages and help texts take it from here, so that it can be shipped under another name.

/// What a user types before a verb.
pub const NAME: &str = "cargo xtask";

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::NAME;

    /// Finds the lines of code below a folder that contain the name. Tests and comments may contain it.
    fn find_name(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is = |name: &str| path.file_name().is_some_and(|file| file == name);
            if path.is_dir() && !is("tests") && !is("target") {
                find_name(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !is("tests.rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap_or_default().lines();
                let lines = code.filter(|line| line.contains(NAME) && !line.trim_start().starts_with("//"));
                found.extend(lines.map(|line| format!("{}: {}", path.display(), line.trim())));
            }
        }
    }

    #[test]
    fn no_other_file_contains_the_name() {
        let mut found = Vec::new();
        find_name(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), &mut found);
        assert!(found.len() == 1 && found[0].contains("program/src/lib.rs"), "{}", found.join("\n"));
    }
}
