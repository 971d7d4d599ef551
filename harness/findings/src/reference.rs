//! The reference of all codes, as the Markdown of `docs/findings.md`.

use std::fmt::Write as _;

use crate::code::Code;

/// Returns a table of all codes with their levels, and a section for each.
pub fn codes() -> String {
    let mut text = String::from("| code | level | in short |\n| --- | --- | --- |\n");
    for code in Code::ALL {
        let _ = writeln!(text, "| [`{code}`](#{code}) | {} | {} |", code.level(), code.title());
    }
    for code in Code::ALL {
        let _ = write!(text, "\n### {code}\n\n{}: {}.\n\n{}\n", code.level(), code.title(), code.explanation());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_a_row_with_a_link_to_its_section() {
        let text = codes();
        for code in Code::ALL {
            assert_eq!(text.matches(&format!("| [`{code}`](#{code}) | {} |", code.level())).count(), 1, "{code}");
            assert_eq!(text.matches(&format!("\n### {code}\n")).count(), 1, "{code}");
            assert!(text.contains(&code.explanation()), "{code}");
        }
    }
}
