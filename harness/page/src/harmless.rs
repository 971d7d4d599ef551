//! Makes text safe to print that comes from a guest or from somebody else's file.
//!
//! Safe text contains no terminal control sequences, only characters that XML allows, and no commands to a CI service
//! that reads the output.

/// Replaces characters that must not be printed; line breaks stay.
pub fn harmless(text: &str) -> String {
    let shown: String = text.chars().map(|c| if c == '\n' { c } else { shown(c) }).collect();
    let mut safe = String::with_capacity(shown.len());
    for line in shown.split_inclusive('\n') {
        // GitHub interprets a line as a command if it starts with `::` after white space, or contains `##[` anywhere.
        if line.trim_start().starts_with("::") {
            safe.push_str(&line.replacen("::", ": :", 1));
        } else {
            safe.push_str(line);
        }
    }
    safe.replace("##[", "# #[")
}

/// As [`harmless`], and joins the lines into one.
pub fn one_line(text: &str) -> String {
    harmless(text).replace('\n', " ")
}

fn shown(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() || is_invisible_control(c) || is_noncharacter(c) => '\u{fffd}',
        c => c,
    }
}

/// Returns whether a character ends a line or changes the direction of text, so that a reader sees something other than
/// what is there.
pub fn is_invisible_control(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns whether Unicode calls this a noncharacter, which XML does not allow.
fn is_noncharacter(c: char) -> bool {
    u32::from(c) & 0xfffe == 0xfffe || matches!(c, '\u{fdd0}'..='\u{fdef}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_control_sequences_are_replaced() {
        assert_eq!(harmless("\u{1b}[2J\u{9b}1m\u{7f}a\tb\r\n"), "\u{fffd}[2J\u{fffd}1m\u{fffd}a b\u{fffd}\n");
        assert_eq!(harmless("a\u{202e}b\u{2028}c\u{ffff}"), "a\u{fffd}b\u{fffd}c\u{fffd}");
    }

    #[test]
    fn commands_to_a_ci_service_are_broken_up() {
        for command in ["::error::x", "  ::add-mask::a", "\u{a0}::warning::x", "a\n::stop-commands::x", "a ##[group]x"]
        {
            let text = harmless(command);
            assert!(!text.lines().any(|line| line.trim_start().starts_with("::")), "{text:?}");
            assert!(!text.contains("##["), "{text:?}");
        }
        assert_eq!(harmless("core::fmt and C++ std::string"), "core::fmt and C++ std::string");
    }

    #[test]
    fn line_breaks_are_joined() {
        assert_eq!(one_line("a\n::b\u{2029}c"), "a : :b\u{fffd}c");
    }
}
