//! Command lines of `systemd-run` (systemd-run(1)): properties of a transient service.
//!
//! The service manager gets the values unchanged and reads them by the rules of unit files (`src/core/dbus-execute.c`), but
//! refuses the command where it would ignore a line of a unit. It also drops unknown names.

use harness_diagnostics::report::Report;

use crate::{
    configuration::{Configuration, Section},
    entry::{Confidence, Entry, File},
    execution_context::{Setting, UserNamespace},
    frontend::Frontend,
    names::Names,
    shell,
    source::{Location, Sources},
    suppression,
    text::Text,
    unit::{SYSTEMD, Settings},
};

/// `systemd-run`: its arguments, for the same manager as unit files.
pub const SYSTEMD_RUN: Frontend = Frontend { name: "systemd-run", ..SYSTEMD };

pub(crate) const ENTRY: Entry = Entry {
    frontend: SYSTEMD_RUN,
    reads: "a systemd-run command",
    has_name: |_| false,
    has_contents,
    read,
    write: None,
};

fn has_contents(file: &File<'_>) -> Option<Confidence> {
    let first = file.first_line();
    let is_run = file.text.contains("systemd-run") || first.starts_with("-p") || first.starts_with("--property");
    is_run.then_some(Confidence::Word)
}

/// Short options with an argument.
const SHORT_WITH_ARGUMENT: &str = "HMCupE";
/// Long options whose argument can be the next word.
const LONG_WITH_ARGUMENT: [&str; 26] = [
    "property",
    "unit",
    "description",
    "slice",
    "host",
    "machine",
    "capsule",
    "service-type",
    "uid",
    "gid",
    "nice",
    "working-directory",
    "setenv",
    "path-property",
    "socket-property",
    "timer-property",
    "on-active",
    "on-boot",
    "on-startup",
    "on-unit-active",
    "on-unit-inactive",
    "on-calendar",
    "background",
    "json",
    "root-directory",
    "job-mode",
];

/// Long and short options that correspond to a setting of the service, besides `--uid` (systemd-run(1)).
const SETTINGS: [(&str, &str); 8] = [
    ("gid", "Group"),
    ("nice", "Nice"),
    ("setenv", "Environment"),
    ("E", "Environment"),
    ("service-type", "Type"),
    ("slice", "Slice"),
    ("working-directory", "WorkingDirectory"),
    ("root-directory", "RootDirectory"),
];
/// Options with which another manager runs it, or no service is started at all.
const OTHER_MANAGERS: [&str; 8] = ["user", "scope", "machine", "M", "host", "H", "capsule", "C"];

/// Reads all commands of a file, or its words as arguments if there is no command.
fn read(_: Frontend, sources: &Sources, names: &Names<'_>) -> Result<Vec<Configuration>, Report> {
    let each = sources.iter().enumerate().flat_map(|(at, source)| {
        let commands = shell::commands(at, source.text());
        let read = commands.iter().filter_map(|command| Some(configuration(arguments(command)?, names))).collect();
        with_suppressions(at, source.text(), read)
    });
    Ok(each.collect())
}

fn with_suppressions(source: usize, text: &str, mut read: Vec<Configuration>) -> Vec<Configuration> {
    for configuration in &mut read {
        suppression::read(source, text, suppression::Comments::Trailing, configuration);
    }
    read
}

/// Reads a command that runs `systemd-run`; `None` if it is another.
pub(crate) fn of_command(words: &[Text], names: &Names<'_>) -> Option<Configuration> {
    let at = words.iter().position(is_run)?;
    let runs = !matches!(words[0].as_str(), "echo" | "printf" | "grep" | "which" | "type" | "man");
    runs.then(|| configuration(&words[at + 1..], names))
}

fn is_run(word: &Text) -> bool {
    word.as_str().rsplit('/').next() == Some("systemd-run")
}

/// Returns what follows `systemd-run`, or everything if it starts with an option.
fn arguments(command: &[Text]) -> Option<&[Text]> {
    let after = command.iter().position(is_run).map(|at| &command[at + 1..]);
    after.or_else(|| command.first()?.as_str().starts_with('-').then_some(command))
}

/// An option and its argument.
struct GivenOption<'a> {
    name: &'a str,
    location: Location,
    argument: Option<Text>,
}

fn configuration(arguments: &[Text], names: &Names<'_>) -> Configuration {
    let mut settings = Settings::of_command(Configuration::new(SYSTEMD_RUN, ""), names);
    let mut of_a_user = false;
    for given in options(arguments) {
        match (given.name, given.argument) {
            ("p" | "property", Some(property)) => assign(&property, &mut settings),
            ("u" | "unit", Some(name)) => settings.configuration.name = name.as_str().to_owned(),
            ("uid", Some(user)) => {
                settings.assign(&Text::synthetic("User"), &user, &user.whole());
            }
            (name, argument) => {
                of_a_user |= name == "user";
                if OTHER_MANAGERS.contains(&name) {
                    settings.configuration.other_manager.get_or_insert(given.location.clone());
                }
                if let ("setenv" | "E", Some(argument)) = (name, &argument) {
                    settings.assign(&Text::synthetic("Environment"), argument, &given.location);
                    continue;
                }
                let setting = SETTINGS.iter().find(|(option, _)| *option == name);
                if let (Some((_, key)), Some(argument)) = (setting, argument) {
                    settings.configuration.record(Section::Exec, key, argument.as_str(), &given.location);
                }
            }
        }
    }
    let mut configuration = settings.finish();
    let namespace = &mut configuration.execution_context.user_namespace;
    if of_a_user && namespace.location.is_none() {
        // A user's manager creates a user namespace where it needs one (systemd.exec(5), `PrivateUsers=`).
        *namespace = Setting::default_of(UserNamespace::Unknown);
    }
    configuration
}

fn assign(property: &Text, settings: &mut Settings<'_>) {
    let text = property.as_str();
    let Some(equals) = text.find('=') else { return settings.without_value(property) };
    settings.assign(&property.slice(0..equals), &property.slice(equals + 1..text.len()), &property.whole());
}

/// Returns the options before the command to run.
fn options(arguments: &[Text]) -> Vec<GivenOption<'_>> {
    let mut words = arguments.iter();
    let mut given = Vec::new();
    while let Some(word) = words.next().filter(|word| word.as_str().starts_with('-') && word.as_str().len() > 1) {
        let text = word.as_str();
        if text == "--" {
            break;
        }
        match text.strip_prefix("--") {
            Some(long) => {
                let (name, inline) = match long.split_once('=') {
                    Some((name, _)) => (name, Some(word.slice(name.len() + 3..text.len()))),
                    None => (long, None),
                };
                let next = || LONG_WITH_ARGUMENT.contains(&name).then(|| words.next().cloned()).flatten();
                given.push(GivenOption { name, location: word.whole(), argument: inline.or_else(next) });
            }
            None => short(word, &mut words, &mut given),
        }
    }
    given
}

/// Reads short options; the last may have its argument in the same word or the next.
fn short<'a>(word: &'a Text, words: &mut std::slice::Iter<'a, Text>, given: &mut Vec<GivenOption<'a>>) {
    let text = word.as_str();
    for (at, c) in text.char_indices().skip(1) {
        let (name, end, location) = (&text[at..at + c.len_utf8()], at + c.len_utf8(), word.whole());
        if SHORT_WITH_ARGUMENT.contains(c) {
            let inline = (end < text.len()).then(|| word.slice(end..text.len()));
            return given.push(GivenOption { name, location, argument: inline.or_else(|| words.next().cloned()) });
        }
        given.push(GivenOption { name, location, argument: None });
    }
}

#[cfg(test)]
mod tests {
    use harness_uapi::vocabulary::Kind;

    use super::*;
    use crate::{configuration::Effect, execution_context::User, names::SystemdRelease, testing::known};

    fn read_of(text: &str) -> Vec<Configuration> {
        let known = known();
        let sources = Sources::of("x", text.as_bytes()).unwrap();
        read(SYSTEMD_RUN, &sources, &Names::new(&known, SystemdRelease::V262)).unwrap()
    }

    #[test]
    fn properties_are_found_in_every_form() {
        let text = "sudo systemd-run -tp PrivateBPF=yes -pPrivateUsers=yes --property BPFDelegateCommands=any \\\n \
                    --property='BPFDelegateMaps=BPFMapTypeHash' -u x --uid=7 -- bash -p BPFDelegateMaps=";
        let read = &read_of(text)[0];
        assert_eq!((read.name.as_str(), read.delegation().unwrap().masks()), ("x", [u64::MAX, 2, 0, 0]));
        assert_eq!(read.execution_context.user_namespace.value, UserNamespace::Own);
        assert_eq!(read.execution_context.user.value, User::Named("7".into()));
        let element = &read.delegated(Kind::Map)[0].elements[0];
        assert_eq!(&text[element.location.span.clone()], "BPFMapTypeHash");
    }

    #[test]
    fn what_a_unit_would_ignore_is_refused() {
        let read = &read_of("-p PrivateBPF=maybe -p PrivateBPFF=yes -p BPFDelegateMaps=hash -p BPFDelegateMaps")[0];
        let effects: Vec<Effect> = read.problems.iter().map(|problem| problem.effect).collect();
        assert_eq!(effects, [Effect::Refused, Effect::Refused, Effect::Ignored, Effect::Refused]);
    }

    #[test]
    fn several_commands_are_several_configurations() {
        let read = read_of(
            "ls\nsystemd-run --user true # bpf-token: allow C why\n/usr/bin/systemd-run -p PrivateBPF=1 true\n",
        );
        assert_eq!(read.iter().map(|read| read.bpffs.is_some()).collect::<Vec<_>>(), [false, true]);
        assert_eq!(read[0].execution_context.user_namespace.value, UserNamespace::Unknown);
        assert_eq!(read[0].suppressions[0].code, "C");
    }
}
