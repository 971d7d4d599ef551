//! Resolves capabilities.

use harness_diagnostics::{node::KeyPath, suggest::did_you_mean};
use harness_scenario::choice::Capabilities;
use harness_uapi::capability;

use crate::expand::problems::Problems;

/// Returns the numbers of a container's capabilities, sorted.
pub(crate) fn of(caps: &Capabilities, key_path: &KeyPath, problems: &mut Problems<'_>) -> Vec<u32> {
    match caps {
        Capabilities::All => capability::all(),
        Capabilities::Listed(names) => numbers(names, key_path, problems),
    }
}

/// Returns the numbers of these capabilities, sorted.
pub(crate) fn numbers(names: &[String], key_path: &KeyPath, problems: &mut Problems<'_>) -> Vec<u32> {
    let mut numbers = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let key_path = key_path.index(index);
        match capability::number(name) {
            Some(number) if numbers.contains(&number) => {
                problems.problem(&key_path, format!("`{name}` is listed twice"))
            }
            Some(number) => numbers.push(number),
            None => {
                let advice = advice(name).unwrap_or_else(|| "see capabilities(7)".to_owned());
                problems.advise(&key_path, format!("`{}` is not a capability", name.escape_debug()), advice);
            }
        }
    }
    numbers.sort_unstable();
    numbers
}

/// Suggests a capability with a similar name.
fn advice(text: &str) -> Option<String> {
    did_you_mean(text.to_ascii_lowercase().trim_start_matches("cap_"), capability::NAMES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_capability_is_recognised() {
        assert_eq!(advice("CAP_SYS_ADMN").unwrap(), "did you mean `sys_admin`?");
    }
}
