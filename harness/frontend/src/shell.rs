//! Splits command lines as a shell does, each word with its location. No crate that does so keeps locations.
//!
//! Quotes, backslashes and comments are resolved; `$` and patterns are not.

use std::iter::Peekable;
use std::str::CharIndices;

use crate::text::Text;

/// The maximum number of words in one file.
const MOST_WORDS: usize = 20_000;

/// Splits a file into commands, and these into words.
pub(crate) fn commands(source: usize, file: &str) -> Vec<Vec<Text>> {
    let mut lexer =
        Lexer { source, file, chars: file.char_indices().peekable(), commands: vec![Vec::new()], word: None, words: 0 };
    lexer.run();
    lexer.commands.retain(|command| !command.is_empty());
    lexer.commands
}

struct Lexer<'a> {
    source: usize,
    file: &'a str,
    chars: Peekable<CharIndices<'a>>,
    commands: Vec<Vec<Text>>,
    word: Option<Text>,
    words: usize,
}

impl Lexer<'_> {
    fn run(&mut self) {
        while let Some((at, c)) = self.chars.next().filter(|_| self.words < MOST_WORDS) {
            match c {
                ' ' | '\t' | '\r' => self.end_word(),
                '\n' | ';' | '&' | '|' => self.end_command(),
                '#' if self.word.is_none() => while self.chars.next_if(|(_, c)| *c != '\n').is_some() {},
                '\'' => self.single(at),
                '"' => self.double(at),
                '\\' => self.escaped(at),
                _ => self.push(at, c, at),
            }
        }
        self.end_command();
    }

    /// Adds a literal character of the file; its location starts at byte `from`.
    fn push(&mut self, at: usize, c: char, from: usize) {
        let (file, end) = (self.file, at + c.len_utf8());
        self.word_at(from).push(&file[at..end], from..end);
    }

    fn word_at(&mut self, at: usize) -> &mut Text {
        let source = self.source;
        self.word.get_or_insert_with(|| Text::empty(source, at))
    }

    fn escaped(&mut self, backslash: usize) {
        match self.chars.next() {
            Some((_, '\n')) | None => {}
            Some((at, c)) => self.push(at, c, backslash),
        }
    }

    fn single(&mut self, quote: usize) {
        self.word_at(quote + 1);
        while let Some((at, c)) = self.chars.next().filter(|(_, c)| *c != '\'') {
            self.push(at, c, at);
        }
    }

    fn double(&mut self, quote: usize) {
        self.word_at(quote + 1);
        while let Some((at, c)) = self.chars.next().filter(|(_, c)| *c != '"') {
            let special = |c: &char| matches!(c, '$' | '`' | '"' | '\\' | '\n');
            if c == '\\' && self.chars.peek().is_some_and(|(_, next)| special(next)) {
                self.escaped(at);
            } else {
                self.push(at, c, at);
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
    const WORDS: [&str; 21] = [
        "sudo", "$", "#", "exec", "env", "time", "command", "nohup", "nice", "if", "then", "else", "elif", "while",
        "until", "do", "!", "{", "RUN", "doas", "run",
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
