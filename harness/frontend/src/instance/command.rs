//! Commands of the clients `incus` and `lxc` that set keys of instances and profiles.

use std::{collections::HashMap, ops::Range};

use super::{
    INCUS, LXD,
    walk::{Entry, Item},
};
use crate::{
    frontend::Frontend,
    shell,
    source::Location,
    text::{Text, has_variable},
};

/// The instances and profiles that the commands of a file set up.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    items: Vec<(Frontend, Item, Range<usize>)>,
    known: HashMap<(&'static str, String), usize>,
}

/// The maximum number of instances and profiles of one file.
const MOST_ITEMS: usize = 500;

/// Options with an argument, besides those that set a key.
const WITH_ARGUMENT: [&str; 16] = [
    "-p",
    "--profile",
    "-d",
    "--device",
    "-n",
    "--network",
    "-s",
    "--storage",
    "-t",
    "--type",
    "--target",
    "--project",
    "--description",
    "--format",
    "--environment",
    "--user",
];

impl Commands {
    /// Takes a command if it is one of a client. Returns whether it is.
    pub(crate) fn take(&mut self, words: &[Text]) -> bool {
        let is_client = |word: &Text| client(word.as_str()).is_some();
        let Some(at) = words.iter().position(is_client) else { return false };
        if !words[..at].iter().all(|word| shell::may_precede(word.as_str())) {
            return false;
        }
        let frontend = client(words[at].as_str()).unwrap_or(INCUS);
        let Some(arguments) = arguments(&words[at + 1..]) else { return false };
        if arguments.settings.is_empty() && arguments.unknown.is_empty() {
            return true;
        }
        let whole = words[0].whole().span.start..words.last().map_or(0, |last| last.whole().span.end);
        let Some((item, place)) = self.item(frontend, arguments.name, &whole) else { return true };
        place.end = place.end.max(whole.end);
        item.config.extend(arguments.settings);
        item.unknown.extend(arguments.unknown);
        true
    }

    /// Returns all of them, each with the part of the file that its commands span.
    pub(crate) fn finish(self) -> impl Iterator<Item = (Frontend, Item, Range<usize>)> {
        self.items.into_iter()
    }

    fn item(
        &mut self,
        frontend: Frontend,
        name: String,
        place: &Range<usize>,
    ) -> Option<(&mut Item, &mut Range<usize>)> {
        let next = self.items.len();
        // An instance without a name gets one of its own.
        let key = (frontend.name, if name.is_empty() { format!(" {next}") } else { name.clone() });
        let at = *self.known.entry(key).or_insert(next);
        if at == next {
            let item = Item { name: Some(name).filter(|name| !name.is_empty()), ..Item::default() };
            (next < MOST_ITEMS).then(|| self.items.push((frontend, item, place.clone())))?;
        }
        self.items.get_mut(at).map(|(_, item, place)| (item, place))
    }
}

fn client(word: &str) -> Option<Frontend> {
    match word.rsplit('/').next() {
        Some("incus") => Some(INCUS),
        Some("lxc") => Some(LXD),
        _ => None,
    }
}

/// What a command sets, and of which instance or profile.
#[derive(Default)]
struct Arguments {
    name: String,
    settings: Vec<Entry>,
    unknown: Vec<Text>,
}

/// Parses the arguments of a client; `None` if the command sets no keys.
fn arguments(words: &[Text]) -> Option<Arguments> {
    let mut read = Arguments::default();
    let mut operands: Vec<&Text> = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let text = word.as_str();
        let of_key = ["--config=", "-c="].iter().find_map(|option| text.strip_prefix(option).map(|_| option.len()));
        let joined = (text.len() > 2 && text.starts_with("-c") && !text.starts_with("-c=")).then_some(2);
        match text {
            "--" => break,
            "-c" | "--config" => read.set(rest.next()),
            _ if of_key.or(joined).is_some() => {
                read.set(Some(&word.slice(of_key.or(joined).unwrap_or(0)..text.len())));
            }
            _ if WITH_ARGUMENT.contains(&text) => drop(rest.next()),
            _ if text.starts_with('-') && text.len() > 1 => {}
            _ => operands.push(word),
        }
    }
    let operand = |at: usize| operands.get(at).map(|word| word.as_str());
    match (operand(0)?, operand(1)) {
        ("launch" | "init" | "create" | "copy" | "move" | "import" | "rebuild", _) => {
            operand(2).unwrap_or_default().clone_into(&mut read.name);
        }
        ("config" | "profile", Some(verb @ ("set" | "unset"))) => {
            operand(2).filter(|name| !name.contains('=')).unwrap_or_default().clone_into(&mut read.name);
            let from = if read.name.is_empty() { 2 } else { 3 };
            read.keys(verb == "set", operands.get(from..).unwrap_or_default());
        }
        _ => return None,
    }
    Some(read)
}

impl Arguments {
    /// Reads what follows the name: `KEY=VALUE` words, or a key and its value.
    fn keys(&mut self, sets: bool, words: &[&Text]) {
        match words {
            [key, value] if sets && !key.as_str().contains('=') => self.pair(key, (*value).clone()),
            [key] if !sets => self.pair(key, Text::empty(key.whole().source, key.whole().span.end)),
            words => words.iter().for_each(|word| self.set(Some(word))),
        }
    }

    fn pair(&mut self, key: &Text, value: Text) {
        let (start, end) = (key.whole(), value.whole());
        let location = Location { source: start.source, span: start.span.start..end.span.end.max(start.span.end) };
        // A single dash stands for standard input.
        if value.as_str() == "-" || has_variable(key.as_str()) {
            return self.unknown.push(value);
        }
        self.settings.push(Entry { key: key.as_str().to_owned(), value, location });
    }

    /// Reads `KEY=VALUE`.
    fn set(&mut self, word: Option<&Text>) {
        let Some(word) = word else { return };
        let text = word.as_str();
        match text.find('=') {
            Some(equals) if !has_variable(&text[..equals]) => {
                let (key, value) = (text[..equals].to_owned(), word.slice(equals + 1..text.len()));
                self.settings.push(Entry { key, value, location: word.whole() });
            }
            _ if has_variable(text) => self.unknown.push(word.clone()),
            _ => {}
        }
    }
}
