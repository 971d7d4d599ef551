//! Files whose delegation is not read: templates, files of other programs, and any that mention a delegation in a form that is
//! not known here.

use std::ops::Range;

use thiserror::Error;

use crate::{
    entry::File,
    frontend::Frontend,
    source::Source,
    text::{has_placeholder, shown},
    unit::{self, SYSTEMD},
};

/// Why a file is not judged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotRead {
    /// Something fills it in first.
    #[error("this is a template ({sign}): give the file that it renders")]
    Template {
        /// How that is known.
        sign: String,
    },
    /// Another program reads it.
    #[error("{reader} reads this file, and systemd does not: {instead}")]
    OtherReader {
        /// The program.
        reader: &'static str,
        /// What to give instead.
        instead: &'static str,
    },
    /// It is a list of properties, with what systemd made of the settings and of its defaults.
    #[error("this is the output of `systemctl show`, which has defaults and results; give that of `systemctl cat`")]
    Properties,
    /// It mentions a delegation, but not in a form that is read.
    #[error(
        "line {line} mentions `{word}`, but not in a form that is read; give the unit, the instance's YAML or the command that results from it"
    )]
    Mentioned {
        /// The line, counted from 1.
        line: usize,
        /// The word.
        word: &'static str,
    },
}

/// Endings of the names of templates.
const TEMPLATES: [&str; 14] =
    ["j2", "jinja", "jinja2", "tmpl", "tpl", "gotmpl", "erb", "epp", "ejs", "hbs", "mustache", "in", "mako", "tftpl"];

/// A program whose files look like units, or make units.
struct OtherReader {
    suffixes: &'static [&'static str],
    /// A section that no unit has.
    section: Option<&'static str>,
    reader: &'static str,
    /// What to give instead.
    instead: &'static str,
}

const OTHER_READERS: [OtherReader; 4] = [
    OtherReader {
        suffixes: &["container", "pod", "kube", "volume", "network", "build", "image"],
        section: Some("Container"),
        reader: "podman's generator",
        instead: "give the unit that `podman-system-generator --dryrun`, in systemd's folder of generators, prints",
    },
    OtherReader {
        suffixes: &["pod"],
        section: Some("Pod"),
        reader: "podman's generator",
        instead: "give the unit that `podman-system-generator --dryrun`, in systemd's folder of generators, prints",
    },
    OtherReader {
        suffixes: &["nspawn"],
        section: Some("Files"),
        reader: "systemd-nspawn",
        instead: "nothing in it delegates; give the unit that runs in the container",
    },
    OtherReader {
        suffixes: &["nix"],
        section: None,
        reader: "Nix",
        instead: "give the unit that it builds, as in /etc/systemd/system",
    },
];

impl OtherReader {
    fn reads(&self, file: &File<'_>) -> bool {
        let header = self.section.map(|section| format!("[{section}]"));
        let has_section = header.is_some_and(|header| file.lines().any(|line| line == header));
        has_section || (self.suffixes.contains(&file.suffix()) && file.suffix().len() < file.name().len())
    }
}

/// Words that delegate.
const WORDS: [&str; 8] = [
    "delegate_cmds",
    "delegate_maps",
    "delegate_progs",
    "delegate_attachs",
    "BPFDelegate",
    "PrivateBPF",
    "security.bpffs.",
    "security.delegate_bpf",
];

/// Returns why a file is not read at all, by its name and contents.
pub fn not_read(source: &Source) -> Option<NotRead> {
    let file = File { path: source.label(), text: source.text() };
    let suffix = file.suffix();
    if TEMPLATES.contains(&suffix) && suffix.len() < file.name().len() {
        return Some(NotRead::Template { sign: format!("its name ends in .{suffix}") });
    }
    if let Some(other) = OTHER_READERS.iter().find(|other| other.reads(&file)) {
        return Some(NotRead::OtherReader { reader: other.reader, instead: other.instead });
    }
    if file.suffix() != "service" && is_properties(&file) {
        return Some(NotRead::Properties);
    }
    let is_unit = Frontend::detect(source) == Some(SYSTEMD);
    is_unit.then(|| placeholder_of_unit(source.text())).flatten()
}

/// Whether a file has properties of a unit, as `systemctl show` prints them.
fn is_properties(file: &File<'_>) -> bool {
    let property = |line: &str| {
        let key = line.split_once('=').map_or("", |(key, _)| key);
        key.starts_with(|c: char| c.is_ascii_uppercase()) && key.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    unit::is_checked(file.first_line().split_once('=').map_or("", |(key, _)| key)) && file.lines().all(property)
        || file.lines().next().is_some()
            && file.lines().all(property)
            && file.lines().any(|line| line.starts_with("Id="))
}

/// Returns where a unit has a placeholder that systemd would not read as what it is meant to be.
fn placeholder_of_unit(text: &str) -> Option<NotRead> {
    let is_placeholder = |line: &str| {
        let line = line.trim();
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let key = key.trim();
        let starts = ["{{", "{%", "{#", "<%"].iter().any(|open| line.starts_with(open));
        starts || has_placeholder(key) || (unit::is_checked(key) && has_placeholder(value))
    };
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with(['#', ';']));
    let (at, line) = lines.find(|(_, line)| is_placeholder(line))?;
    Some(NotRead::Template { sign: format!("line {} has `{}`", at + 1, shown(line.trim())) })
}

/// Returns where a file mentions a delegation outside of comments; for files in which none was found.
pub fn mentioned(source: &Source) -> Option<NotRead> {
    mentions(source.text()).next().map(|(line, _, word)| NotRead::Mentioned { line, word })
}

/// The lines of a text, outside of comments, that mention a delegation: the number of each counted from 1, where it is, and the
/// word.
pub(crate) fn mentions(text: &str) -> impl Iterator<Item = (usize, Range<usize>, &'static str)> {
    let is_comment = |line: &str| line.trim_start().starts_with(['#', ';']) || line.trim_start().starts_with("//");
    let mut end = 0;
    let lines = text.split_inclusive('\n').enumerate().map(move |(number, line)| {
        let start = end;
        end += line.len();
        (number + 1, start..start + line.trim_end().len(), line)
    });
    lines.filter_map(move |(number, span, line)| {
        let word = WORDS.into_iter().find(|word| line.contains(word)).filter(|_| !is_comment(line))?;
        Some((number, span, word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Sources;

    fn why(label: &str, text: &str) -> Option<String> {
        not_read(Sources::of(label, text.as_bytes()).unwrap().get(0)).map(|why| why.to_string())
    }

    #[test]
    fn templates_are_not_read() {
        let unit = "[Service]\nExecStart=/usr/bin/podman ps --format \"{{.ID}}\"\nPrivateBPF=yes\n";
        assert_eq!(why("a.service", unit), None);
        assert!(why("a.service.in", unit).is_some() && why("in", unit).is_none());
        for line in ["BPFDelegateMaps={{ maps }}", "{% if x %}", "PrivateBPF=@BPF@", "<%= x %>", "{{ key }}=yes"] {
            assert!(why("a.service", &format!("{unit}{line}\n")).is_some(), "{line}");
        }
        assert_eq!(why("a.service", &format!("{unit}# {{{{ x }}}}\nEnvironment=A=b@c\n")), None);
    }

    #[test]
    fn files_of_other_programs_are_not_read() {
        let quadlet = "[Unit]\nDescription=x\n[Container]\nImage=x\n[Service]\nPrivateBPF=yes\n";
        assert!(why("a.container", quadlet).unwrap().starts_with("podman's generator"));
        assert!(why("<stdin>", quadlet).is_some());
        assert!(why("a.nspawn", "[Exec]\nBoot=yes\n[Files]\n").unwrap().starts_with("systemd-nspawn"));
        assert!(why("a.nix", "{ systemd.services.a = {}; }").is_some());
        assert_eq!(why("a.service", "[Service]\nPrivateBPF=yes\n"), None);
    }

    #[test]
    fn properties_are_not_settings() {
        assert_eq!(
            why("x", "Type=simple\nId=a.service\nPrivateBPF=yes\n"),
            why("x", "PrivateBPF=yes\nPrivateUsersEx=self\n")
        );
        assert!(why("x", "PrivateBPF=yes\nPrivateUsersEx=self\n").unwrap().contains("systemctl cat"));
        assert_eq!(why("x", "[Service]\nPrivateBPF=yes\n"), None);
    }

    #[test]
    fn mentions_are_found_outside_of_comments() {
        let mention = |text: &str| mentioned(Sources::of("x", text.as_bytes()).unwrap().get(0));
        assert_eq!(mention("# delegate_cmds\n// PrivateBPF\n"), None);
        assert_eq!(mention("\n  o: delegate_cmds=any\n"), Some(NotRead::Mentioned { line: 2, word: "delegate_cmds" }));
    }
}
