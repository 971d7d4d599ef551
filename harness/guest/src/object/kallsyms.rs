//! Functions of BPF programs among the kernel's symbols.
//!
//! A program's symbols go away with its last descriptor (`bpf_prog_put`, `kernel/bpf/syscall.c`), and so with the
//! process that loaded it: those that exist while an object is loaded are the object's.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufRead, BufReader},
};

/// Returns which of these functions are listed with an address.
pub(super) fn shown(functions: &[String]) -> io::Result<BTreeSet<String>> {
    among(BufReader::new(File::open("/proc/kallsyms")?), functions)
}

/// Parses lines of an address, a letter and a name; a program's name is `bpf_prog_TAG_FUNCTION`
/// (`bpf_prog_ksym_set_name`, `kernel/bpf/core.c`). The kernel shows an address of zeros to readers who may not see it.
fn among(text: impl BufRead, functions: &[String]) -> io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let line = line?;
        let mut words = line.split_whitespace();
        let (Some(address), Some(name)) = (words.next(), words.nth(1)) else { continue };
        let function =
            name.strip_prefix("bpf_prog_").and_then(|rest| rest.split_once('_')).map(|(_, function)| function);
        if let Some(function) = function.filter(|_| address.bytes().any(|digit| digit != b'0')) {
            found.extend(functions.iter().filter(|wanted| *wanted == function).cloned());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_functions_of_programs_with_an_address_count() {
        let text = "ffffffff81000000 T main\n\
            ffffffffc0000000 t bpf_prog_6deef7357e7b4530_main\t[bpf]\n\
            0000000000000000 t bpf_prog_6deef7357e7b4530_hidden [bpf]\n\
            ffffffffc0000040 t bpf_prog_a04f5eef06a7f555_sub_program\t[bpf]\n";
        let wanted = ["main", "hidden", "sub_program", "program"].map(str::to_owned);
        let found = among(text.as_bytes(), &wanted).unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["main", "sub_program"]);
    }
}
