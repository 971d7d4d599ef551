//! Capabilities by name become numbers.

use super::sink::Sink;
use crate::scenario::{capability, choice::Capabilities, node::Place};

/// The numbers of a container's capabilities, in order.
pub(crate) fn of(caps: &Capabilities, place: &Place, sink: &mut Sink<'_>) -> Vec<u32> {
    match caps {
        Capabilities::All => capability::all(),
        Capabilities::Listed(names) => numbers(names, place, sink),
    }
}

/// The numbers of these names, in order.
pub(crate) fn numbers(names: &[String], place: &Place, sink: &mut Sink<'_>) -> Vec<u32> {
    let mut numbers = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let place = place.index(index);
        match capability::number(name) {
            Some(number) if numbers.contains(&number) => sink.problem(&place, format!("`{name}` is listed twice")),
            Some(number) => numbers.push(number),
            None => {
                let advice = capability::advice(name).unwrap_or_else(|| "see capabilities(7)".to_owned());
                sink.advise(&place, format!("`{}` is no capability", name.escape_debug()), advice);
            }
        }
    }
    numbers.sort_unstable();
    numbers
}
