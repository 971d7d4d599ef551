//! Kconfig options in files: fragments that ask for some, and resolved configurations that have them all.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use harness_uapi::configuration::Configuration;
use thiserror::Error;

/// The value of an option, as a configuration file writes it: `y`, `m`, a number, or a quoted string. An option that is
/// off (`# CONFIG_X is not set`) or missing has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value(Option<String>);

impl Value {
    /// An option that is off.
    pub const OFF: Self = Self(None);

    /// Returns the value that a file or a manifest writes; `n` is off.
    pub fn new(text: &str) -> Self {
        Self(Some(text.to_owned()).filter(|text| text != "n"))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.as_deref().unwrap_or("n"))
    }
}

/// A line of a fragment that is neither an option nor a comment.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("line {line}: `{text}` is neither `CONFIG_NAME=value`, `# CONFIG_NAME is not set`, nor a comment")]
pub struct BadLine {
    line: usize,
    text: String,
}

/// Options by name, `CONFIG_` included.
pub type Options = BTreeMap<String, Value>;

/// Parses a configuration file: a fragment or a resolved configuration. A later line overrides an earlier one, as in
/// Kconfig.
pub fn parse(text: &str) -> Result<Options, BadLine> {
    let mut options = Options::new();
    for (index, line) in text.lines().enumerate() {
        let bad = || BadLine { line: index + 1, text: line.chars().take(100).collect() };
        if let Some((name, value)) = option(line.trim()).map_err(|()| bad())? {
            options.insert(name.to_owned(), value);
        }
    }
    Ok(options)
}

/// Parses one line: an option, or nothing.
fn option(line: &str) -> Result<Option<(&str, Value)>, ()> {
    if let Some(comment) = line.strip_prefix('#') {
        let off = comment.trim().strip_suffix(" is not set").filter(|name| Configuration::is_option(name));
        return Ok(off.map(|name| (name, Value::OFF)));
    }
    match line.split_once('=') {
        Some((name, value)) if Configuration::is_option(name) && !value.is_empty() => {
            Ok(Some((name, Value::new(value))))
        }
        _ if line.is_empty() => Ok(None),
        _ => Err(()),
    }
}

/// How an option was resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It has this value.
    Value(Value),
    /// This kernel has no such option.
    Absent,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => write!(f, "resolved to {value}"),
            Self::Absent => f.write_str("but this kernel has no such option"),
        }
    }
}

/// An option that was not resolved to the requested value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The option.
    pub option: String,
    /// The requested value.
    pub wanted: Value,
    /// How the kernel's Kconfig resolved it.
    pub found: Found,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: requested {}, {}", self.option, self.wanted, self.found)
    }
}

/// Returns every option that was not resolved to the requested value; `absent` are those this kernel does not have.
pub fn mismatches(wanted: &Options, resolved: &Options, absent: &BTreeSet<String>) -> Vec<Mismatch> {
    let found = |option: &String| match resolved.get(option) {
        _ if absent.contains(option) => Found::Absent,
        Some(value) => Found::Value(value.clone()),
        None => Found::Value(Value::OFF),
    };
    wanted
        .iter()
        .map(|(option, wanted)| Mismatch { option: option.clone(), wanted: wanted.clone(), found: found(option) })
        .filter(|mismatch| mismatch.found != Found::Value(mismatch.wanted.clone()))
        .collect()
}

/// Reads the options that Kconfig reports as unknown (`KCONFIG_WARN_UNKNOWN_SYMBOLS`, since 6.6):
/// `FILE:LINE:warning: unknown symbol: NAME`.
pub fn absent(warnings: &str) -> BTreeSet<String> {
    let names = warnings.lines().filter_map(|line| line.split_once("warning: unknown symbol: "));
    names.map(|(_, name)| format!("CONFIG_{}", name.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_the_last_line_wins() {
        let text = "# a comment\n\n#\nCONFIG_A=y\nCONFIG_S=\"a=b # c\"\n  CONFIG_N=0x10  \n# CONFIG_A is not set\n\
                    CONFIG_B=n\n# CONFIG_X is not settled\n";
        let options = parse(text).unwrap();
        let shown: Vec<String> = options.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(shown, ["CONFIG_A=n", "CONFIG_B=n", "CONFIG_N=0x10", "CONFIG_S=\"a=b # c\""]);
    }

    #[test]
    fn a_line_that_would_be_ignored_is_refused() {
        for line in ["CONFIG_A", "CONFIG_A=", "CONFIGA=y", "A=y", "CONFIG_=y", "CONFIG_A y", "config_a=y", "CONFIG_Ä=y"]
        {
            let error = parse(&format!("CONFIG_OK=y\n{line}\n")).unwrap_err();
            let form = "neither `CONFIG_NAME=value`, `# CONFIG_NAME is not set`, nor a comment";
            assert_eq!(error.to_string(), format!("line 2: `{line}` is {form}"));
        }
    }

    #[test]
    fn an_option_is_compared_by_value_and_absent_is_off() {
        let wanted =
            parse("CONFIG_A=y\nCONFIG_B=y\nCONFIG_C=y\n# CONFIG_D is not set\n# CONFIG_E is not set\n").unwrap();
        let resolved = parse("CONFIG_A=y\nCONFIG_B=m\nCONFIG_E=y\nCONFIG_F=y\n").unwrap();
        let absent = absent("x.config:1:warning: unknown symbol: C\nx.config:2:warning: unknown symbol: D\nother\n");
        let shown: Vec<String> = mismatches(&wanted, &resolved, &absent).iter().map(Mismatch::to_string).collect();
        assert_eq!(
            shown,
            [
                "CONFIG_B: requested y, resolved to m",
                "CONFIG_C: requested y, but this kernel has no such option",
                "CONFIG_D: requested n, but this kernel has no such option",
                "CONFIG_E: requested n, resolved to y",
            ]
        );
    }
}
