//! Splits command lines as a shell does, each word with its location. No crate that does so keeps locations.
//!
//! Quotes, backslashes and comments are resolved; `$` and patterns are not.

use std::{iter::Peekable, ops::Range};

use crate::text::Text;

/// The maximum number of words in one file.
const MOST_WORDS: usize = 20_000;
/// The maximum number of documents within one script.
const MOST_DOCUMENTS: usize = 100;

/// Splits a file into commands, and these into words.
pub(crate) fn commands(source: usize, file: &str) -> Vec<Vec<Text>> {
    commands_between(source, file, 0..file.len(), &[])
}

/// Splits a part of a file into commands, except for these parts of it, which are in order.
pub(crate) fn commands_between(source: usize, file: &str, part: Range<usize>, except: &[Document]) -> Vec<Vec<Text>> {
    let start = part.start;
    let mut except = except.iter().map(|document| &document.body).peekable();
    let chars = file[part].char_indices().map(|(at, c)| (start + at..start + at + c.len_utf8(), c));
    let chars = chars.filter(|(at, _)| {
        while except.next_if(|body| body.end <= at.start).is_some() {}
        except.peek().is_none_or(|body| at.start < body.start)
    });
    Lexer::new(source, chars).run()
}

/// Splits a text that is a script itself, such as the argument of `sh -c`.
pub(crate) fn commands_of(source: usize, text: &Text) -> Vec<Vec<Text>> {
    let chars = text.as_str().char_indices().map(|(at, c)| (text.location(at..at + c.len_utf8()).span, c));
    Lexer::new(source, chars).run()
}

/// A document within a script (`<<EOF`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Document {
    /// Its lines.
    pub(crate) body: Range<usize>,
    /// The file that the command writes it to, if it does.
    pub(crate) path: Option<String>,
    /// Whether the shell expands variables in it.
    pub(crate) expands: bool,
}

/// Returns the documents within a part of a file. One that is not closed extends to the end.
pub(crate) fn documents(file: &str, part: Range<usize>) -> Vec<Document> {
    let mut documents = Vec::new();
    let mut at = part.start;
    while at < part.end && documents.len() < MOST_DOCUMENTS {
        let end = line_end(file, at, part.end);
        let line = &file[at..end];
        let opened = line.find("<<").filter(|sign| !line[*sign..].starts_with("<<<"));
        at = end;
        let Some((word, expands)) = opened.and_then(|sign| delimiter(&line[sign + 2..])) else { continue };
        let start = end;
        let mut body_end = part.end;
        while at < part.end {
            let next = line_end(file, at, part.end);
            if file[at..next].trim() == word {
                (body_end, at) = (at, next);
                break;
            }
            at = next;
        }
        documents.push(Document { body: start..body_end, path: written_path(line), expands });
    }
    documents
}

fn line_end(file: &str, at: usize, end: usize) -> usize {
    file[at..end].find('\n').map_or(end, |length| at + length + 1)
}

/// Returns the word that ends a document, and whether variables in it are expanded.
fn delimiter(rest: &str) -> Option<(&str, bool)> {
    let rest = rest.strip_prefix('-').unwrap_or(rest).trim_start();
    let quoted = rest.starts_with(['\'', '"', '\\']);
    let rest = rest.trim_start_matches(['\'', '"', '\\']);
    let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    (length > 0).then(|| (&rest[..length], !quoted))
}

/// Returns the file that a command writes to, by `>` or `tee`.
fn written_path(line: &str) -> Option<String> {
    let after = line.split_once("tee ").or_else(|| line.split_once('>')).map(|(_, after)| after)?;
    let mut words = after.trim_start_matches('>').split_whitespace();
    let path = words.find(|word| !word.starts_with(['-', '<']))?;
    Some(path.trim_matches(['"', '\'']).to_owned())
}

struct Lexer<I: Iterator<Item = (Range<usize>, char)>> {
    source: usize,
    chars: Peekable<I>,
    commands: Vec<Vec<Text>>,
    word: Option<Text>,
    words: usize,
}

impl<I: Iterator<Item = (Range<usize>, char)>> Lexer<I> {
    fn new(source: usize, chars: I) -> Self {
        Self { source, chars: chars.peekable(), commands: vec![Vec::new()], word: None, words: 0 }
    }

    fn run(mut self) -> Vec<Vec<Text>> {
        while let Some((at, c)) = self.chars.next().filter(|_| self.words < MOST_WORDS) {
            match c {
                ' ' | '\t' | '\r' => self.end_word(),
                '\n' | ';' | '&' | '|' | '(' | ')' => self.end_command(),
                '#' if self.word.is_none() => while self.chars.next_if(|(_, c)| *c != '\n').is_some() {},
                '\'' => self.single(&at),
                '"' => self.double(&at),
                '\\' => self.escaped(&at),
                _ => self.push(c, at),
            }
        }
        self.end_command();
        self.commands.retain(|command| !command.is_empty());
        self.commands
    }

    /// Adds a literal character, which has this place in the file.
    fn push(&mut self, c: char, at: Range<usize>) {
        self.word_at(at.start).push(c.encode_utf8(&mut [0; 4]), at);
    }

    fn word_at(&mut self, at: usize) -> &mut Text {
        let source = self.source;
        self.word.get_or_insert_with(|| Text::empty(source, at))
    }

    fn escaped(&mut self, backslash: &Range<usize>) {
        match self.chars.next() {
            Some((_, '\n')) | None => {}
            Some((at, c)) => self.push(c, backslash.start.min(at.start)..at.end),
        }
    }

    fn single(&mut self, quote: &Range<usize>) {
        self.word_at(quote.end);
        while let Some((at, c)) = self.chars.next().filter(|(_, c)| *c != '\'') {
            self.push(c, at);
        }
    }

    fn double(&mut self, quote: &Range<usize>) {
        self.word_at(quote.end);
        while let Some((at, c)) = self.chars.next().filter(|(_, c)| *c != '"') {
            let special = |c: &char| matches!(c, '$' | '`' | '"' | '\\' | '\n');
            if c == '\\' && self.chars.peek().is_some_and(|(_, next)| special(next)) {
                self.escaped(&at);
            } else {
                self.push(c, at);
            }
        }
    }

    fn end_word(&mut self) {
        if let Some(word) = self.word.take() {
            self.words += 1;
            self.commands.last_mut().expect("there is always one").push(word);
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        if self.commands.last().is_some_and(|command| !command.is_empty()) {
            self.commands.push(Vec::new());
        }
    }
}

/// Whether a word can stand before the name of the program that a command runs.
pub(crate) fn may_precede(word: &str) -> bool {
    const WORDS: [&str; 23] = [
        "sudo",
        "$",
        "#",
        "exec",
        "env",
        "time",
        "command",
        "nohup",
        "nice",
        "if",
        "then",
        "else",
        "elif",
        "while",
        "until",
        "do",
        "!",
        "{",
        "RUN",
        "CMD",
        "ENTRYPOINT",
        "doas",
        "run",
    ];
    WORDS.contains(&word) || word.starts_with('-') || word.split_once('=').is_some_and(|(name, _)| is_name(name))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Quotes a word so that a shell reads it unchanged.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(file: &str) -> Vec<Vec<String>> {
        commands(0, file).iter().map(|command| command.iter().map(|word| word.as_str().to_owned()).collect()).collect()
    }

    #[test]
    fn words_are_split_as_in_a_shell() {
        let file = "a 'b c'\"d\\\"e\\f\" g\\ h \\\n i#j '' # k\n;; l|m\n";
        assert_eq!(words(file), [vec!["a", "b cd\"e\\f", "g h", "i#j", ""], vec!["l"], vec!["m"]]);
    }

    #[test]
    fn words_have_locations() {
        let file = "x 'a=b,c'\"d\\\"\"";
        let word = &commands(0, file)[0][1];
        assert_eq!(word.as_str(), "a=b,cd\"");
        assert_eq!(&file[word.location(2..5).span], "b,c");
        assert_eq!(&file[word.location(6..7).span], "\\\"");
    }

    #[test]
    fn documents_are_found() {
        let file = "tee -a /etc/a.service <<-'EOF' >/dev/null\n[Service]\n  EOF\nx <<<y\ncat > \"b\" <<E\n$x\n";
        let found: Vec<_> =
            documents(file, 0..file.len()).into_iter().map(|d| (file[d.body].to_owned(), d.path, d.expands)).collect();
        let document = |body: &str, path: &str, expands| (body.to_owned(), Some(path.to_owned()), expands);
        assert_eq!(found, [document("[Service]\n", "/etc/a.service", false), document("$x\n", "b", true)]);
    }

    #[test]
    fn a_script_within_a_word_keeps_its_locations() {
        let file = "sh -c 'a \"b c\"; d'";
        let script = &commands(0, file)[0][2];
        let inner = commands_of(0, script);
        assert_eq!(inner.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
        assert_eq!((inner[0][1].as_str(), &file[inner[0][1].whole().span]), ("b c", "b c"));
    }

    #[test]
    fn a_quoted_word_is_one_word() {
        for word in ["a", "a b", "it's", "", "$x", "key=a:b,c"] {
            assert_eq!(words(&quoted(word)), [vec![word]]);
        }
    }

    #[test]
    fn a_flood_of_words_is_truncated() {
        assert_eq!(words(&"a ".repeat(500_000))[0].len(), MOST_WORDS);
    }
}
