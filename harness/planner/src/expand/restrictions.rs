//! What a container puts up with besides lacking capabilities.

use harness_diagnostics::{
    node::Place,
    suggest::{did_you_mean, one_of},
};
use harness_protocol::plan::{Filter, Refused, Restrictions, SystemCall};
use harness_scenario::spec::{ContainerSpec, Seccomp};
use harness_uapi::{resolver::Lexicon, vocabulary::Kind};

use crate::expand::sink::Sink;

/// The restrictions a container asks for.
pub(crate) fn of(spec: &ContainerSpec, place: &Place, lexicon: &Lexicon<'_>, sink: &mut Sink<'_>) -> Restrictions {
    let filter = spec.seccomp.as_ref().map(|seccomp| filter(seccomp, &place.key("seccomp"), lexicon, sink));
    Restrictions { no_new_privs: spec.no_new_privs, filter }
}

fn filter(seccomp: &Seccomp, place: &Place, lexicon: &Lexicon<'_>, sink: &mut Sink<'_>) -> Filter {
    let place = place.key("refuse");
    let rules = seccomp.refuse.iter().enumerate();
    let refused = rules.filter_map(|(index, text)| refused(text, &place.index(index), lexicon, sink)).collect();
    Filter { refused, answer: seccomp.errno }
}

fn refused(text: &str, place: &Place, lexicon: &Lexicon<'_>, sink: &mut Sink<'_>) -> Option<Refused> {
    let (name, command) = match text.split_once(':') {
        Some((name, command)) => (name, Some(command)),
        None => (text, None),
    };
    let Some((call, _)) = SystemCall::ALL.into_iter().find(|(_, known)| *known == name) else {
        let names = || SystemCall::ALL.into_iter().map(|(_, name)| name);
        let advice = did_you_mean(name, names()).unwrap_or_else(|| one_of(names()));
        sink.advise(place, format!("no filter refuses `{}`", name.escape_debug()), advice);
        return None;
    };
    match command {
        None => Some(Refused { call, command: None }),
        Some(command) if call == SystemCall::Bpf => match lexicon.find(Kind::Cmd, command) {
            Ok(found) => Some(Refused { call, command: Some(found.number) }),
            Err(unknown) => {
                sink.problem(place, unknown.to_string());
                None
            }
        },
        Some(_) => {
            sink.advise(place, format!("`{name}` has no commands"), "only `bpf` has: `bpf:map_create`");
            None
        }
    }
}
