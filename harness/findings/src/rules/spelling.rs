//! Checks the text alone, whatever the kernel.

use std::collections::HashSet;

use harness_frontend::{
    Assignment, Configuration, CutOff, Effect, Element, Frontend, Location, Meaning, Names, Rejection, Sources,
    UnknownValue,
    frontend::{ConfiguredObject, OptionDelivery, Spelling},
    setting_of,
};
use harness_protocol::mount_option::LONGEST_VALUE;
use harness_uapi::{
    delegation::{numbers, option_of},
    names,
    vocabulary::{Kind, UnknownName},
};

use crate::{
    code::{Code, Level},
    finding::{Edit, Finding, Fix, Safety},
    input::CheckInput,
};

pub(super) fn check(input: &CheckInput<'_>, sources: &Sources) -> Vec<Finding> {
    let configuration = input.configuration;
    let mut findings = Vec::new();
    for kind in Kind::ALL {
        let assignments = configuration.delegated(kind);
        for assignment in assignments.iter().filter(|assignment| assignment.taken) {
            let elements = assignment.elements.iter();
            findings.extend(elements.filter_map(|element| spelled(input, kind, element)));
            findings.extend(erased(configuration, kind, assignment));
        }
        findings.extend(repeated(configuration, kind, sources));
    }
    findings.extend(configuration.cut_off.iter().map(cut_off));
    findings.extend(configuration.unknown.iter().map(|unknown| unknown_value(configuration.frontend, unknown)));
    findings.extend(configuration.unread.as_ref().map(unread));
    // A rejection of an element has a code of its own.
    let elements = configuration.delegated.iter().flatten().flat_map(|assignment| &assignment.elements);
    let unread = elements.filter(|element| element.read_as.is_none()).map(|element| &element.location);
    let unread: HashSet<&Location> = unread.collect();
    let others = configuration.problems.iter().filter(|problem| !unread.contains(&problem.location));
    findings.extend(others.map(|problem| rejected(configuration, problem)));
    findings
}

/// Reports something that the front-end itself does not accept.
fn rejected(configuration: &Configuration, problem: &Rejection) -> Finding {
    let refused = match configuration.frontend.makes {
        ConfiguredObject::Unit => "the unit does not start",
        ConfiguredObject::Container => "the container does not start",
        ConfiguredObject::Mount => "the mount fails",
    };
    let (level, why) = match problem.effect {
        Effect::Misread => return misread(problem),
        Effect::Refused => (Level::Error, refused),
        Effect::Ignored if problem.is_misspelled && delegates_nothing(configuration) => {
            (Level::Error, "it is ignored with a warning, and nothing is delegated")
        }
        Effect::Ignored => (Level::Warning, "it is ignored with a warning"),
        Effect::IgnoredSilently => (Level::Warning, "it is ignored without a warning"),
    };
    let finding =
        Finding::new(Code::FrontendComplains, problem.message.clone(), why).of_level(level).at(Some(&problem.location));
    match &problem.instead {
        Some(instead) => finding.fix(replacement(&problem.location, instead.clone(), Safety::Review)),
        None => finding,
    }
}

/// Whether nothing is delegated in the end.
fn delegates_nothing(configuration: &Configuration) -> bool {
    let masks = configuration.delegation().map(|delegation| delegation.masks());
    configuration.unknown.is_empty() && (configuration.bpffs.is_none() || masks == Ok([0; 4]))
}

/// Reports names that a comma separated from their option.
fn cut_off(names: &CutOff) -> Finding {
    let option = option_of(names.option);
    let message = format!("the comma ended {option}; bpffs ignores `{}`", names.text);
    let why = "a comma separates mount options, a colon the names in one; bpffs ignores unknown options (bpf_parse_param in \
               kernel/bpf/inode.c)";
    let finding = Finding::new(Code::CommaEndsOption, message, why).at(Some(&names.location));
    if names.commas.is_empty() {
        return finding.advice("separate the names of one option by colons");
    }
    let edits = names.commas.iter().map(|comma| Edit { location: comma.clone(), text: ":".to_owned() }).collect();
    finding.fix(Fix { words: "separate the names of one option by colons".to_owned(), edits, safety: Safety::Safe })
}

fn unknown_value(frontend: Frontend, unknown: &UnknownValue) -> Finding {
    let what = unknown.option.map_or_else(String::new, |kind| format!(" of {}", option_name(frontend, kind)));
    let message = format!("the value{what} is not in the file: `{}`", unknown.text);
    let why = "a variable gets its value when the command runs, and a placeholder when the template is rendered; what depends on it \
               is not judged";
    let finding = Finding::new(Code::ValueNotKnown, message, why).at(Some(&unknown.location));
    finding.advice("check the command or the unit that results from it")
}

fn unread(location: &Location) -> Finding {
    let message = "this line writes a delegation in a form that is not read, so it is not judged";
    let why = "what a command writes elsewhere, and strings with escapes, are not followed";
    let finding = Finding::new(Code::NotRead, message, why).at(Some(location));
    finding.advice("check the unit, the instance's YAML or the command that results from it")
}

fn misread(problem: &Rejection) -> Finding {
    let why = "systemd's table of names skips enumerators with a comment on the same line, and leaves no gap for them \
               (src/core/generate-bpf-delegate-configs.py)";
    let finding = Finding::new(Code::MisreadName, problem.message.clone(), why).at(Some(&problem.location));
    finding.advice("remove it; only `any` delegates what you mean")
}

fn replacement(location: &Location, text: String, safety: Safety) -> Fix {
    let words = if text.is_empty() { "remove it".to_owned() } else { format!("write `{text}`") };
    Fix { words, edits: vec![Edit { location: location.clone(), text }], safety }
}

/// Finds an element in a spelling that is not accepted, or a name that does not exist.
fn spelled(input: &CheckInput<'_>, kind: Kind, element: &Element) -> Option<Finding> {
    if element.read_as.is_some() {
        return None;
    }
    let (configuration, names) = (input.configuration, &input.names);
    let why = match configuration.frontend.spelling {
        Spelling::Systemd => "systemd ignores it and logs a warning in the journal (systemd.exec(5))",
        Spelling::Kernel => {
            "the kernel refuses the option with EINVAL, and nothing is mounted (bpf_parse_param in kernel/bpf/inode.c)"
        }
    };
    if let Some(found) = commented(configuration, element) {
        return Some(found);
    }
    if let Some(several) = several(input, kind, element) {
        let message = "whitespace does not separate names here";
        let finding = Finding::new(Code::WrongSpelling, message, why).at(Some(&element.location));
        return Some(finding.fix(replacement(&element.location, several, Safety::Safe)));
    }
    if element.meaning == Meaning::Unreadable {
        return Some(unknown(input, kind, element, why));
    }
    let reader = reader(configuration.frontend);
    let right = spelling(configuration.frontend, names, kind, element.meaning);
    let message = match element.meaning {
        Meaning::Any => format!("{reader} accepts `any` only as the whole value and in lower case"),
        Meaning::Number(_) => format!("{reader} does not accept numbers such as `{}`", element.text),
        Meaning::Name(_) | Meaning::Unreadable => format!("{reader} does not accept the spelling `{}`", element.text),
    };
    let finding = Finding::new(Code::WrongSpelling, message, why).at(Some(&element.location));
    Some(match right {
        Some(right) if right == element.text => finding.advice(format!("write only `{right}`, or remove it")),
        Some(right) => finding.fix(replacement(&element.location, right, Safety::Safe)),
        None => finding.advice(format!("remove it: {reader} has no name for it")),
    })
}

/// Finds a comment behind the last name of a unit's list, which systemd takes for a part of the name.
fn commented(configuration: &Configuration, element: &Element) -> Option<Finding> {
    let sign = element.text.find([' ', '\t']).filter(|_| configuration.frontend.spelling == Spelling::Systemd)?;
    let comment = element.text[sign..].trim_start();
    if !comment.starts_with(['#', ';']) || element.location.span.len() < element.text.trim().len() {
        return None;
    }
    let end = element.location.span.end;
    let location = Location { source: element.location.source, span: end - element.text[sign..].trim_end().len()..end };
    let message = format!("`{comment}` is a part of the name; systemd has comments only on lines of their own");
    let why = "systemd ignores the whole name and logs a warning in the journal (systemd.syntax(7), systemd.exec(5))";
    let finding = Finding::new(Code::UnknownName, message, why).at(Some(&element.location));
    Some(
        finding
            .fix(Fix { words: "remove the comment".to_owned(), ..replacement(&location, String::new(), Safety::Safe) }),
    )
}

/// Returns who reads the names of a front-end's files, for messages.
const fn reader(frontend: Frontend) -> &'static str {
    match frontend.spelling {
        Spelling::Systemd => "systemd",
        Spelling::Kernel => "the kernel",
    }
}

/// Reports a name that no kernel has, with similar ones in the accepted spelling.
fn unknown(input: &CheckInput<'_>, kind: Kind, element: &Element, why: &str) -> Finding {
    let unknown = match input.configuration.frontend.spelling {
        Spelling::Systemd => input.names.unknown_to_systemd(kind, &element.text),
        Spelling::Kernel => input.names.unknown(kind, &element.text),
    };
    if element.text.trim().is_empty() {
        let finding = Finding::new(Code::UnknownName, format!("empty {kind}"), why).at(Some(&element.location));
        return finding.advice("remove it, or write a name");
    }
    let message = unknown.as_ref().map_or_else(|| format!("unknown {kind} `{}`", element.text), UnknownName::message);
    let advice = unknown.as_ref().and_then(UnknownName::advice);
    let advice = advice.unwrap_or_else(|| "remove it, or write the name that you mean".to_owned());
    let finding = Finding::new(Code::UnknownName, message, why).at(Some(&element.location));
    match unknown.as_ref().map(|unknown| unknown.suggestions.as_slice()) {
        Some([right]) => {
            finding.fix(Fix { words: advice, ..replacement(&element.location, right.clone(), Safety::Review) })
        }
        _ => finding.advice(advice),
    }
}

/// Returns names that are separated by whitespace in the accepted form; `None` if the element is something else.
fn several(input: &CheckInput<'_>, kind: Kind, element: &Element) -> Option<String> {
    let words: Vec<&str> = element.text.split_whitespace().collect();
    let frontend = input.configuration.frontend;
    let spelled = |word: &&str| spelling(frontend, &input.names, kind, input.names.meaning(kind, word));
    let all: Option<Vec<String>> = words.iter().map(spelled).collect();
    (words.len() > 1).then(|| all.map(|all| all.join(frontend.separator))).flatten()
}

/// Returns the spelling that a front-end accepts; `None` if there is none.
fn spelling(frontend: Frontend, names: &Names<'_>, kind: Kind, meaning: Meaning) -> Option<String> {
    match meaning {
        Meaning::Any => Some("any".to_owned()),
        Meaning::Name(number) => match frontend.spelling {
            Spelling::Systemd => names.systemd(kind, number),
            Spelling::Kernel => names.kernel(kind, number).map(str::to_owned),
        },
        Meaning::Number(mask) => {
            let bits: Option<Vec<String>> =
                numbers(mask).map(|number| spelling(frontend, names, kind, Meaning::Name(number))).collect();
            Some(bits?.join(frontend.separator))
        }
        Meaning::Unreadable => None,
    }
}

/// Finds numbers that replace what is before them. systemd parses its lists itself, and a number that the kernel shows stands
/// for bits without a name.
fn erased(configuration: &Configuration, kind: Kind, assignment: &Assignment) -> Vec<Finding> {
    if matches!(configuration.frontend.delivery, OptionDelivery::Masks | OptionDelivery::Shown) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut before = 0_u64;
    for element in &assignment.elements {
        let Some(meaning) = element.read_as else { continue };
        if let Meaning::Number(number) = meaning
            && before & !number != 0
        {
            findings.push(eraser(configuration.frontend, kind, element, before & !number, number));
        }
        before = meaning.applied_to(before);
    }
    findings
}

fn eraser(frontend: Frontend, kind: Kind, element: &Element, lost: u64, number: u64) -> Finding {
    let shown = |mask: u64| match mask {
        u64::MAX => "everything".to_owned(),
        mask => numbers(mask).map(|bit| names::shown(kind, bit)).collect::<Vec<_>>().join(", "),
    };
    let message = format!("the number {} replaces everything before it: {} is lost", element.text, shown(lost));
    let why = "names are added to the mask, but a number replaces it (bpf_parse_param in kernel/bpf/inode.c)";
    let finding = Finding::new(Code::NumberErasesNames, message, why).at(Some(&element.location));
    let names: Option<Vec<&str>> = numbers(number).map(|bit| names::name(kind, bit)).collect();
    match names.filter(|names| !names.is_empty() && number != u64::MAX) {
        Some(names) => finding.fix(replacement(&element.location, names.join(frontend.separator), Safety::Review)),
        None => finding.advice("write the number first, or only names"),
    }
}

/// Finds options that are set more than once.
fn repeated(configuration: &Configuration, kind: Kind, sources: &Sources) -> Vec<Finding> {
    let taken: Vec<&Assignment> = configuration.delegated(kind).iter().filter(|assignment| assignment.taken).collect();
    let adds_up = configuration.frontend.delivery.adds_up();
    let (what, why) = match adds_up {
        true => (
            "the kernel combines both values",
            "each occurrence of an option adds to the mask (bpf_parse_param in kernel/bpf/inode.c)",
        ),
        false => ("this value is lost", "the last assignment replaces those before it"),
    };
    // Emptying an option on purpose before setting it again is not a mistake.
    let lost = taken.windows(2).filter(|pair| !pair[0].elements.is_empty() && !pair[1].elements.is_empty());
    // A value that is too long for one option needs several.
    let together = |pair: &&[&Assignment]| pair[0].value.span.len() + pair[1].value.span.len() < LONGEST_VALUE;
    let lost = lost.filter(|pair| !adds_up || together(pair));
    lost.map(|pair| {
        let again = match (&pair[0].location, &pair[1].location) {
            (first, second) if first.source == second.source => "below".to_owned(),
            (_, second) => format!("in {}", sources.shown(second)),
        };
        let message = format!("{} is set again {again}; {what}", option_name(configuration.frontend, kind));
        Finding::new(Code::RepeatedOption, message, why).at(Some(&pair[0].location)).advice("set it once")
    })
    .collect()
}

/// Returns the name of an option as a user of the front-end knows it.
fn option_name(frontend: Frontend, kind: Kind) -> String {
    match frontend.spelling {
        Spelling::Systemd => format!("{}=", setting_of(kind)),
        Spelling::Kernel => option_of(kind).to_owned(),
    }
}
