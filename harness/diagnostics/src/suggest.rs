//! Suggestions: names close to one that does not exist.

/// Returns advice that names the candidate closest to this text, if one is close enough.
pub fn did_you_mean<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    closest(text, candidates).map(|name| format!("did you mean `{name}`?"))
}

/// Returns the candidate closest to this text, if one is close enough.
pub fn closest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let text: String = text.chars().take(100).collect::<String>().to_ascii_lowercase();
    let scored = candidates.into_iter().map(|name| (strsim::jaro_winkler(&text, &name.to_ascii_lowercase()), name));
    scored.filter(|(score, _)| *score >= 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

/// Returns the candidate that this text misspells: it differs only in case, in one character, or in two if it is long.
/// Unlike [`closest`], this is reason enough to reject a text that could be a name of its own.
pub fn misspelled<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = if text.len() < 8 { 1 } else { 2 };
    let lower = text.to_ascii_lowercase();
    let near = candidates.into_iter().filter(|name| name.len().abs_diff(text.len()) <= most && name.len() > 2);
    let measured = near.map(|name| (strsim::damerau_levenshtein(&lower, &name.to_ascii_lowercase()), name));
    measured.filter(|(distance, _)| *distance <= most).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// Returns advice that lists all candidates.
pub fn one_of<'a>(candidates: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = candidates.into_iter().map(|name| format!("`{name}`")).collect();
    match names.len() {
        0 => "none is defined".to_owned(),
        1 => format!("the only one is {}", names[0]),
        _ => format!("one of {}", names.join(", ")),
    }
}

/// Returns a list for a sentence, such as `a, b or c`.
pub fn list(items: &[&str], word: &str) -> String {
    match items {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} {word} {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_is_close_and_nothing_else() {
        assert_eq!(closest("atempt", ["attempt", "container"]), Some("attempt"));
        assert_eq!(closest("zzz", ["attempt", "container"]), None);
        assert_eq!(closest("", ["attempt"]), None);
        assert_eq!(one_of(["a", "b"]), "one of `a`, `b`");
        assert_eq!((one_of([]), one_of(["a"])), ("none is defined".to_owned(), "the only one is `a`".to_owned()));
    }

    #[test]
    fn a_misspelling_is_closer_than_what_is_merely_similar() {
        let names = ["PrivateIPC", "PrivateUsers", "Type"];
        let texts = ["privateipc", "PrivateUsres", "Tpye", "PrivateNetwork", "Typo", "Tpeyy"];
        let wanted = [Some("PrivateIPC"), Some("PrivateUsers"), Some("Type"), None, Some("Type"), None];
        assert_eq!(texts.map(|text| misspelled(text, names)), wanted);
    }

    #[test]
    fn a_list_has_commas_and_a_last_word() {
        assert_eq!(
            [list(&["a"], "or"), list(&["a", "b"], "or"), list(&["a", "b", "c"], "or")],
            ["a", "a or b", "a, b or c"]
        );
    }
}
