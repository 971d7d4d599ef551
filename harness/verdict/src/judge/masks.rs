//! Compares everything that a kernel reports about a delegation with what was requested.

use harness_protocol::{
    mount_option::MountOption,
    outcome::{ContainerFact, TokenMasks},
};
use harness_uapi::{
    delegation::{Delegation, known_bits},
    vocabulary::{Kind, Vocabulary},
};

/// Returns one line for each mask in which the request for a container differs from what its kernel reports; empty if all
/// agree.
///
/// A mount shows no bit without a name (`bpf_show_options`), `fdinfo` says `any` for all that have one
/// (`bpf_token_show_fdinfo`), and `BPF_OBJ_GET_INFO_BY_FD` returns every bit (`bpf_token_get_info_by_fd`).
pub(super) fn disagreements(asked: &[MountOption], fact: &ContainerFact, vocabulary: &Vocabulary) -> Vec<String> {
    let who = &fact.container;
    let asked = match Delegation::requested(asked, vocabulary) {
        Ok(asked) => asked.masks(),
        Err(error) => return vec![format!("{who}'s bpffs was mounted although {error}")],
    };
    let mounted = match Delegation::shown(&fact.mounted, vocabulary) {
        Ok(mounted) => mounted.masks(),
        Err(error) => return vec![format!("{who}'s mount cannot be read: {error}")],
    };
    disagreeing(fact, asked, mounted, vocabulary)
}

/// The same for a systemd unit, whose options systemd sets: the mount shows them, except for bits without a name in the
/// kernel, which only the token shows.
pub(super) fn disagreements_within(fact: &ContainerFact, vocabulary: &Vocabulary) -> Vec<String> {
    let mounted = match Delegation::shown(&fact.mounted, vocabulary) {
        Ok(mounted) => mounted.masks(),
        Err(error) => return vec![format!("{}'s mount cannot be read: {error}", fact.container)],
    };
    let mut asked = mounted;
    for (at, kind) in Kind::ALL.into_iter().enumerate() {
        let held = fact.token.as_ref().map_or(0, |token| held(token, at));
        asked[at] |= held & !known_bits(vocabulary.table(kind));
    }
    disagreeing(fact, asked, mounted, vocabulary)
}

fn held(token: &TokenMasks, at: usize) -> u64 {
    let fact = || token.fdinfo[at].strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    token.info.map(|info| info[at]).or_else(fact).unwrap_or_default()
}

fn disagreeing(fact: &ContainerFact, asked: [u64; 4], mounted: [u64; 4], vocabulary: &Vocabulary) -> Vec<String> {
    let who = &fact.container;
    let line = |(at, kind): (usize, Kind)| {
        let known = known_bits(vocabulary.table(kind));
        let mut parts = Vec::new();
        if mounted[at] & known != asked[at] & known {
            parts.push(format!("its mount shows {:#x}", mounted[at]));
        }
        parts.extend(fact.token.iter().flat_map(|token| token_parts(token, at, asked[at], known)));
        let differs = !parts.is_empty();
        differs.then(|| {
            format!("{who} should have been delegated {} {:#x}, but {}", kind.plural(), asked[at], parts.join(", "))
        })
    };
    Kind::ALL.into_iter().enumerate().filter_map(line).collect()
}

fn token_parts(token: &TokenMasks, at: usize, asked: u64, known: u64) -> Vec<String> {
    let mut parts = Vec::new();
    let expected = if asked & known == known { "any".to_owned() } else { format!("{asked:#x}") };
    if token.fdinfo[at] != expected {
        parts.push(format!("its token's fdinfo says {}", token.fdinfo[at]));
    }
    if let Some(info) = token.info.map(|info| info[at]).filter(|info| *info != asked) {
        parts.push(format!("its token's info says {info:#x}"));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary() -> Vocabulary {
        serde_json::from_str(include_str!("../../../../kernels/vocabulary/7.3.json")).unwrap()
    }

    fn option(key: &str, value: &str) -> MountOption {
        MountOption { key: key.to_owned(), value: value.to_owned() }
    }

    fn fact(mounted: &[MountOption], fdinfo: [&str; 4], info: [u64; 4]) -> ContainerFact {
        let token = TokenMasks { fdinfo: fdinfo.map(str::to_owned), info: Some(info) };
        let container = "container".parse().unwrap();
        ContainerFact { case: 0, container, mounted: mounted.to_vec(), token: Some(token), no_token: None }
    }

    #[test]
    fn bits_without_a_name_are_no_disagreement_of_a_unit() {
        let mounted = [option("delegate_maps", "hash")];
        let same = fact(&mounted, ["0x0", "0x2", "0x0", "0x8000000000000000"], [0, 2, 0, 1 << 63]);
        assert_eq!(disagreements_within(&same, &vocabulary()), Vec::<String>::new());
        let mut before_6_17 = fact(&mounted, ["0x1", "0x2", "0x0", "0x8000000000000000"], [0; 4]);
        before_6_17.token.iter_mut().for_each(|token| token.info = None);
        let expected = ["container should have been delegated cmds 0x0, but its token's fdinfo says 0x1"];
        assert_eq!(disagreements_within(&before_6_17, &vocabulary()), expected);
    }

    #[test]
    fn agreement_is_silent() {
        let asked = [option("delegate_cmds", "0x1:prog_load"), option("delegate_maps", "any")];
        let mounted = [option("delegate_cmds", "map_create:prog_load"), option("delegate_maps", "any")];
        let fact = fact(&mounted, ["0x21", "any", "0x0", "0x0"], [0x21, u64::MAX, 0, 0]);
        assert_eq!(disagreements(&asked, &fact, &vocabulary()), Vec::<String>::new());
        let bare = ContainerFact { token: None, ..fact };
        assert_eq!(disagreements(&asked, &bare, &vocabulary()), Vec::<String>::new());
    }

    #[test]
    fn a_bit_without_a_name_is_shown_by_no_mount() {
        let asked = [option("delegate_maps", "0x8000000000000002")];
        let fact = fact(
            &[option("delegate_maps", "hash")],
            ["0x0", "0x8000000000000002", "0x0", "0x0"],
            [0, 1 << 63 | 2, 0, 0],
        );
        assert_eq!(disagreements(&asked, &fact, &vocabulary()), Vec::<String>::new());
    }

    #[test]
    fn every_source_that_differs_is_named() {
        let asked = [option("delegate_maps", "hash")];
        let fact = fact(&[option("delegate_maps", "array")], ["0x0", "any", "0x1", "0x0"], [0, 6, 0, 0]);
        let expected = [
            "container should have been delegated maps 0x2, but its mount shows 0x4, its token's fdinfo says any, its token's \
             info says 0x6",
            "container should have been delegated progs 0x0, but its token's fdinfo says 0x1",
        ];
        assert_eq!(disagreements(&asked, &fact, &vocabulary()), expected);
    }

    #[test]
    fn what_cannot_be_read_is_a_finding() {
        let unreadable = fact(&[option("delegate_maps", "?")], ["0x0"; 4], [0; 4]);
        insta::assert_snapshot!(
            disagreements(&[], &unreadable, &vocabulary())[0],
            @"container's mount cannot be read: `?` in the mount option delegate_maps is neither a name this kernel knows nor a 64-bit number"
        );
        let refused = disagreements(&[option("delegate_maps", "ANY")], &fact(&[], ["0x0"; 4], [0; 4]), &vocabulary());
        insta::assert_snapshot!(
            refused[0],
            @"container's bpffs was mounted although `ANY` in the mount option delegate_maps is neither a name this kernel knows nor a 64-bit number"
        );
    }
}
