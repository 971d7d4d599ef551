//! Parses flags, bytes, instructions and targets.

use harness_diagnostics::{
    node::KeyPath,
    suggest::{did_you_mean, one_of},
};
use harness_protocol::plan::{KernelMember, KernelType, ProgTarget};
use harness_scenario::choice::{Bytes, Flag};

use crate::{
    expand::{links, problems::Problems},
    recipe,
};

/// Returns the bits of these flags.
pub(crate) fn flags(flags: &[Flag], table: &[(&str, u32)], key_path: &KeyPath, problems: &mut Problems<'_>) -> u32 {
    let mut bits = 0;
    for (index, flag) in flags.iter().enumerate() {
        let key_path = key_path.index(index);
        let bit = match flag {
            Flag::Bits(bits) => *bits,
            Flag::Name(name) => named_flag(name, table, &key_path, problems),
        };
        if bit & recipe::TOKEN_FD != 0 {
            problems.advise(&key_path, "`token_fd` cannot be set as a flag", "use the key `token` instead");
        }
        bits |= bit;
    }
    bits
}

fn named_flag(name: &str, table: &[(&str, u32)], key_path: &KeyPath, problems: &mut Problems<'_>) -> u32 {
    let lower = name.to_ascii_lowercase();
    let short = lower.strip_prefix("bpf_f_").unwrap_or(&lower);
    if short == "token_fd" {
        return recipe::TOKEN_FD;
    }
    let found = table.iter().find(|(flag, _)| *flag == short);
    if found.is_none() {
        let names = || table.iter().map(|(flag, _)| *flag);
        let advice = did_you_mean(short, names()).unwrap_or_else(|| one_of(names()));
        problems.advise(key_path, format!("`{}` is not a flag", name.escape_debug()), advice);
    }
    found.map_or(0, |(_, bit)| *bit)
}

/// Returns flags as labels show them: `no_prealloc,0x40`.
pub(crate) fn shown_flags(flags: Option<&[Flag]>) -> Option<String> {
    let shown = |flag: &Flag| match flag {
        Flag::Name(name) => name.to_ascii_lowercase().trim_start_matches("bpf_f_").to_owned(),
        Flag::Bits(bits) => format!("{bits:#x}"),
    };
    flags.map(|flags| flags.iter().map(shown).collect::<Vec<_>>().join(","))
}

/// Returns the bytes, which must have this number; zeros if the scenario does not set them.
pub(crate) fn bytes(
    bytes: Option<&Bytes>,
    size: u32,
    what: &str,
    key_path: &KeyPath,
    problems: &mut Problems<'_>,
) -> Option<Vec<u8>> {
    let size = usize::try_from(size).ok()?;
    let read = match bytes {
        None => return Some(vec![0; size.min(LARGEST)]),
        Some(Bytes::Listed(listed)) => Some(listed.clone()),
        Some(Bytes::Hex(text)) => from_hex(text),
    };
    match read {
        Some(read) if read.len() == size => return Some(read),
        Some(_) if !problems.is_complete(key_path) => {}
        Some(read) => {
            problems.problem(key_path, format!("expected {size} bytes for {what} of this map, found {}", read.len()))
        }
        None => not_hex(key_path, problems),
    }
    None
}

/// The largest key or value, in bytes, so that a plan stays small.
pub(crate) const LARGEST: usize = 256;

/// The most instructions of a program: the kernel's limit without CAP_BPF (`BPF_MAXINSNS`).
pub(crate) const MOST_INSTRUCTIONS: usize = 4096;

/// Parses instructions in hexadecimal digits: eight bytes each, in the order in memory.
pub(crate) fn instructions(lines: &[String], key_path: &KeyPath, problems: &mut Problems<'_>) -> Option<Vec<u64>> {
    let mut all = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        match from_hex(line) {
            Some(bytes) if !bytes.is_empty() && bytes.len().is_multiple_of(8) => {
                let words = bytes.chunks_exact(8).filter_map(|word| word.try_into().ok());
                all.extend(words.map(u64::from_le_bytes));
            }
            _ => {
                let message = "expected instructions of eight bytes each";
                problems.advise(
                    &key_path.index(index),
                    message,
                    "for example \"b7000000 00000000\", which is `r0 = 0`",
                );
                return None;
            }
        }
    }
    if !problems.is_complete(key_path) {
        return None;
    }
    if all.is_empty() || all.len() > MOST_INSTRUCTIONS {
        problems.problem(key_path, format!("expected 1 to {MOST_INSTRUCTIONS} instructions, found {}", all.len()));
        return None;
    }
    Some(all)
}

/// Parses what a program is written for.
pub(crate) fn prog_target(text: &str, key_path: &KeyPath, problems: &mut Problems<'_>) -> Option<ProgTarget> {
    let named = |name: &str| links::is_symbol(name).then(|| name.to_owned());
    let read = match text.split_once(':') {
        Some(("func", name)) => named(name).map(|name| ProgTarget::Kernel(KernelType::Func(name))),
        Some(("struct", name)) => named(name).map(|name| ProgTarget::Kernel(KernelType::Struct(name))),
        Some(("typedef", name)) => named(name).map(|name| ProgTarget::Kernel(KernelType::Typedef(name))),
        Some(("member", names)) => names.split_once('.').and_then(|(structure, member)| {
            Some(ProgTarget::Member(KernelMember { structure: named(structure)?, member: named(member)? }))
        }),
        None if text == "none" => Some(ProgTarget::None),
        _ => None,
    };
    if read.is_none() {
        let advice = "one of `func:NAME`, `struct:NAME`, `typedef:NAME`, `member:STRUCTURE.MEMBER`, `none`";
        problems.advise(key_path, format!("`{}` is not a target", text.escape_debug()), advice);
    }
    read
}

/// Parses bytes in hexadecimal digits.
pub(crate) fn hex(text: &str, key_path: &KeyPath, problems: &mut Problems<'_>) -> Option<Vec<u8>> {
    let read = from_hex(text);
    if read.is_none() {
        not_hex(key_path, problems);
    }
    read
}

fn not_hex(key_path: &KeyPath, problems: &mut Problems<'_>) {
    let advice = "write pairs of hexadecimal digits, for example \"01 00 00 00\"";
    problems.advise(key_path, "expected hexadecimal bytes", advice);
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b' ' | b':' | b'_')).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let plain = digits.iter().all(u8::is_ascii_hexdigit) && digits.len().is_multiple_of(2);
    plain.then(|| digits.chunks(2).map(pair).collect()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_come_in_pairs() {
        assert_eq!(from_hex("01 ff:0a_00"), Some(vec![1, 255, 10, 0]));
        assert_eq!(from_hex(""), Some(vec![]));
        for wrong in ["1", "0x01", "+1", "gg", "é1"] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
    }
}
