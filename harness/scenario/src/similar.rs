//! Suggestions for a scenario name that does not exist.

use harness_protocol::name::ScenarioName;

/// Returns the names of the scenarios closest to this text, best first, at most three. The name of the file alone
/// counts as much as the whole name: `wrong-map-typ` suggests `maps/wrong-map-type`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_file_alone_is_enough() {
        let names: Vec<ScenarioName> = ["maps/wrong-map-type", "token/info"].map(|name| name.parse().unwrap()).into();
        assert_eq!(similar_scenarios("wrong-map-typ", &names), [&names[0]]);
        assert_eq!(similar_scenarios("tokens/info", &names), [&names[1]]);
        assert!(similar_scenarios("zzz", &names).is_empty());
    }
}
