//! Mount options with additional bits, written so that equal masks give equal options: each needs its own bpffs, and
//! making one takes longer than most attempts.

use harness_protocol::mount_option::{MountOption, OPTIONS};

/// Returns options that also delegate `bits`. Numeric values of an option are merged into one number; values written by
/// name stay, and the bits are added as a further occurrence.
pub(super) fn with_bits(delegated: &[MountOption], bits: [u64; 4]) -> Vec<MountOption> {
    let mut options: Vec<MountOption> =
        delegated.iter().filter(|option| !OPTIONS.contains(&option.key.as_str())).cloned().collect();
    for (key, more) in OPTIONS.into_iter().zip(bits) {
        let before: Vec<&MountOption> = delegated.iter().filter(|option| option.key == key).collect();
        let mask = if more == u64::MAX { Some(more) } else { mask_of(&before).map(|mask| mask | more) };
        match mask {
            Some(0) => {}
            Some(mask) => options.push(MountOption::numeric(key, mask)),
            None => {
                options.extend(before.into_iter().cloned());
                options.extend((more != 0).then(|| MountOption::numeric(key, more)));
            }
        }
    }
    let same = masks_of(&options).is_some_and(|masks| Some(masks) == masks_of(delegated));
    if same { delegated.to_vec() } else { options }
}

fn masks_of(options: &[MountOption]) -> Option<[u64; 4]> {
    let mut masks = [0; 4];
    for (mask, key) in masks.iter_mut().zip(OPTIONS) {
        *mask = mask_of(&options.iter().filter(|option| option.key == key).collect::<Vec<_>>())?;
    }
    Some(masks)
}

/// Returns the sum of an option's occurrences; `None` if one of them is written by name.
fn mask_of(occurrences: &[&MountOption]) -> Option<u64> {
    occurrences.iter().try_fold(0, |mask, option| Some(mask | value_of(&option.value)?))
}

fn value_of(value: &str) -> Option<u64> {
    match value.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None if value == "any" => Some(u64::MAX),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Vec<MountOption> {
        let option = |part: &str| {
            let (key, value) = part.split_once('=').unwrap();
            MountOption { key: format!("delegate_{key}"), value: value.to_owned() }
        };
        text.split_whitespace().map(option).collect()
    }

    fn text(options: &[MountOption]) -> String {
        let shown = |option: &MountOption| format!("{}={}", option.key.trim_start_matches("delegate_"), option.value);
        options.iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn numbers_become_one_number_and_names_stay() {
        let more = |before: &str, bits| text(&with_bits(&options(before), bits));
        assert_eq!(more("cmds=0x1 maps=any", [0x20, 0, 0, 0]), "cmds=0x21 maps=0xffffffffffffffff");
        assert_eq!(more("cmds=prog_load", [0x1, 0, 0, 8]), "cmds=prog_load cmds=0x1 attachs=0x8");
        assert_eq!(more("cmds=prog_load", [u64::MAX, 0, 0, 0]), "cmds=0xffffffffffffffff");
        assert_eq!(more("foo=1", [0, 0, 0, 0]), "foo=1");
        assert_eq!(more("", [0; 4]), "");
    }

    #[test]
    fn delegating_everything_or_nothing_more_gives_canonical_options() {
        let everything = with_bits(&options("cmds=0x1"), [u64::MAX; 4]);
        assert_eq!(everything, with_bits(&options("progs=xdp attachs=any"), [u64::MAX; 4]));
        let before = options("maps=any cmds=0x3");
        assert_eq!(with_bits(&before, [0x2, u64::MAX, 0, 0]), before);
    }
}
