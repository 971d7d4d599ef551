//! The `struct_ops` structure that every kernel here can register from a program: a TCP congestion control.

use harness_protocol::plan::{Call, KernelMember, PartContent, PartOffset, ProgTarget, ValuePart};

use crate::recipe::{
    draft::Draft,
    maps::{self, MapArguments},
    progs,
};

/// The structure (`include/net/tcp.h`).
const STRUCTURE: &str = "tcp_congestion_ops";

/// The members that the kernel requires (`tcp_validate_congestion_control` in `net/ipv4/tcp_cong.c`).
const REQUIRED: [&str; 3] = ["ssthresh", "undo_cwnd", "cong_avoid"];

/// Its name; no socket uses it, because none selects it by name.
const NAME: &str = "harness";

/// Saves a map that can be linked: with `BPF_F_LINK`, and a program for each required member.
pub(super) fn linkable_map(draft: &mut Draft<'_, '_>) -> String {
    let member = |member: &str| KernelMember { structure: STRUCTURE.to_owned(), member: member.to_owned() };
    let mut parts = vec![part(member("name"), PartContent::Text(NAME.to_owned()))];
    for name in REQUIRED {
        let prog = program(draft, member(name));
        parts.push(part(member(name), PartContent::Fd(draft.save(name, prog))));
    }
    let arguments = MapArguments {
        value_size: 0,
        flags: &["link"],
        structure: Some("bpf_struct_ops_tcp_congestion_ops"),
        ..MapArguments::PLAIN
    };
    let map = maps::of_structure(draft, "map", arguments);
    draft.then(Call::MapUpdate { map: map.clone(), key: vec![0; 4], value: Vec::new(), parts });
    map
}

fn part(at: KernelMember, what: PartContent) -> ValuePart {
    ValuePart { at: PartOffset::StructOps(at), what }
}

fn program(draft: &mut Draft<'_, '_>, member: KernelMember) -> Call {
    let mut call = progs::load(draft, "struct_ops", None);
    if let Call::ProgLoad { target, .. } = &mut call {
        *target = ProgTarget::Member(member);
    }
    call
}
