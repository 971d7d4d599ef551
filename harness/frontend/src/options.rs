//! Lists that the kernel parses: those of Incus, LXD and mount lines.

use harness_protocol::mount_option::LONGEST_VALUE;
use harness_uapi::vocabulary::Kind;

use crate::{
    configuration::{Assignment, Configuration, Effect, Element, MOST_ELEMENTS, Meaning, Rejection},
    names::Names,
    source::Location,
    text::{Text, has_variable, shown},
};

/// How a front-end splits a value before it passes it to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lists {
    /// At commas, without whitespace and empty elements (Incus).
    Commas,
    /// Not at all: the kernel splits at colons.
    Colons,
    /// At colons, and numbers are added to the mask, as in what the kernel shows.
    Shown,
}

/// Adds an assignment whose value the kernel reads, with a problem for each element it refuses.
pub(crate) fn assign(
    configuration: &mut Configuration,
    kind: Kind,
    value: &Text,
    location: Location,
    lists: Lists,
    names: &Names<'_>,
) {
    let room = configuration.room();
    let mut elements: Vec<Element> = pieces(value, lists, room + 1).map(|piece| element(kind, &piece, names)).collect();
    if elements.len() > room {
        elements.truncate(room);
        configuration.problem(
            location.clone(),
            Effect::Refused,
            format!("more than {MOST_ELEMENTS} names: the rest is not checked"),
        );
    }
    let is_variable = |element: &Element| element.read_as.is_none() && has_variable(&element.text);
    for element in elements.iter().filter(|element| is_variable(element)) {
        configuration.unknown_value(element.location.clone(), &element.text, Some(kind));
    }
    elements.retain(|element| !is_variable(element));
    for element in elements.iter().filter(|element| element.read_as.is_none()) {
        let problem = refused(kind, element, names, configuration.wants_advice());
        configuration.push(problem);
    }
    let length = elements.iter().map(|element| element.text.len() + 1).sum::<usize>().saturating_sub(1);
    if length > LONGEST_VALUE && lists != Lists::Shown {
        let message = format!(
            "the value is {length} bytes long, but the kernel accepts at most {LONGEST_VALUE}; write a mask instead"
        );
        configuration.problem(value.whole(), Effect::Refused, message);
    }
    let assignment = Assignment { location, value: value.whole(), elements, taken: true };
    configuration.assign(kind, assignment);
}

/// Returns the elements that the kernel gets.
fn pieces(value: &Text, lists: Lists, most: usize) -> impl Iterator<Item = Text> {
    let text = value.as_str();
    let separators: &[char] = if lists == Lists::Commas { &[','] } else { &[':'] };
    let mut spans = Vec::new();
    for piece in text.split(separators).take(most) {
        let start = piece.as_ptr() as usize - text.as_ptr() as usize;
        if lists != Lists::Commas {
            spans.push(start..start + piece.len());
            continue;
        }
        // The kernel also splits at colons between the commas.
        let from = start + (piece.len() - piece.trim_start().len());
        let trimmed = piece.trim();
        for part in trimmed.split(':').take(if trimmed.is_empty() { 0 } else { most }) {
            let start = from + (part.as_ptr() as usize - trimmed.as_ptr() as usize);
            spans.push(start..start + part.len());
        }
    }
    spans.into_iter().take(most).map(|span| value.slice(span))
}

fn element(kind: Kind, piece: &Text, names: &Names<'_>) -> Element {
    let text = piece.as_str();
    let read_as = names.kernel_reading(kind, text).map(Meaning::from);
    let meaning = names.meaning(kind, text);
    Element { location: piece.whole(), text: text.to_owned(), meaning, read_as }
}

/// Returns why the kernel refuses an element, and what it would accept.
fn refused(kind: Kind, element: &Element, names: &Names<'_>, wants_advice: bool) -> Rejection {
    let instead = match element.meaning {
        Meaning::Any => Some("any".to_owned()),
        Meaning::Name(number) => names.kernel(kind, number).map(str::to_owned),
        Meaning::Number(number) => Some(format!("{number:#x}")),
        Meaning::Unreadable => None,
    };
    let why = match &instead {
        Some(spelled) => format!("write `{spelled}`"),
        None if element.text.is_empty() => "it is empty".to_owned(),
        None if !wants_advice => format!("unknown {kind}"),
        None => names.unknown(kind, &element.text).map(|unknown| unknown.to_string()).unwrap_or_default(),
    };
    let message = format!("the kernel refuses `{}`: {why}", shown(&element.text));
    Rejection { location: element.location.clone(), message, effect: Effect::Refused, instead, is_misspelled: false }
}
