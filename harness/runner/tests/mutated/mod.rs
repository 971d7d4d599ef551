//! Lists of mount options with realistic mistakes: mutations of valid lists, the same for the same seed.

use fastrand::Rng;
use harness_protocol::mount_option::{LONGEST_VALUE, MountOption};
use harness_uapi::{
    delegation::options_of,
    vocabulary::{Kind, NameTable, Vocabulary},
};

/// Returns `count` different lists for a kernel with these names; the first has no mistake.
pub(crate) fn lists(count: usize, seed: u64, vocabulary: &Vocabulary) -> Vec<Vec<MountOption>> {
    let mut rng = Rng::with_seed(seed);
    let mut lists: Vec<Vec<MountOption>> = Vec::with_capacity(count);
    while lists.len() < count {
        let mut list = good(&mut rng, vocabulary);
        if !lists.is_empty() {
            (0..=rng.u8(..2)).for_each(|_| mutate(&mut rng, &mut list, vocabulary));
        }
        if !list.is_empty() && !lists.contains(&list) {
            lists.push(list);
        }
    }
    lists
}

/// Returns a list with one to six known names of each kind; some kinds are omitted.
fn good(rng: &mut Rng, vocabulary: &Vocabulary) -> Vec<MountOption> {
    let mut options = Vec::new();
    for kind in Kind::ALL {
        if rng.u8(..4) == 0 {
            continue;
        }
        let names: Vec<&str> = vocabulary.table(kind).iter().map(|named| named.name.as_str()).collect();
        let chosen: Vec<&str> = (0..rng.usize(1..=6)).filter_map(|_| rng.choice(&names).copied()).collect();
        options.extend(options_of(harness_uapi::delegation::option_of(kind), chosen));
    }
    options
}

/// Makes one mistake.
fn mutate(rng: &mut Rng, list: &mut Vec<MountOption>, vocabulary: &Vocabulary) {
    let Some(at) = (!list.is_empty()).then(|| rng.usize(..list.len())) else { return };
    if rng.u8(..8) == 0 {
        return mutate_whole(rng, list, at);
    }
    let option = &mut list[at];
    let table = Kind::ALL.into_iter().find(|kind| harness_uapi::delegation::option_of(*kind) == option.key);
    let mut elements: Vec<String> = option.value.split(':').map(str::to_owned).collect();
    mutate_elements(rng, &mut elements, table.map(|kind| vocabulary.table(kind)));
    option.value = elements.join(":");
}

/// Makes a mistake in an option as a whole.
fn mutate_whole(rng: &mut Rng, list: &mut Vec<MountOption>, at: usize) {
    let option = &mut list[at];
    match rng.u8(..6) {
        0 => option.key = misspelt(rng, &option.key),
        1 => option.value = String::new(),
        2 => drop(list.remove(at)),
        3 => {
            let again = option.clone();
            list.push(again);
        }
        4 => option.value = padded(&option.value, LONGEST_VALUE + rng.usize(..2)),
        _ => option.value.make_ascii_uppercase(),
    }
}

/// Pads a value with zeros to `length` bytes; the meaning stays the same, unless it becomes too long.
fn padded(value: &str, length: usize) -> String {
    let zeros = length.saturating_sub(value.len() + 1);
    if zeros == 0 { value.to_owned() } else { format!("{}:{value}", "0".repeat(zeros)) }
}

/// Makes a mistake in the elements of a value.
fn mutate_elements(rng: &mut Rng, elements: &mut Vec<String>, table: Option<&NameTable>) {
    let at = rng.usize(..elements.len());
    let number = table.and_then(|table| table.number(&elements[at]));
    let bit = number.unwrap_or(rng.u32(..64));
    match rng.u8(..18) {
        0 | 1 => elements[at] = misspelt(rng, &elements[at]),
        2 => drop(elements.remove(at)),
        3 => elements.insert(at, elements[at].clone()),
        4 => elements[at] = bit.to_string(),
        5 => elements[at] = format!("{:#x}", 1_u64 << bit),
        6 => elements[at] = (1_u64 << bit).to_string(),
        7 => elements[at] = format!("0{:o}", 1_u64 << bit),
        8 => elements.insert(at, "any".to_owned()),
        9 => elements[at] = pick(rng, &["ANY", "Any", "all", "none", "*", "-1", "common_attrs", "0"]),
        10 => elements[at].make_ascii_uppercase(),
        11 => elements[at] = format!("{}{}", table.map_or("BPF_", |table| table.kind().prefix()), elements[at]),
        12 => elements.insert(at, String::new()),
        13 => elements[at] = format!("{}{}", pick(rng, &["+", "-", " ", "0x", "0X", "0", "0b"]), elements[at]),
        14 => elements[at] = format!("{}{}", elements[at], pick(rng, &["\n", " ", ",", "\n\n", "x", ";"])),
        15 => elements[at] = format!("{}", u128::from(u64::MAX) + u128::from(rng.u8(..3))),
        16 => elements[at] = format!("{:#x}{}", u128::from(u64::MAX) + u128::from(rng.u8(..3)), pick(rng, &["", "g"])),
        _ => elements[at] = elements[at].replace('_', pick(rng, &["-", "", "__"]).as_str()),
    }
}

fn pick(rng: &mut Rng, among: &[&str]) -> String {
    rng.choice(among).copied().unwrap_or_default().to_owned()
}

/// Omits, doubles, swaps or replaces a letter.
fn misspelt(rng: &mut Rng, word: &str) -> String {
    let mut letters: Vec<char> = word.chars().collect();
    if letters.len() < 2 {
        return "x".to_owned();
    }
    let at = rng.usize(..letters.len() - 1);
    match rng.u8(..4) {
        0 => drop(letters.remove(at)),
        1 => letters.insert(at, letters[at]),
        2 => letters.swap(at, at + 1),
        _ => letters[at] = rng.lowercase(),
    }
    letters.into_iter().collect()
}
