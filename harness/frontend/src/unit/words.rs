//! Splits a value into words as systemd does (`src/basic/extract-word.c`, `extract_first_word`).

use std::ops::Range;

/// systemd's whitespace (`src/fundamental/string-util.h`, `WHITESPACE`).
pub(super) const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

/// A word, and its range in the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Without backslashes and quotes.
    pub(super) text: String,
    pub(super) span: Range<usize>,
}

/// A backslash at the end of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dangling;

/// Splits at separators, of which several count as one. A backslash escapes the next character; quotes have no meaning. A
/// backslash at the end is an error, which comes with the words before it.
pub(super) fn plain(value: &str, separators: &[char]) -> (Vec<Word>, Option<Dangling>) {
    split(value, separators, Quotes::Kept)
}

/// Splits at whitespace and removes quotes, leniently (`EXTRACT_UNQUOTE|EXTRACT_RELAX`), as for capabilities.
pub(super) fn unquoted(value: &str) -> Vec<Word> {
    split(value, &BLANKS, Quotes::Removed).0
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Kept,
    Removed,
}

fn split(value: &str, separators: &[char], quotes: Quotes) -> (Vec<Word>, Option<Dangling>) {
    let mut words = Vec::new();
    let mut word: Option<Word> = None;
    let mut escaped = false;
    let mut quote = None;
    for (at, c) in value.char_indices() {
        let ends = !escaped && quote.is_none() && separators.contains(&c);
        if ends {
            words.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_with(|| Word { text: String::new(), span: at..at });
        word.span.end = at + c.len_utf8();
        match c {
            _ if escaped => {
                word.text.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            _ if quote == Some(c) => quote = None,
            '\'' | '"' if quotes == Quotes::Removed && quote.is_none() => quote = Some(c),
            _ => word.text.push(c),
        }
    }
    if escaped && quotes == Quotes::Kept {
        return (words, Some(Dangling));
    }
    words.extend(word);
    (words, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(words: &[Word]) -> Vec<&str> {
        words.iter().map(|word| word.text.as_str()).collect()
    }

    #[test]
    fn words_are_split_only_at_separators() {
        let (words, dangling) = plain(",a, b,,c d,\"e,f\",g\\,h,", &[',']);
        assert_eq!(texts(&words), ["a", " b", "c d", "\"e", "f\"", "g,h"]);
        assert_eq!((words[1].span.clone(), words[5].span.clone(), dangling), (3..5, 17..21, None));
        assert_eq!(plain("a,b\\", &[',']), (vec![Word { text: "a".into(), span: 0..1 }], Some(Dangling)));
        assert!(plain(",,", &[',']).0.is_empty());
    }

    #[test]
    fn quotes_are_removed_for_capabilities() {
        assert_eq!(texts(&unquoted("a 'b c' \"d\\\"e\" f'")), ["a", "b c", "d\"e", "f"]);
        assert_eq!(texts(&unquoted("''")), [""]);
    }
}
