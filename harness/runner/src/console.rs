//! The last lines of a VM's console, whatever the guest writes there.

use std::collections::VecDeque;

/// Lines kept.
const LINES: usize = 200;

/// Characters kept of a line.
pub(crate) const LINE_LENGTH: usize = 1000;

/// The end of a console's text, in bounded memory and without control characters.
#[derive(Clone, Debug, Default)]
pub struct ConsoleTail {
    lines: VecDeque<String>,
    dropped: u64,
}

impl ConsoleTail {
    /// Takes the next line.
    pub fn push(&mut self, line: &str) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
            self.dropped += 1;
        }
        self.lines.push_back(printable(line));
    }

    /// The lines, oldest first; if earlier ones are gone, the first line says how many.
    pub fn lines(&self) -> Vec<String> {
        let gone = (self.dropped > 0).then(|| format!("[{} earlier lines are not kept]", self.dropped));
        gone.into_iter().chain(self.lines.iter().cloned()).collect()
    }

    /// Whether one of the kept lines contains `text`.
    pub fn contains(&self, text: &str) -> bool {
        self.lines.iter().any(|line| line.contains(text))
    }
}

/// Cuts a line to [`LINE_LENGTH`] and makes control characters visible, so that a guest cannot write to our terminal.
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
    fn a_flood_keeps_the_last_lines_and_counts_the_others() {
        let mut tail = ConsoleTail::default();
        for i in 0..LINES + 5 {
            tail.push(&format!("line {i}"));
        }
        let lines = tail.lines();
        assert_eq!(lines.len(), LINES + 1);
        assert_eq!(lines[0], "[5 earlier lines are not kept]");
        assert_eq!((lines[1].as_str(), lines[LINES].as_str()), ("line 5", "line 204"));
    }

    #[test]
    fn a_line_without_end_is_cut() {
        assert_eq!(printable(&"x".repeat(10 * LINE_LENGTH)).len(), LINE_LENGTH);
    }

    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        assert_eq!(printable("\u{1b}[2Jhello\tthere\r\n"), "\u{fffd}[2Jhello there");
    }

    #[test]
    fn finds_text_in_what_is_kept() {
        let mut tail = ConsoleTail::default();
        tail.push("[    1.0] Kernel panic - not syncing: sysrq triggered crash");
        assert!(tail.contains("Kernel panic") && !tail.contains("BUG:"));
    }
}
