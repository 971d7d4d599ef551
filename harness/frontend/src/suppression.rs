//! Comments that suppress a finding: `# bpf-token: allow CODE reason`.

use std::ops::Range;

use crate::{
    configuration::{Configuration, Effect, Suppression},
    source::Location,
};

const MARK: &str = "bpf-token:";
/// The maximum number of suppressions in one file.
const MOST: usize = 200;

/// The kind of comments in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comments {
    /// From `#` or `;` at the start of a line.
    OwnLine,
    /// From `#` at the start of a line, or after whitespace.
    Trailing,
}

impl Comments {
    /// Returns where the comment of this line starts, if it has one with [`MARK`].
    fn start(self, line: &str) -> Option<usize> {
        let before = line.len() - line.trim_start().len();
        let signs: &[char] = if self == Self::OwnLine { &['#', ';'] } else { &['#'] };
        let own = line[before..].starts_with(signs).then_some(before);
        let trailing = || {
            let mark = line.find(MARK)?;
            let sign = line[..mark].trim_end().strip_suffix('#')?.len();
            line[..sign].ends_with([' ', '\t']).then_some(sign)
        };
        own.or_else(|| if self == Self::Trailing { trailing() } else { None })
    }
}

/// Reads the suppressions of a file into a configuration; malformed ones become problems.
pub(crate) fn read(source: usize, text: &str, comments: Comments, configuration: &mut Configuration) {
    let (suppressions, malformed) = found(source, text, comments);
    configuration.suppressions.extend(suppressions);
    for (location, message) in malformed {
        configuration.problem(location, Effect::IgnoredSilently, message);
    }
}

/// Returns the suppressions of a TOML file, and what is wrong with the malformed ones.
pub fn suppressions_of_toml(source: usize, text: &str) -> (Vec<Suppression>, Vec<(Location, String)>) {
    found(source, text, Comments::Trailing)
}

fn found(source: usize, text: &str, comments: Comments) -> (Vec<Suppression>, Vec<(Location, String)>) {
    let (mut suppressions, mut malformed) = (Vec::new(), Vec::new());
    if !text.contains(MARK) {
        return (suppressions, malformed);
    }
    let lines: Vec<Range<usize>> = lines(text);
    let mut read = 0;
    for (at, line) in lines.iter().enumerate() {
        let Some(start) = comments.start(&text[line.clone()]).map(|start| line.start + start) else { continue };
        let comment = text[start..line.end].trim_start_matches(['#', ';', ' ', '\t']);
        let Some(comment) = comment.strip_prefix(MARK) else { continue };
        let location = Location { source, span: start..line.end };
        read += 1;
        if read > MOST {
            malformed.push((location, format!("more than {MOST} suppressions: the rest is ignored")));
            return (suppressions, malformed);
        }
        let span = if text[line.start..start].trim().is_empty() {
            next(text, &lines[at + 1..], comments)
        } else {
            line.clone()
        };
        match parsed(comment) {
            Some((code, reason)) => {
                let (code, reason) = (code.to_owned(), reason.to_owned());
                let applies_to = Location { source, span };
                suppressions.push(Suppression { location, code, reason, applies_to });
            }
            None => {
                let message = "malformed suppression: expected `bpf-token: allow CODE reason`";
                malformed.push((location, message.to_owned()));
            }
        }
    }
    (suppressions, malformed)
}

/// Parses the code and the reason.
fn parsed(comment: &str) -> Option<(&str, &str)> {
    let (word, rest) = comment.trim().split_once([' ', '\t'])?;
    let (code, reason) = rest.trim_start().split_once([' ', '\t'])?;
    let legal = code.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/'));
    (word == "allow" && legal && !reason.trim().is_empty()).then(|| (code, reason.trim()))
}

/// Returns the next line that is not a comment; empty at the end of the file.
fn next(text: &str, lines: &[Range<usize>], comments: Comments) -> Range<usize> {
    let is_comment = |line: &Range<usize>| {
        let line = text[line.clone()].trim_start();
        line.is_empty() || line.starts_with('#') || (comments == Comments::OwnLine && line.starts_with(';'))
    };
    lines.iter().find(|line| !is_comment(line)).cloned().unwrap_or(text.len()..text.len())
}

fn lines(text: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    let line = |line: &str| {
        let span = start..start + line.trim_end_matches(['\n', '\r']).len();
        start += line.len();
        span
    };
    text.split_inclusive('\n').map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::SYSTEMD;

    fn allowed(text: &str, comments: Comments) -> (Vec<(String, String, String)>, usize) {
        let mut configuration = Configuration::new(SYSTEMD, "x");
        read(0, text, comments, &mut configuration);
        let about = |a: &Suppression| (a.code.clone(), a.reason.clone(), text[a.applies_to.span.clone()].to_owned());
        (configuration.suppressions.iter().map(about).collect(), configuration.problems.len())
    }

    fn suppression(code: &str, reason: &str, line: &str) -> (String, String, String) {
        (code.to_owned(), reason.to_owned(), line.to_owned())
    }

    #[test]
    fn on_its_own_line_it_applies_to_the_next() {
        let text = "# bpf-token: allow any-map we mean it\n; bpf-token: allow B  two words \n\na=b\nc=d\n";
        let (allowed, problems) = allowed(text, Comments::OwnLine);
        assert_eq!(allowed, [suppression("any-map", "we mean it", "a=b"), suppression("B", "two words", "a=b")]);
        assert_eq!(problems, 0);
    }

    #[test]
    fn after_something_it_applies_to_that() {
        let text = "a: b # bpf-token: allow C because\r\nc: d#bpf-token: allow C no\n";
        assert_eq!(
            allowed(text, Comments::Trailing).0,
            [suppression("C", "because", "a: b # bpf-token: allow C because")]
        );
        assert_eq!(allowed(text, Comments::OwnLine).0, []);
    }

    #[test]
    fn without_code_or_reason_it_is_a_problem() {
        for wrong in ["# bpf-token: allow", "# bpf-token: allow C", "#bpf-token: deny C x", "# bpf-token: allow C! x"] {
            assert_eq!(allowed(wrong, Comments::OwnLine), (vec![], 1), "{wrong}");
        }
        assert_eq!(
            allowed("# bpf-token: allow C at the end", Comments::OwnLine).0,
            [suppression("C", "at the end", "")]
        );
    }
}
