//! Cargo subcommands that checks need and Rust does not bring: those that are missing are installed.

use std::process::Stdio;

use crate::steps::{Kind, Step, cargo};

/// The subcommands, each with its package and the version that is installed where it is missing.
const TOOLS: [(&str, &str); 2] = [("deny", "cargo-deny@0.20.2"), ("machete", "cargo-machete@0.9.2")];

/// Returns the step that installs what this machine lacks; `None` if it has everything.
pub(crate) fn installation() -> Option<Step> {
    step(|subcommand| {
        let mut command = cargo();
        command.args([subcommand, "--version"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}

fn step(is_installed: impl Fn(&str) -> bool) -> Option<Step> {
    let missing: Vec<&str> =
        TOOLS.iter().filter(|(subcommand, _)| !is_installed(subcommand)).map(|(_, package)| *package).collect();
    // Without optimization they compile in half the time, and still run within seconds.
    let arguments = ["install", "--locked", "--debug"].into_iter().chain(missing.iter().copied()).collect();
    let variables = vec![("CARGO_PROFILE_DEV_DEBUG", "0".to_owned())];
    (!missing.is_empty()).then_some(Step { name: "tools", kind: Kind::Preparation, arguments, variables })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_installed() {
        assert!(step(|_| true).is_none());
        let words = |step: Option<Step>| step.unwrap().arguments.join(" ");
        assert_eq!(words(step(|tool| tool == "deny")), "install --locked --debug cargo-machete@0.9.2");
        assert_eq!(words(step(|_| false)), "install --locked --debug cargo-deny@0.20.2 cargo-machete@0.9.2");
    }
}
