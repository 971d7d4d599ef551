//! Files that have delegations of several kinds within them: scripts, with commands and the documents that these write, and
//! YAML of any program, with instances, scripts, units and mounts.

use std::ops::Range;

use harness_diagnostics::report::{Problem, Report};

use crate::{
    configuration::Configuration,
    entry::{Confidence, Entry, File},
    frontend::Frontend,
    instance::{self, Commands, Contents, INCUS, LXD},
    kind,
    mount::{self, MOUNT},
    names::Names,
    shell::{self, Document},
    source::{Location, Source, Sources},
    suppression, systemd_run,
    text::{Text, has_placeholder, has_variable},
    unit,
};

/// A script, with any of the commands that are read.
pub const SCRIPT: Frontend = Frontend { name: "script", ..MOUNT };

pub(crate) const ENTRY_OF_SCRIPT: Entry = Entry {
    frontend: SCRIPT,
    reads: "a shell script with commands of the others, or with files that it writes",
    has_name: |file| matches!(file.suffix(), "sh" | "bash"),
    has_contents: is_script,
    read: |frontend, sources, names| read(frontend, sources, names, |reader, _| reader.whole_script()),
    write: None,
};

pub(crate) const ENTRY_OF_INCUS: Entry = Entry {
    frontend: INCUS,
    reads: "the YAML of an instance or a profile of Incus, or YAML of another program that has such keys, scripts or units",
    has_name: |file| is_yaml(file) && !instance::has_keys_of_lxd(file.text),
    has_contents: |file| match instance::has_keys_of_incus(file.text) {
        true => Some(Confidence::Word),
        false => file.lines().any(|line| line.starts_with("config:")).then_some(Confidence::Line),
    },
    read: |frontend, sources, names| read(frontend, sources, names, |reader, frontend| reader.whole_yaml(frontend)),
    write: Some(instance::WRITE_INCUS),
};

pub(crate) const ENTRY_OF_LXD: Entry = Entry {
    frontend: LXD,
    reads: "the same of LXD",
    has_name: |file| is_yaml(file) && instance::has_keys_of_lxd(file.text),
    has_contents: |file| instance::has_keys_of_lxd(file.text).then_some(Confidence::Word),
    read: |frontend, sources, names| read(frontend, sources, names, |reader, frontend| reader.whole_yaml(frontend)),
    write: Some(instance::WRITE_LXD),
};

fn is_yaml(file: &File<'_>) -> bool {
    matches!(file.suffix(), "yaml" | "yml")
}

/// Whether a file is a script of a shell, or has a client's command or a document with a delegation.
fn is_script(file: &File<'_>) -> Option<Confidence> {
    let first = file.text.lines().next().unwrap_or_default();
    if first.starts_with("#!") && first.ends_with("sh") {
        return Some(Confidence::Beginning);
    }
    let has = |word: &str| file.text.contains(word);
    let delegates = has("security.bpffs.") || has("security.delegate_bpf") || has("BPFDelegate") || has("delegate_");
    let client = |line: &str| {
        line.split_whitespace()
            .find(|word| !shell::may_precede(word))
            .is_some_and(|word| matches!(word, "incus" | "lxc"))
    };
    let is_one = delegates && (has("<<") || file.lines().any(client));
    is_one.then_some(Confidence::Word)
}

/// Commands that write what they are given somewhere else.
const WRITERS: [&str; 5] = ["tee", "sed", "busctl", "set-property", "query"];

/// The maximum number of scripts within scripts.
const MOST_LEVELS: usize = 4;

type ReadWhole = fn(&mut Reader<'_>, Frontend) -> Result<(), Problem>;

fn read(
    frontend: Frontend,
    sources: &Sources,
    names: &Names<'_>,
    whole: ReadWhole,
) -> Result<Vec<Configuration>, Report> {
    let mut all = Vec::new();
    for (at, source) in sources.iter().enumerate() {
        let mut reader = Reader { at, source, names, found: Vec::new(), commands: Commands::default() };
        whole(&mut reader, frontend).map_err(|problem| sources.report(at, vec![problem]))?;
        all.extend(reader.finish());
    }
    Ok(all)
}

/// Reads one file.
struct Reader<'a> {
    at: usize,
    source: &'a Source,
    names: &'a Names<'a>,
    /// What is found, each with its part of the file.
    found: Vec<(Configuration, Range<usize>)>,
    commands: Commands,
}

impl Reader<'_> {
    fn whole_script(&mut self) -> Result<(), Problem> {
        self.script(0..self.source.text().len(), 0);
        Ok(())
    }

    fn whole_yaml(&mut self, frontend: Frontend) -> Result<(), Problem> {
        let text = self.source.text();
        self.yaml(frontend, 0..text.len(), 0).map_err(|(why, span)| {
            let template =
                if has_placeholder(text) { "; if it is a template, give the file that it renders" } else { "" };
            Problem::new(span, format!("invalid YAML: {why}{template}"))
        })
    }

    /// Returns all that is found, with the suppressions that apply to each.
    fn finish(mut self) -> Vec<Configuration> {
        for (frontend, item, place) in std::mem::take(&mut self.commands).finish() {
            self.found.push((instance::of_item(frontend, &item, self.source.label(), self.names), place));
        }
        self.found.sort_by_key(|(_, place)| place.start);
        let unread = self.unread();
        let mut read = Configuration::new(SCRIPT, "");
        suppression::read(self.at, self.source.text(), suppression::Comments::Trailing, &mut read);
        let mut all = Vec::new();
        for (mut configuration, place) in self.found {
            let overlaps = |span: &Range<usize>| span.start < place.end.max(place.start + 1) && place.start < span.end;
            let applying = read.suppressions.iter().filter(|one| overlaps(&one.applies_to.span));
            configuration.suppressions.extend(applying.cloned());
            configuration.problems.append(&mut read.problems);
            all.push(configuration);
        }
        all.iter_mut().take(1).for_each(|first| first.unread.clone_from(&unread));
        all
    }

    /// Returns the first line that writes a delegation in a form that is not read: by a command, or in a string with escapes.
    fn unread(&self) -> Option<Location> {
        let text = self.source.text();
        let is_read = |span: &Range<usize>| {
            let overlaps = |place: &Range<usize>| span.start < place.end && place.start < span.end;
            self.found.iter().any(|(_, place)| overlaps(place) && *place != (0..text.len()))
        };
        let writes = |line: &str| {
            line.contains("\\n") || line.contains('>') || line.split_whitespace().any(|word| WRITERS.contains(&word))
        };
        let mut mentions = kind::mentions(text).map(|(_, span, _)| span);
        let span = mentions.find(|span| writes(&text[span.clone()]) && !is_read(span))?;
        Some(Location { source: self.at, span })
    }

    /// Reads a script that is a part of the file.
    fn script(&mut self, part: Range<usize>, level: usize) {
        let file = self.source.text();
        let documents = shell::documents(file, part.clone());
        for command in shell::commands_between(self.at, file, part, &documents) {
            self.command(&command, level);
        }
        for document in documents {
            self.document(&document, level);
        }
    }

    fn command(&mut self, words: &[Text], level: usize) {
        let Some(last) = words.last().filter(|_| level < MOST_LEVELS) else { return };
        if let Some(script) = script_of(words) {
            for command in shell::commands_of(self.at, script) {
                self.command(&command, level + 1);
            }
            return;
        }
        let place = words[0].whole().span.start..last.whole().span.end;
        if let Some(mount) = mount::of_command(words, self.names) {
            self.found.extend(Some(mount).filter(Configuration::says_something).map(|mount| (mount, place)));
        } else if let Some(run) = systemd_run::of_command(words, self.names) {
            self.found.push((run, place));
        } else if let Some(line) = words.iter().find_map(|word| self.line_of(word)) {
            self.found.push((line, place));
        } else if let Some(document) = words.iter().find_map(|word| self.document_of(word)) {
            let frontend = if instance::has_keys_of_lxd(&self.source.text()[document.clone()]) { LXD } else { INCUS };
            // What is not YAML is not an instance, and may be anything.
            let _ = self.yaml(frontend, document, level + 1);
        } else {
            self.commands.take(words);
            // `incus exec web -- mount …`
            if let Some(dashes) = words.iter().position(|word| word.as_str() == "--") {
                self.command(&words[dashes + 1..], level + 1);
            }
        }
    }

    /// Reads a word that is a line of an fstab, as `echo` adds it to one.
    fn line_of(&self, word: &Text) -> Option<Configuration> {
        let is_line = word.as_str().contains("delegate_") && word.as_str().contains([' ', '\t']);
        let fields = shell::commands_of(self.at, word).into_iter().next().filter(|_| is_line)?;
        mount::of_fields(&fields, self.names)
    }

    /// Returns where a word is a JSON document with an instance, as `incus query --data` takes it; none if the shell changes it.
    fn document_of(&self, word: &Text) -> Option<Range<usize>> {
        let (text, span) = (word.as_str(), word.whole().span);
        let has_keys = instance::has_keys_of_incus(text) || instance::has_keys_of_lxd(text);
        let is_document = text.starts_with('{') && has_keys && self.source.text().get(span.clone()) == Some(text);
        is_document.then_some(span)
    }

    /// Reads a document within a script: a unit, an instance, an fstab, or a script for another shell.
    fn document(&mut self, document: &Document, level: usize) {
        let Document { body, path, expands } = document;
        let text = &self.source.text()[body.clone()];
        let is_instance = instance::has_keys_of_incus(text) || instance::has_keys_of_lxd(text);
        if unit::is_unit(text) {
            let name = path.as_deref().unwrap_or_default();
            self.unit(body.clone(), name, if *expands { has_variable } else { |_| false });
        } else if is_instance && !text.contains("config set") {
            let frontend = if instance::has_keys_of_lxd(text) { LXD } else { INCUS };
            // What is not YAML is not an instance, and may be anything.
            let _ = self.yaml(frontend, body.clone(), level + 1);
        } else if level < MOST_LEVELS {
            self.lines(body.clone());
            self.script(body.clone(), level + 1);
        }
    }

    /// Reads the lines of an fstab.
    fn lines(&mut self, part: Range<usize>) {
        for (mount, place) in mount::of_lines(self.at, self.source.text(), part, self.names) {
            self.found.push((mount, place));
        }
    }

    fn unit(&mut self, part: Range<usize>, path: &str, is_unknown: fn(&str) -> bool) {
        let name = path.rsplit('/').next().unwrap_or(path);
        let name = match path.rsplit('/').nth(1).and_then(|folder| folder.strip_suffix(".d")) {
            Some(unit) if name.ends_with(".conf") => unit,
            _ => name,
        };
        let read = unit::of_part((self.at, self.source), part.clone(), name, is_unknown, self.names);
        self.found.extend(read.into_iter().map(|unit| (unit, part.clone())));
    }

    /// Reads a part of the file as YAML.
    fn yaml(&mut self, frontend: Frontend, part: Range<usize>, level: usize) -> Result<(), (String, Range<usize>)> {
        let read = instance::contents(self.at, self.source.text(), part.clone());
        let Contents { items, scripts, joined, lists, units, mounts } =
            read.map_err(|error| (error.why, error.span))?;
        let whole = level == 0;
        for item in &items {
            let place = match (item.config.first(), item.config.last()) {
                (Some(first), Some(last)) if !whole || items.len() > 1 => {
                    first.location.span.start..last.location.span.end
                }
                // The mapping around the others is read last.
                _ if items.len() > 1 => part.end..part.end,
                _ => part.clone(),
            };
            let program = instance::program_of(item, frontend);
            self.found.push((instance::of_item(program, item, self.source.label(), self.names), place));
        }
        for (unit, path) in units {
            self.unit(unit, path.as_deref().unwrap_or_default(), has_placeholder);
        }
        for script in scripts {
            self.script(script, level + 1);
        }
        for script in joined {
            for command in shell::commands_of(self.at, &script) {
                self.command(&command, level + 1);
            }
        }
        for list in lists {
            match mount::of_fields(&list, self.names).filter(Configuration::says_something) {
                Some(mount) => self.found.push((mount, list[3].whole().span)),
                None => self.command(&list, level + 1),
            }
        }
        for (options, target) in mounts {
            self.found.push((mount::of_options(&options, target, self.names), options.whole().span));
        }
        Ok(())
    }
}

/// Returns the script that a command runs in another shell.
fn script_of(words: &[Text]) -> Option<&Text> {
    let is_shell = |word: &Text| {
        matches!(word.as_str().rsplit('/').next(), Some("sh" | "bash" | "dash" | "ash" | "zsh" | "busybox" | "su"))
    };
    let at = words.iter().position(is_shell)?;
    let option = |word: &Text| word.as_str().starts_with('-') && word.as_str().ends_with('c');
    let flag = words[at..].iter().position(option)?;
    words.get(at + flag + 1)
}

#[cfg(test)]
mod tests;
