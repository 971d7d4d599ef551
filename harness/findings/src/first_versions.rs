//! The first versions of programs that have a part in delegation.

use std::fmt::Write as _;

use harness_objects::Library;
use harness_uapi::permission;

use crate::trial;

/// A program, and the first version with tokens or delegation.
struct First {
    program: String,
    version: String,
    what: &'static str,
    source: &'static str,
}

/// The table, in the order in which a delegation passes the programs.
fn all() -> Vec<First> {
    let first =
        |program: &str, version: String, what, source| First { program: program.to_owned(), version, what, source };
    let loader = |library: Library, what, source| {
        let version = library.first_with_tokens().map_or_else(|| "none".to_owned(), |version| version.to_string());
        first(&library.to_string(), version, what, source)
    };
    let release = permission::FIRST_RELEASE.to_string();
    vec![
        first("Linux", release, "tokens, and bpffs that delegate", "docs.ebpf.io, concept of tokens"),
        first("systemd", trial::FIRST_SYSTEMD.to_string(), "`PrivateBPF=` and `BPFDelegate*=`", "its NEWS"),
        first("Incus", "6.18 or before".to_owned(), "`security.bpffs.*`", "the documentation in its 6.18 tarball"),
        first(
            "LXD",
            "not established".to_owned(),
            "`security.delegate_bpf.*`",
            "documented for the newest version only",
        ),
        loader(
            Library::Libbpf,
            "`bpf_token_path`; since 1.5 its probes of names and of memory accounting pass the token, too",
            "`src/libbpf.h` of 1.4.0, `src/features.c` and `src/bpf.c` of 1.4.7 and 1.5.0",
        ),
        loader(
            Library::CiliumEbpf,
            "a token from the first bpffs that gives one",
            "its release notes, `internal/sys/token.go`",
        ),
        loader(Library::Aya, "no version passes a token", "the sources of 0.16.0"),
    ]
}

/// Returns the table as Markdown, for `docs/findings.md`.
pub fn table() -> String {
    let mut text = String::from("| program | first version | what it has | source |\n| --- | --- | --- | --- |\n");
    for First { program, version, what, source } in all() {
        let _ = writeln!(text, "| {program} | {version} | {what} | {source} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loader_has_a_row() {
        let text = table();
        for (library, version) in [("libbpf", "1.4"), ("cilium/ebpf", "0.22"), ("aya", "none"), ("systemd", "258")] {
            assert_eq!(text.matches(&format!("| {library} | {version} |")).count(), 1, "{library}");
        }
    }
}
