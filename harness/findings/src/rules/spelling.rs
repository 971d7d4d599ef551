//! What can be said of the text alone, whatever the kernel.

use harness_frontend::{
    Assignment, Configuration, Effect, Element, Frontend, Location, Meaning, Names, Rejection,
    frontend::{OptionDelivery, Spelling},
};
use harness_protocol::mount_option::LONGEST_VALUE;
use harness_uapi::{
    delegation::numbers,
    names,
    vocabulary::{Kind, UnknownName},
};

use crate::{
    code::{Code, Level},
    finding::{Edit, Finding, Fix, Safety},
    input::CheckInput,
};

pub(super) fn judge(subject: &CheckInput<'_>) -> Vec<Finding> {
    let configuration = subject.configuration;
    let mut findings = Vec::new();
    for kind in Kind::ALL {
        let assignments = configuration.delegated(kind);
        for assignment in assignments.iter().filter(|assignment| assignment.taken) {
            let elements = assignment.elements.iter();
            findings.extend(elements.filter_map(|element| spelled(subject, kind, element)));
            findings.extend(erased(configuration, kind, assignment));
        }
        findings.extend(repeated(configuration, kind));
    }
    findings
        .extend(configuration.problems.iter().filter(|problem| !is_of_element(configuration, problem)).map(complaint));
    findings
}

/// Whether a problem is an element's, which is told by its own code.
fn is_of_element(configuration: &Configuration, problem: &Rejection) -> bool {
    let elements = configuration.delegated.iter().flatten().flat_map(|assignment| &assignment.elements);
    elements.filter(|element| element.read_as.is_none()).any(|element| element.location == problem.location)
}

fn complaint(problem: &Rejection) -> Finding {
    let (level, why) = match problem.effect {
        Effect::Misread => return misread(problem),
        Effect::Refused => (Level::Error, "the front-end does not start what is configured so"),
        Effect::Ignored => (Level::Warning, "the front-end passes over it with a warning"),
        Effect::IgnoredSilently => (Level::Warning, "the front-end passes over it without a word"),
    };
    let finding =
        Finding::new(Code::FrontendComplains, problem.message.clone(), why).of_level(level).at(Some(&problem.location));
    match &problem.instead {
        Some(instead) => finding.fix(replacement(&problem.location, instead.clone(), Safety::Judgement)),
        None => finding,
    }
}

fn misread(problem: &Rejection) -> Finding {
    let why = "its table of names passes over enumerators with a comment on their line, and leaves no gap for them \
               (src/core/generate-bpf-delegate-configs.py)";
    let finding = Finding::new(Code::MisreadName, problem.message.clone(), why).at(Some(&problem.location));
    finding.advice("leave it out: only `any` delegates what is meant")
}

fn replacement(location: &Location, text: String, safety: Safety) -> Fix {
    let words = if text.is_empty() { "leave it out".to_owned() } else { format!("write `{text}`") };
    Fix { words, edits: vec![Edit { location: location.clone(), text }], safety }
}

/// An element that its reader does not take for what it means.
fn spelled(subject: &CheckInput<'_>, kind: Kind, element: &Element) -> Option<Finding> {
    if element.read_as.is_some() {
        return None;
    }
    let (configuration, names) = (subject.configuration, &subject.names);
    let why = match configuration.frontend.spelling {
        Spelling::Systemd => "systemd ignores it with a warning in the journal (systemd.exec(5))",
        Spelling::Kernel => {
            "the kernel refuses the option with EINVAL, and nothing is mounted (bpf_parse_param in kernel/bpf/inode.c)"
        }
    };
    if let Some(several) = several(subject, kind, element) {
        let message = "blanks do not separate names here";
        let finding = Finding::new(Code::WrongSpelling, message, why).at(Some(&element.location));
        return Some(finding.fix(replacement(&element.location, several, Safety::Safe)));
    }
    if element.meaning == Meaning::Unreadable {
        return Some(unknown(subject, kind, element, why));
    }
    let right = spelling(configuration.frontend, names, kind, element.meaning);
    let message = format!("`{}` is understood by people, and not by its reader", element.text);
    let finding = Finding::new(Code::WrongSpelling, message, why).at(Some(&element.location));
    Some(match right {
        Some(right) => finding.fix(replacement(&element.location, right, Safety::Safe)),
        None => finding.advice("leave it out: its reader has no spelling for it"),
    })
}

/// A name that no kernel has, with those that are like it in its reader's spelling.
fn unknown(subject: &CheckInput<'_>, kind: Kind, element: &Element, why: &str) -> Finding {
    let unknown = match subject.configuration.frontend.spelling {
        Spelling::Systemd => subject.names.unknown_to_systemd(kind, &element.text),
        Spelling::Kernel => subject.names.unknown(kind, &element.text),
    };
    let message = unknown.as_ref().map_or_else(|| format!("`{}` is no {kind}", element.text), UnknownName::message);
    let advice = unknown.as_ref().and_then(UnknownName::advice);
    let advice = advice.unwrap_or_else(|| "leave it out, or name what is meant".to_owned());
    let finding = Finding::new(Code::UnknownName, message, why).at(Some(&element.location));
    match unknown.as_ref().map(|unknown| unknown.suggestions.as_slice()) {
        Some([right]) => {
            finding.fix(Fix { words: advice, ..replacement(&element.location, right.clone(), Safety::Judgement) })
        }
        _ => finding.advice(advice),
    }
}

/// Names with blanks between them, as their reader takes them; `None` if that is not what stands there.
fn several(subject: &CheckInput<'_>, kind: Kind, element: &Element) -> Option<String> {
    let words: Vec<&str> = element.text.split_whitespace().collect();
    let frontend = subject.configuration.frontend;
    let spelled = |word: &&str| spelling(frontend, &subject.names, kind, subject.names.meaning(kind, word));
    let all: Option<Vec<String>> = words.iter().map(spelled).collect();
    (words.len() > 1).then(|| all.map(|all| all.join(frontend.separator))).flatten()
}

/// How a front-end spells something; `None` if it cannot.
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

/// Numbers that take the place of what stands before them. systemd reads its lists itself.
fn erased(configuration: &Configuration, kind: Kind, assignment: &Assignment) -> Vec<Finding> {
    if configuration.frontend.handing == OptionDelivery::Masks {
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
    let told = |mask: u64| match mask {
        u64::MAX => "everything".to_owned(),
        mask => numbers(mask).map(|bit| names::shown(kind, bit)).collect::<Vec<_>>().join(", "),
    };
    let message = format!("the number {} erases what stands before it: {} is lost", element.text, told(lost));
    let why = "names are added to the mask, a number takes its place (bpf_parse_param in kernel/bpf/inode.c)";
    let finding = Finding::new(Code::NumberErasesNames, message, why).at(Some(&element.location));
    let names: Option<Vec<&str>> = numbers(number).map(|bit| names::name(kind, bit)).collect();
    match names.filter(|names| !names.is_empty() && number != u64::MAX) {
        Some(names) => finding.fix(replacement(&element.location, names.join(frontend.separator), Safety::Judgement)),
        None => finding.advice("write the number first, or names alone"),
    }
}

/// Options that are set more than once.
fn repeated(configuration: &Configuration, kind: Kind) -> Vec<Finding> {
    let taken: Vec<&Assignment> = configuration.delegated(kind).iter().filter(|assignment| assignment.taken).collect();
    let adds_up = configuration.frontend.handing.adds_up();
    let (what, why) = match adds_up {
        true => (
            "what both say adds up",
            "each occurrence of an option adds to the mask (bpf_parse_param in kernel/bpf/inode.c)",
        ),
        false => ("this one is lost", "the last assignment takes the place of those before it"),
    };
    // What is emptied on purpose before it is set again is no mistake.
    let lost = taken.windows(2).filter(|pair| !pair[0].elements.is_empty() && !pair[1].elements.is_empty());
    // What one option is too short for takes several.
    let together = |pair: &&[&Assignment]| pair[0].value.span.len() + pair[1].value.span.len() < LONGEST_VALUE;
    let lost = lost.filter(|pair| !adds_up || together(pair));
    lost.map(|pair| {
        let message = format!("{} is set again further on; {what}", harness_uapi::delegation::option_of(kind));
        Finding::new(Code::RepeatedOption, message, why).at(Some(&pair[0].location)).advice("set it once")
    })
    .collect()
}
