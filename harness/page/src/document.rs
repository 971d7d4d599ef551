//! A whole page around its contents.

use base64::{Engine, engine::general_purpose::STANDARD};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use crate::harmless::one_line;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// The head of a page.
#[derive(Clone, Debug, Default)]
pub struct Heading<'a> {
    /// The page's title, which is also its first heading.
    pub title: &'a str,
    /// The result in one sentence.
    pub lead: &'a str,
    /// Facts about the whole page, each with its name, such as `harness` and its version.
    pub facts: Vec<(&'a str, String)>,
    /// Links to the page's sections and to other pages: target and words.
    pub links: Vec<(String, &'a str)>,
}

/// Returns a whole page.
pub fn document(heading: &Heading<'_>, contents: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (one_line(heading.title)) }
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#contents" { "Skip to the contents" }
                (head(heading))
                main #contents tabindex="-1" { (contents) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

fn head(heading: &Heading<'_>) -> Markup {
    html! {
        header {
            h1 { (one_line(heading.title)) }
            @if !heading.lead.is_empty() {
                p.lead { (one_line(heading.lead)) }
            }
            @if !heading.facts.is_empty() {
                dl.facts {
                    @for (name, value) in &heading.facts {
                        div { dt { (one_line(name)) } dd { (one_line(value)) } }
                    }
                }
            }
            @if !heading.links.is_empty() {
                nav aria-label="Sections" {
                    @for (target, words) in &heading.links {
                        a href=(target) { (words) }
                    }
                }
            }
        }
    }
}

/// Returns the Content-Security-Policy: the page's own style and script, and an empty icon, so that a browser asks for none.
fn policy() -> String {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    let (style, script) = (hash(STYLE), hash(SCRIPT));
    format!(
        "default-src 'none'; style-src {style}; script-src {script}; img-src data:; base-uri 'none'; form-action 'none'"
    )
}

#[cfg(test)]
mod tests {
    use html5ever::{parse_document, tendril::TendrilSink};
    use markup5ever_rcdom::RcDom;

    use super::*;

    const HOSTILE: &str = "\u{1b}[31m</title></style></script><img src=x onerror=alert(1)>\" ' & \u{202e}";

    #[test]
    fn a_page_is_valid_whatever_others_wrote() {
        let contents = html! { p { (HOSTILE) } a href=(HOSTILE) { "x" } };
        let facts = vec![(HOSTILE, HOSTILE.to_owned())];
        let heading = Heading { title: HOSTILE, lead: HOSTILE, facts, links: vec![("#a".to_owned(), "a")] };
        let page = document(&heading, &contents);
        let parsed = parse_document(RcDom::default(), Default::default()).one(page.as_str());
        assert_eq!(*parsed.errors.borrow(), Vec::<std::borrow::Cow<'static, str>>::new(), "{page}");
        assert!(!page.contains("<img"), "{page}");
        assert_eq!(page.matches("<script").count(), 1, "{page}");
    }

    #[test]
    fn style_and_script_cannot_end_early_and_load_nothing() {
        for text in [STYLE, SCRIPT] {
            for word in ["</", "url(", "@import", "http:", "https:", "fetch(", "innerHTML", "eval("] {
                assert!(!text.contains(word), "{word}");
            }
        }
    }
}
