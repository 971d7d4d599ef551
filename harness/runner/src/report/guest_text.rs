//! Text that a guest or a stranger's file may have had a hand in, made fit to be shown.
//!
//! It commands no terminal, is text that XML can hold, and gives no command to a CI service that reads what is printed.

/// The text without characters that are not for showing; its line breaks stay.
pub(super) fn harmless(text: &str) -> String {
    let shown: String = text.chars().map(|c| if c == '\n' { c } else { shown(c) }).collect();
    let mut safe = String::with_capacity(shown.len());
    for line in shown.split_inclusive('\n') {
        // GitHub takes a line as a command if it starts so, white space aside, or holds the older sign anywhere.
        if line.trim_start().starts_with("::") {
            safe.push_str(&line.replacen("::", ": :", 1));
        } else {
            safe.push_str(line);
        }
    }
    safe.replace("##[", "# #[")
}

/// The same on one line.
pub(super) fn one_line(text: &str) -> String {
    harmless(text).replace('\n', " ")
}

fn shown(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() || is_invisible_order(c) || is_no_character(c) => '\u{fffd}',
        c => c,
    }
}

/// Marks that end a line or turn the direction of text round, so that what is read is not what stands there.
pub(super) fn is_invisible_order(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What Unicode sets apart and XML refuses.
fn is_no_character(c: char) -> bool {
    u32::from(c) & 0xfffe == 0xfffe || matches!(c, '\u{fdd0}'..='\u{fdef}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_commands_a_terminal() {
        assert_eq!(harmless("\u{1b}[2J\u{9b}1m\u{7f}a\tb\r\n"), "\u{fffd}[2J\u{fffd}1m\u{fffd}a b\u{fffd}\n");
        assert_eq!(harmless("a\u{202e}b\u{2028}c\u{ffff}"), "a\u{fffd}b\u{fffd}c\u{fffd}");
    }

    #[test]
    fn nothing_commands_a_ci_service() {
        for command in ["::error::x", "  ::add-mask::a", "\u{a0}::warning::x", "a\n::stop-commands::x", "a ##[group]x"]
        {
            let text = harmless(command);
            assert!(!text.lines().any(|line| line.trim_start().starts_with("::")), "{text:?}");
            assert!(!text.contains("##["), "{text:?}");
        }
        assert_eq!(harmless("core::fmt and C++ std::string"), "core::fmt and C++ std::string");
    }

    #[test]
    fn one_line_is_one_line() {
        assert_eq!(one_line("a\n::b\u{2029}c"), "a : :b\u{fffd}c");
    }
}
