//! Validated names of kernels, images, mutants, containers and scenarios.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text is not a valid name.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("`{text}` cannot name {what}: {reason}")]
pub struct NameError {
    text: String,
    what: &'static str,
    reason: &'static str,
}

/// The longest valid name in bytes: names become file names with suffixes.
const LONGEST: usize = 100;

fn check_component(text: &str, what: &'static str) -> Result<(), NameError> {
    let fail = |reason| NameError { text: text.chars().take(LONGEST).collect(), what, reason };
    if text.is_empty() {
        return Err(fail("it is empty"));
    }
    if text.len() > LONGEST {
        return Err(fail("it is longer than 100 bytes"));
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(fail("it must start with a letter or a digit"));
    }
    if !text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+')) {
        return Err(fail("only ASCII letters, digits and the characters . - _ + are allowed"));
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$meta:meta])* $name:ident, $what:literal, $check:expr) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema), schemars(with = "String"))]
        pub struct $name(String);

        impl $name {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                let check: fn(&str, &'static str) -> Result<(), NameError> = $check;
                check(text, $what)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name_type!(
    /// The name of a kernel: a manifest's file name without `.toml`, such as `6.12`.
    KernelName, "a kernel", check_component
);
name_type!(
    /// The name of a mutant, such as `token-of-any-namespace`.
    MutantName, "a mutant", check_component
);
name_type!(
    /// The name of an image: a manifest's file name without `.toml`, such as `minimal`.
    ImageName, "an image", check_component
);
name_type!(
    /// The name of a container in a scenario, such as `intruder`.
    ContainerName, "a container", check_component
);
name_type!(
    /// The name of a scenario: its path below the scenario folder without `.toml`, such as `token/wrong-map-type`.
    ScenarioName, "a scenario", |text, what| {
        text.split('/').try_for_each(|part| check_component(part, what))
    }
);

/// A kernel together with an image: what a scenario runs in.
///
/// Displayed as `6.12@systemd-262`; neither name can contain `@`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Environment {
    /// The kernel.
    pub kernel: KernelName,
    /// The image.
    pub image: ImageName,
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}@{}", self.kernel, self.image))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_file_names_allow() {
        for text in ["6.12", "7.3-unpriv0", "6.12.0+rt", "a_b"] {
            assert_eq!(text.parse::<KernelName>().unwrap().as_str(), text);
        }
        assert_eq!("token/nothing-delegated".parse::<ScenarioName>().unwrap().as_str(), "token/nothing-delegated");
    }

    #[test]
    fn a_rejection_says_what_a_name_must_be() {
        let rejected = |text: &str| text.parse::<KernelName>().unwrap_err();
        insta::assert_snapshot!(rejected(""), @"`` cannot name a kernel: it is empty");
        insta::assert_snapshot!(
            rejected("a/b"),
            @"`a/b` cannot name a kernel: only ASCII letters, digits and the characters . - _ + are allowed"
        );
        insta::assert_snapshot!(
            "a/../b".parse::<ScenarioName>().unwrap_err(),
            @"`..` cannot name a scenario: it must start with a letter or a digit"
        );
        let long = "a".repeat(LONGEST + 1);
        let shown = format!("`{}`", &long[..LONGEST]);
        insta::assert_snapshot!(
            rejected(&long).to_string().replace(&shown, "[NAME]"),
            @"[NAME] cannot name a kernel: it is longer than 100 bytes"
        );
    }

    #[test]
    fn rejects_what_could_leave_the_folder() {
        for text in ["", ".", "..", ".hidden", "a/b", "a b", "ä", "-x", &"a".repeat(101)] {
            assert!(text.parse::<KernelName>().is_err(), "{text:?}");
        }
        for text in ["", "/", "a/", "/a", "../a", "a/../b", "a//b", "a/./b"] {
            assert!(text.parse::<ScenarioName>().is_err(), "{text:?}");
        }
    }
}
