//! Names close to one that does not exist.

/// Advice that names the candidate closest to this text, if one is close enough to be meant.
pub fn did_you_mean<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    closest(text, candidates).map(|name| format!("did you mean `{name}`?"))
}

/// The candidate closest to this text, if one is close enough to be meant.
pub fn closest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let text: String = text.chars().take(100).collect::<String>().to_ascii_lowercase();
    let scored = candidates.into_iter().map(|name| (strsim::jaro_winkler(&text, &name.to_ascii_lowercase()), name));
    scored.filter(|(score, _)| *score >= 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

/// Advice that lists what there is.
pub fn one_of<'a>(candidates: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = candidates.into_iter().map(|name| format!("`{name}`")).collect();
    match names.len() {
        0 => "there is none".to_owned(),
        1 => format!("there is only {}", names[0]),
        _ => format!("one of {}", names.join(", ")),
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
        assert_eq!(one_of([]), "there is none");
    }
}
