//! Fields of map values that the kernel manages (`btf_parse_fields` and its like in `kernel/bpf/btf.c`).

use std::collections::BTreeSet;

use harness_uapi::btf::{Btf, BtfKind};

/// Structures that are such fields, by name.
const STRUCTURES: [&str; 10] = [
    "bpf_spin_lock",
    "bpf_res_spin_lock",
    "bpf_timer",
    "bpf_wq",
    "bpf_task_work",
    "bpf_list_head",
    "bpf_list_node",
    "bpf_rb_root",
    "bpf_rb_node",
    "bpf_refcount",
];
/// Pointers that are such fields, by the tag of their type.
const TAGS: [&str; 4] = ["kptr", "kptr_untrusted", "percpu_kptr", "uptr"];
/// The most members of a value that are visited, nested ones included.
const MOST_STEPS: usize = 10_000;

/// The kinds of fields in values of this type that the kernel manages, sorted by name.
pub(crate) fn special(btf: &Btf<'_>, of: u32) -> Vec<&'static str> {
    let (mut seen, mut waiting, mut found) = (BTreeSet::new(), vec![of], BTreeSet::new());
    let mut left = MOST_STEPS;
    while let Some(number) = waiting.pop() {
        let Some((_, one)) = btf.plain(number).filter(|_| seen.insert(number)) else { continue };
        match one.kind {
            BtfKind::Struct if STRUCTURES.contains(&one.name) => {
                found.extend(STRUCTURES.iter().find(|name| **name == one.name));
            }
            BtfKind::Struct | BtfKind::Union | BtfKind::Datasec => {
                let before = waiting.len();
                waiting.extend(btf.members(&one).take(left).map(|member| member.of));
                left -= waiting.len() - before;
            }
            BtfKind::Var => waiting.push(one.size_or_type),
            BtfKind::Array => waiting.extend(btf.array(&one).map(|(element, _)| element)),
            BtfKind::Ptr => found.extend(tag(btf, one.size_or_type)),
            _ => {}
        }
    }
    found.into_iter().copied().collect()
}

/// The type tag of a pointer's target: the pointer refers to the tag, and the tag to the type.
fn tag(btf: &Btf<'_>, of: u32) -> Option<&'static &'static str> {
    let tag = btf.get(of).filter(|found| found.kind == BtfKind::TypeTag)?;
    TAGS.iter().find(|name| **name == tag.name)
}
