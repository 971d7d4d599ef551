//! Keeps the last lines of a VM's console.

use std::collections::VecDeque;

/// The number of lines kept.
const LINES: usize = 200;

/// The number of characters kept of a line.
pub(crate) const LINE_LENGTH: usize = 1000;

/// The last lines of a console, in bounded memory and without control characters.
#[derive(Clone, Debug, Default)]
pub struct ConsoleTail {
    lines: VecDeque<String>,
    dropped: u64,
}

impl ConsoleTail {
    /// Adds a line.
    pub fn push(&mut self, line: &str) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
            self.dropped += 1;
        }
        self.lines.push_back(printable(line));
    }

    /// Returns the lines, oldest first; if earlier ones were dropped, the first line says how many.
    pub fn lines(&self) -> Vec<String> {
        let gone = (self.dropped > 0).then(|| format!("[{} earlier lines dropped]", self.dropped));
        gone.into_iter().chain(self.lines.iter().cloned()).collect()
    }

    /// Returns whether one of the kept lines contains `text`.
    pub fn contains(&self, text: &str) -> bool {
        self.lines.iter().any(|line| line.contains(text))
    }
}

/// Truncates a line to [`LINE_LENGTH`] and replaces control characters, so that a guest cannot control our terminal.
pub(crate) fn printable(line: &str) -> String {
    let shown = line.trim_end_matches(['\r', '\n']).chars().take(LINE_LENGTH);
    shown
        .map(|c| {
            if c == '\t' {
                ' '
            } else if c.is_control() {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_kept_and_the_others_counted() {
        let mut tail = ConsoleTail::default();
        for i in 0..LINES + 5 {
            tail.push(&format!("line {i}"));
        }
        let lines = tail.lines();
        assert_eq!(lines.len(), LINES + 1);
        assert_eq!(lines[0], "[5 earlier lines dropped]");
        assert_eq!((lines[1].as_str(), lines[LINES].as_str()), ("line 5", "line 204"));
    }

    #[test]
    fn a_long_line_is_truncated() {
        assert_eq!(printable(&"x".repeat(10 * LINE_LENGTH)).len(), LINE_LENGTH);
    }

    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        assert_eq!(printable("\u{1b}[2Jhello\tthere\r\n"), "\u{fffd}[2Jhello there");
    }

    #[test]
    fn text_is_found_in_the_kept_lines() {
        let mut tail = ConsoleTail::default();
        tail.push("[    1.0] Kernel panic - not syncing: sysrq triggered crash");
        assert!(tail.contains("Kernel panic") && !tail.contains("BUG:"));
    }
}
