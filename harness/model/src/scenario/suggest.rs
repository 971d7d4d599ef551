//! Names close to one that does not exist.

use crate::name::ScenarioName;

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

/// The names of scenarios closest to this text, best first, at most three. The name of the file alone counts as much as
/// the whole: `wrong-map-typ` means `maps/wrong-map-type`.
pub fn similar_scenarios<'a>(text: &str, names: impl IntoIterator<Item = &'a ScenarioName>) -> Vec<&'a ScenarioName> {
    let text: String = text.chars().take(200).collect::<String>().to_ascii_lowercase();
    let score = |name: &ScenarioName| {
        let file = name.as_str().rsplit('/').next().unwrap_or_default();
        strsim::jaro_winkler(&text, name.as_str()).max(strsim::jaro_winkler(&text, file))
    };
    let mut scored: Vec<(f64, &ScenarioName)> = names.into_iter().map(|name| (score(name), name)).collect();
    scored.retain(|(score, _)| *score >= 0.8);
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().take(3).map(|(_, name)| name).collect()
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
        let names: Vec<ScenarioName> = ["maps/wrong-map-type", "token/info"].map(|name| name.parse().unwrap()).into();
        assert_eq!(similar_scenarios("wrong-map-typ", &names), [&names[0]]);
        assert_eq!(similar_scenarios("tokens/info", &names), [&names[1]]);
        assert!(similar_scenarios("zzz", &names).is_empty());
        assert_eq!(one_of(["a", "b"]), "one of `a`, `b`");
        assert_eq!(one_of([]), "there is none");
    }
}
