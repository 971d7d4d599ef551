//! Holds the twins against `abi.h` itself.

use super::*;

const ABI_H: &str = include_str!("../../../bpf/abi.h");

/// The lines between `start` and the next `}`, without comments.
fn body(start: &str) -> Vec<String> {
    let mut text = String::new();
    let mut rest = ABI_H;
    while let Some((before, after)) = rest.split_once("/*") {
        text.push_str(before);
        rest = after.split_once("*/").unwrap().1;
    }
    text.push_str(rest);
    let (_, after) = text.split_once(&format!("{start} {{")).unwrap_or_else(|| panic!("abi.h has no `{start}`"));
    let (inside, _) = after.split_once('}').unwrap();
    inside.split([';', ',']).map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

fn defined(text: &str) -> usize {
    let value = |name: &str| {
        let line = ABI_H.lines().find_map(|line| line.strip_prefix(&format!("#define {name} ")));
        line.and_then(|value| value.trim().parse().ok()).or_else(|| name.parse().ok())
    };
    let mut parts = text.split(" / ");
    let first = value(parts.next().unwrap()).unwrap_or_else(|| panic!("{text}"));
    parts.fold(first, |dividend, part| dividend / value(part).unwrap())
}

/// The name and offset of each member of a structure of `abi.h`.
fn members(structure: &str) -> Vec<(String, usize)> {
    let mut at: usize = 0;
    let member = |line: String| {
        let (kind, declared) = line.split_once(' ').unwrap();
        let size = match kind {
            "__u64" => 8,
            "__u32" => 4,
            "__u16" => 2,
            "__u8" | "char" => 1,
            other => panic!("{other}"),
        };
        let mut parts = declared.split(['[', ']']).filter(|part| !part.is_empty());
        let name = parts.next().unwrap().to_owned();
        let offset = at;
        assert_eq!(offset % size, 0, "{structure}.{name} is not aligned");
        at += size * parts.map(defined).product::<usize>();
        (name, offset)
    };
    body(&format!("struct {structure}")).into_iter().map(member).collect()
}

#[test]
fn members_have_the_names_and_offsets_of_the_header() {
    let twins = [
        ("guard_settings", Settings::FIELDS),
        ("guard_rule", Rule::FIELDS),
        ("guard_cgroup", Cgroup::FIELDS),
        ("guard_profile", Profile::FIELDS),
        ("guard_loader", Loader::FIELDS),
        ("guard_set_key", SetKey::FIELDS),
    ];
    for (name, fields) in twins {
        let twin: Vec<_> = fields.iter().map(|field| (field.name.to_owned(), field.offset)).collect();
        assert_eq!(members(name), twin, "{name}");
    }
}

/// The numbers of the enumerators of an enumeration of `abi.h`, in order, without its bound.
fn enumerators(enumeration: &str) -> Vec<u64> {
    let mut numbers: Vec<u64> = Vec::new();
    let mut by_name: Vec<(String, u64)> = Vec::new();
    for line in body(&format!("enum {enumeration}")) {
        let (name, value) = line.split_once(" = ").map_or((line.as_str(), None), |(name, value)| (name, Some(value)));
        let known = |text: &str| by_name.iter().find(|(name, _)| name == text).map(|(_, number)| *number);
        let number = match value {
            Some(value) => known(value).unwrap_or_else(|| value.parse().unwrap()),
            None => by_name.last().map_or(0, |(_, last)| last + 1),
        };
        by_name.push((name.to_owned(), number));
        if !name.ends_with("GUARD_HARD") && !name.ends_with("_VERDICTS") {
            numbers.push(number);
        }
    }
    numbers
}

#[test]
fn enumerations_have_the_numbers_of_the_header() {
    let verdicts: Vec<u64> = Verdict::ALL.iter().map(|verdict| verdict.number().into()).collect();
    assert_eq!(enumerators("guard_verdict"), verdicts);
    let reasons: Vec<u64> = Reason::ALL.iter().map(|reason| reason.number().into()).collect();
    assert_eq!(enumerators("guard_reason"), reasons);
    assert_eq!(enumerators("guard_userns"), [USERNS_ANY, USERNS_INITIAL, USERNS_NOT_INITIAL].map(u64::from));
    assert_eq!(enumerators("guard_action"), [USE_PROFILE, ALLOW, DENY].map(u64::from));
    assert_eq!(enumerators("guard_mode"), [MODE_OF_POLICY, MODE_AUDIT, MODE_ENFORCE].map(u64::from));
    let bounds = [
        ("GUARD_ABI", ABI as usize),
        ("GUARD_MOST_RULES", MOST_RULES),
        ("GUARD_MOST_PROFILES", MOST_PROFILES),
        ("GUARD_MOST_CGROUPS", MOST_CGROUPS),
        ("GUARD_CGROUP_DEPTH", CGROUP_DEPTH),
        ("GUARD_CGROUP_NAME", CGROUP_NAME),
        ("GUARD_ATTACH_TYPES", ATTACH_TYPES),
        ("GUARD_HELPERS", HELPERS),
    ];
    for (name, bound) in bounds {
        assert_eq!(defined(name), bound, "{name}");
    }
}

#[test]
fn bytes_are_little_endian_and_in_order() {
    let rule = Rule { cmds: 1, uid_min: 2, number: 3, action: DENY, mode: MODE_ENFORCE, ..Rule::default() };
    let bytes = rule.bytes();
    assert_eq!(bytes.len(), Rule::SIZE);
    assert_eq!((bytes[0], bytes[8], bytes[24], bytes[31], bytes[32]), (1, 2, 3, DENY, MODE_ENFORCE));
    assert_eq!(SetKey::of_kfunc(1, 0x0102_0304).bytes()[..9], [0, 3, 1, 0, 4, 3, 2, 1, 0]);
    assert_eq!(Settings::default().bytes().len(), Settings::SIZE);
}
