//! The output of `bpftool token list --json` (`tools/bpf/bpftool/token.c`): what each mounted bpffs delegates, by the names
//! that the kernel shows.

use harness_diagnostics::report::{Problem, Report};
use harness_uapi::vocabulary::Kind;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    configuration::{Assignment, Bpffs, Configuration, Effect, Element, Meaning},
    entry::{Confidence, Entry, File},
    execution_context::ExecutionContext,
    frontend::Frontend,
    mount::MOUNTINFO,
    names::Names,
    source::{Location, Sources},
    text::shown,
};

/// `bpftool token list --json`, which shows the same as mountinfo.
pub const BPFTOOL: Frontend = Frontend { name: "bpftool", ..MOUNTINFO };

pub(crate) const ENTRY: Entry = Entry {
    frontend: BPFTOOL,
    reads: "the output of `bpftool token list --json`",
    has_name: |_| false,
    has_contents,
    read,
    write: None,
};

/// Whether it begins as JSON; the header of a section, such as `[Service]`, does not.
fn has_contents(file: &File<'_>) -> Option<Confidence> {
    let first = file.first_line();
    let of_array = first.strip_prefix('[').map(str::trim_start);
    let is_array = of_array.is_some_and(|rest| rest.is_empty() || rest.starts_with(['{', ']']));
    let is_ours = file.text.contains("\"token_info\"") || file.text.trim() == "[]";
    (is_ours && (is_array || first.starts_with('{'))).then_some(Confidence::Beginning)
}

/// The maximum number of tokens in one file.
const MOST_TOKENS: usize = 1000;
/// The maximum number of names of one kind; a mask has 64 bits.
const MOST_NAMES: usize = 1000;

/// One token. bpftool may add keys.
#[derive(Deserialize)]
struct Token<'a> {
    token_info: String,
    #[serde(borrow, default)]
    allowed_cmds: Option<&'a RawValue>,
    #[serde(borrow, default)]
    allowed_maps: Option<&'a RawValue>,
    #[serde(borrow, default)]
    allowed_progs: Option<&'a RawValue>,
    #[serde(borrow, default)]
    allowed_attachs: Option<&'a RawValue>,
}

/// Reads all tokens in these files.
///
/// # Errors
/// A [`Report`] about the first file that is not such JSON.
fn read(_: Frontend, sources: &Sources, names: &Names<'_>) -> Result<Vec<Configuration>, Report> {
    let mut all = Vec::new();
    for (source, file) in sources.iter().enumerate() {
        let reader = Reader { source, file: file.text(), names };
        let read = reader.tokens().map_err(|problem| sources.report(source, vec![problem]))?;
        all.extend(read);
    }
    Ok(all)
}

struct Reader<'a> {
    source: usize,
    file: &'a str,
    names: &'a Names<'a>,
}

impl Reader<'_> {
    fn tokens(&self) -> Result<Vec<Configuration>, Problem> {
        let listed: Vec<&RawValue> =
            serde_json::from_str(self.file).map_err(|error| self.broken(0, self.file, &error))?;
        if listed.len() > MOST_TOKENS {
            return Err(Problem::new(0..0, format!("more than {MOST_TOKENS} tokens")));
        }
        listed.into_iter().map(|raw| self.token(raw)).collect()
    }

    fn token(&self, raw: &RawValue) -> Result<Configuration, Problem> {
        let location = self.location(raw.get());
        let token: Token<'_> =
            serde_json::from_str(raw.get()).map_err(|error| self.broken(location.span.start, raw.get(), &error))?;
        let mut read = Configuration::new(BPFTOOL, &token.token_info);
        read.bpffs = Some(Bpffs { path: token.token_info, location });
        read.execution_context = ExecutionContext::unknown();
        let lists = [token.allowed_cmds, token.allowed_maps, token.allowed_progs, token.allowed_attachs];
        for (kind, list) in Kind::ALL.into_iter().zip(lists) {
            if let Some(list) = list {
                self.list(kind, list, &mut read)?;
            }
        }
        Ok(read)
    }

    fn list(&self, kind: Kind, list: &RawValue, read: &mut Configuration) -> Result<(), Problem> {
        let location = self.location(list.get());
        let broken = |text: &str, error: &serde_json::Error| self.broken(self.location(text).span.start, text, error);
        let raws: Vec<&RawValue> = serde_json::from_str(list.get()).map_err(|error| broken(list.get(), &error))?;
        if raws.len() > MOST_NAMES {
            return Err(Problem::new(location.span, format!("more than {MOST_NAMES} names")));
        }
        let mut elements = Vec::new();
        for raw in raws {
            let text: String = serde_json::from_str(raw.get()).map_err(|error| broken(raw.get(), &error))?;
            elements.push(self.element(kind, raw.get(), text));
        }
        for element in elements.iter().filter(|element| element.read_as.is_none()) {
            let message = format!("`{}` is not the name of a {kind} on any known kernel", shown(&element.text));
            read.problem(element.location.clone(), Effect::IgnoredSilently, message);
        }
        if !elements.is_empty() {
            let assignment = Assignment { location: location.clone(), value: location, elements, taken: true };
            read.delegated[kind as usize].push(assignment);
        }
        Ok(())
    }

    fn element(&self, kind: Kind, raw: &str, text: String) -> Element {
        let Location { source, span } = self.location(raw);
        let meaning = self.names.meaning(kind, &text);
        let location = Location { source, span: span.start + 1..span.end - 1 };
        Element { location, text, meaning, read_as: Some(meaning).filter(|meaning| *meaning != Meaning::Unreadable) }
    }

    /// Returns the location of a part of the file.
    fn location(&self, part: &str) -> Location {
        let start = part.as_ptr() as usize - self.file.as_ptr() as usize;
        Location { source: self.source, span: start..start + part.len() }
    }

    /// Returns the problem of JSON that starts at this byte of the file.
    fn broken(&self, start: usize, part: &str, error: &serde_json::Error) -> Problem {
        let lines = part.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
        let mut at = (start + lines + error.column().saturating_sub(1)).min(self.file.len());
        while !self.file.is_char_boundary(at) {
            at -= 1;
        }
        // The position in the error is relative to the part.
        let error = error.to_string();
        let message = error.rsplit_once(" at line ").map_or(error.as_str(), |(message, _)| message);
        Problem::new(at..at, format!("not output of `bpftool token list --json`: {}", shown(message)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{names::SystemdRelease, testing::known};

    fn read_of(text: &str) -> Result<Vec<Configuration>, String> {
        let known = known();
        let sources = Sources::of("t.json", text.as_bytes()).unwrap();
        read(BPFTOOL, &sources, &Names::new(&known, SystemdRelease::V262)).map_err(|report| report.to_string())
    }

    const TOKENS: &str = r#"[{
  "token_info": "/sys/fs/bpf",
  "allowed_cmds": ["map_create", "0x8000000000000000"],
  "allowed_maps": ["any"],
  "allowed_progs": [],
  "allowed_attachs": ["xdp", "later"]
}, {"token_info": "/x", "more": 1}]"#;

    #[test]
    fn tokens_are_read_with_locations() {
        let read = read_of(TOKENS).unwrap();
        assert_eq!(read[0].delegation().unwrap().masks(), [1 << 63 | 1, u64::MAX, 0, 1 << 37]);
        let elements: Vec<&str> =
            read[0].delegated(Kind::Attach)[0].elements.iter().map(|e| &TOKENS[e.location.span.clone()]).collect();
        assert_eq!((elements, read[0].problems.len()), (vec!["xdp", "later"], 1));
        assert_eq!((read[1].name.as_str(), read[1].mount_options()), ("/x", vec![]));
    }

    #[test]
    fn what_bpftool_would_not_print_is_refused_with_its_location() {
        let errors = [
            "",
            "{}",
            "[\n{\"token_info\": 1}]",
            "[{\"token_info\": \"\", \"allowed_cmds\": [1]}]",
            "[{\"token_info\": \"\", \"allowed_cmds\": \"any\"}]",
        ]
        .map(|text| read_of(text).unwrap_err());
        insta::assert_snapshot!(errors.join("\n"), @r#"
        t.json:1:1: not output of `bpftool token list --json`: EOF while parsing a value
        t.json:1:1: not output of `bpftool token list --json`: invalid type: map, expected a sequence
        t.json:2:16: not output of `bpftool token list --json`: invalid type: integer `1`, expected a string
        t.json:1:38: not output of `bpftool token list --json`: invalid type: integer `1`, expected a string
        t.json:1:41: not output of `bpftool token list --json`: invalid type: string "any", expected a sequence
        "#);
        assert!(read_of(&"[".repeat(100_000)).is_err());
    }
}
