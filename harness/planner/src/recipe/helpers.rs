//! Recipes that survey the helpers of each program type.

use harness_protocol::plan::{Call, HelperIds, HelperSurvey, KernelMember, ProgTarget};
use harness_uapi::{resolver::NameResolver, vocabulary::Kind};

use crate::recipe::{Recipe, draft::Draft, flags, progs};

/// Returns the survey of a program type; `None` for an unknown type, or one without helpers of its own.
pub(super) fn recipe(name: &str, resolver: &NameResolver<'_>) -> Option<Recipe> {
    let arguments = progs::arguments(name).filter(|_| !progs::replaces(name))?;
    let mut draft = Draft::new(resolver);
    let survey = HelperSurvey {
        prog_type: draft.number(Kind::Prog, name),
        expected_attach_type: arguments.attach.map_or(0, |attach| draft.number(Kind::Attach, attach)),
        prog_flags: flags::bits(&flags::PROG_FLAGS, arguments.flags),
        target: target(name, arguments.attach),
        returns: progs::returns(arguments.attach),
        ids: HelperIds::up_to(resolver.last_helper()),
        within: None,
        beyond: Vec::new(),
    };
    Some(draft.done(Call::HelperSurvey(survey)))
}

/// Returns what a surveyed program is written for. A `struct_ops` program has the helpers of its structure; that of the
/// kernel's own tests, which other recipes use, has none (`net/bpf/bpf_dummy_struct_ops.c`).
pub(crate) fn target(name: &str, attach: Option<&str>) -> ProgTarget {
    match name {
        "struct_ops" => {
            let (structure, member) = ("tcp_congestion_ops".to_owned(), "ssthresh".to_owned());
            ProgTarget::Member(KernelMember { structure, member })
        }
        _ => progs::target(name, attach),
    }
}
