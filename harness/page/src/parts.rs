//! Parts that several pages share.

use maud::{Markup, html};

use crate::harmless::{harmless, one_line};

/// What something means to its reader. Each has a sign of its own, so that nothing is told by a colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Wrong.
    Bad,
    /// Worth a look.
    Notice,
    /// Nothing to say.
    Quiet,
}

impl Tone {
    /// The class of the page's style.
    pub const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Notice => "note",
            Self::Quiet => "quiet",
        }
    }

    const fn sign(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Bad => "✗",
            Self::Notice => "!",
            Self::Quiet => "–",
        }
    }
}

/// Returns a sign and a word.
pub fn mark(tone: Tone, word: &str) -> Markup {
    html! { span.(tone.class()) { i aria-hidden="true" { (tone.sign()) } " " (one_line(word)) } }
}

/// Returns text of several lines as it is; its box scrolls by itself. The lines of a unified diff are marked.
pub fn lines(text: &str) -> Markup {
    let text = harmless(text);
    html! {
        pre tabindex="0" {
            @for line in text.lines() {
                @match line.chars().next() {
                    Some('+') => ins { (line) },
                    Some('-') => del { (line) },
                    _ => (line),
                }
                "\n"
            }
        }
    }
}

/// Returns a box in which a wide table scrolls by itself, so that the page need not.
pub fn wide(label: &str, table: &Markup) -> Markup {
    html! { div.wide tabindex="0" role="group" aria-label=(one_line(label)) { (table) } }
}

/// Returns the controls of the page's filter, which its script shows: a text, and a switch that `differing` names.
pub fn filter(noun: &str, differing: Option<&str>) -> Markup {
    html! {
        form.filter hidden role="search" {
            label { "Filter " (noun) " " input type="search" name="text" autocomplete="off" spellcheck="false"; }
            @if let Some(words) = differing {
                label { input type="checkbox" name="differing"; " " (words) }
            }
            output aria-live="polite" {}
        }
    }
}
