//! The name of the program. Messages and help texts take it from here: the same code is the repository's `cargo xtask` and
//! the installed program.

use std::{fmt, sync::OnceLock};

/// What a user types before a verb, in a checkout of the repository.
const IN_A_CHECKOUT: &str = "cargo xtask";

/// What a user types before a verb; formatted, it is the text.
pub static NAME: Name = Name(OnceLock::new());

/// A name that a program may set once, before it says it.
#[derive(Debug)]
pub struct Name(OnceLock<&'static str>);

impl Name {
    /// Sets the name of an installed program. Only the first call counts.
    pub fn set(&self, name: &'static str) {
        let _ = self.0.set(name);
    }

    /// Returns the name.
    pub fn as_str(&self) -> &'static str {
        self.0.get().copied().unwrap_or(IN_A_CHECKOUT)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{IN_A_CHECKOUT, NAME, Name};

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
                let lines = code.filter(|line| line.contains(IN_A_CHECKOUT) && !line.trim_start().starts_with("//"));
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

    #[test]
    fn only_the_first_name_counts() {
        let name = Name(std::sync::OnceLock::new());
        assert_eq!((name.to_string(), NAME.to_string()), (IN_A_CHECKOUT.to_owned(), IN_A_CHECKOUT.to_owned()));
        ["first", "second"].into_iter().for_each(|other| name.set(other));
        assert_eq!(name.as_str(), "first");
    }
}
