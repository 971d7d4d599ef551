//! Lines and commands that mount a bpffs.

use std::ops::Range;

use crate::{shell, source::Location, text::Text};

/// A mount of a bpffs.
#[derive(Debug)]
pub(super) struct Mount {
    /// The mount point; empty if the text has none.
    pub(super) target: String,
    /// All options, in order.
    pub(super) options: Vec<Text>,
    /// The line or command.
    pub(super) location: Location,
    /// Whether it is an existing mount that the kernel shows.
    pub(super) is_shown: bool,
}

/// Returns the mounts of a bpffs in a file.
pub(super) fn mounts(source: usize, file: &str) -> impl Iterator<Item = Mount> {
    let commands = shell::commands(source, if file.contains("mount") { file } else { "" });
    let of_commands: Vec<Mount> = commands.iter().filter_map(|words| command(words)).collect();
    let covered: Vec<Range<usize>> = of_commands.iter().map(|mount| mount.location.span.clone()).collect();
    let (mut start, mut passed) = (0, 0);
    let of_lines = file.split_inclusive('\n').filter_map(move |line| {
        let span = start..start + line.trim_end_matches(['\n', '\r']).len();
        start += line.len();
        // Commands and lines are both in the order of the file.
        passed += covered[passed..].iter().take_while(|command| command.end <= span.start).count();
        let is_command = covered.get(passed).is_some_and(|command| command.start < span.end);
        if is_command { None } else { of_line(source, file, span) }
    });
    of_commands.into_iter().chain(of_lines)
}

/// Returns the mounts in the lines of a part of a file, without commands.
pub(super) fn in_part(source: usize, file: &str, part: Range<usize>) -> impl Iterator<Item = Mount> {
    let mut start = part.start;
    file[part].split_inclusive('\n').filter_map(move |line| {
        let span = start..start + line.trim_end_matches(['\n', '\r']).len();
        start += line.len();
        of_line(source, file, span)
    })
}

fn of_line(source: usize, file: &str, line: Range<usize>) -> Option<Mount> {
    let text = &file[line.clone()];
    if !(text.contains("bpf") || text.contains("delegate_")) || text.trim_start().starts_with('#') {
        return None;
    }
    let fields = fields(source, file, line.clone());
    let location = Location { source, span: line };
    let shown = |target: &Text, options: Text| Mount {
        target: target.as_str().to_owned(),
        options: vec![options],
        location: location.clone(),
        is_shown: true,
    };
    let texts: Vec<&str> = fields.iter().map(Text::as_str).collect();
    // proc(5), mountinfo: numbers, device, root, target, options, optional fields, `-`, type, source, options.
    let dash = texts.iter().skip(6).position(|field| *field == "-").map(|at| at + 6);
    if let Some(dash) = dash.filter(|_| texts[0].bytes().all(|byte| byte.is_ascii_digit()) && texts[2].contains(':')) {
        return (texts.get(dash + 1) == Some(&"bpf") && fields.len() > dash + 3)
            .then(|| shown(&fields[4], fields[dash + 3].clone()));
    }
    let tree = |c: char| "├─└│|`- ".contains(c);
    match texts.as_slice() {
        // findmnt(8), whose first column may be drawn as a tree.
        [target, source, "bpf", _] if !source.starts_with('/') && target.trim_start_matches(tree).starts_with('/') => {
            let target = fields[0].slice(target.len() - target.trim_start_matches(tree).len()..target.len());
            Some(shown(&target, fields[3].clone()))
        }
        [_, "on", _, "type", "bpf", options, ..] if options.starts_with('(') => {
            let end = options.len() - usize::from(options.ends_with(')'));
            Some(shown(&fields[2], fields[5].slice(1..end)))
        }
        [_, _, "bpf", _, ..] => {
            let target = texts[1].to_owned();
            Some(Mount { target, options: vec![fields[3].clone()], location, is_shown: false })
        }
        [options] if options.starts_with("delegate_") => {
            Some(Mount { target: String::new(), options: vec![fields[0].clone()], location, is_shown: false })
        }
        [options, "#", ..] | [options, ..] if options.starts_with("delegate_") => {
            Some(Mount { target: String::new(), options: vec![fields[0].clone()], location, is_shown: false })
        }
        _ => None,
    }
}

/// Splits a line at whitespace outside of double quotes, and resolves escapes such as `\040` (fstab(5)).
fn fields(source: usize, file: &str, line: Range<usize>) -> Vec<Text> {
    const MOST: usize = 64;
    let mut fields: Vec<Text> = Vec::new();
    let mut field: Option<Text> = None;
    let mut is_quoted = false;
    let bytes = file.as_bytes();
    let mut at = line.start;
    while at < line.end && fields.len() < MOST {
        let length = file[at..].chars().next().map_or(1, char::len_utf8);
        let escape = octal(&bytes[at..line.end]);
        match bytes[at] {
            b' ' | b'\t' if !is_quoted => fields.extend(field.take()),
            first => {
                is_quoted ^= first == b'"';
                let field = field.get_or_insert_with(|| Text::empty(source, at));
                match escape {
                    Some(c) => field.push(c.encode_utf8(&mut [0; 4]), at..at + 4),
                    None => field.push(&file[at..at + length], at..at + length),
                }
            }
        }
        at += if escape.is_some() { 4 } else { length };
    }
    fields.extend(field);
    fields
}

/// Parses a character written as a backslash and three octal digits.
fn octal(bytes: &[u8]) -> Option<char> {
    let [b'\\', digits @ ..] = bytes.get(..4)? else { return None };
    let value =
        digits.iter().try_fold(0u32, |value, digit| char::from(*digit).to_digit(8).map(|digit| value * 8 + digit))?;
    u8::try_from(value).ok().filter(u8::is_ascii).map(char::from)
}

/// Parses a command line of mount(8) that mounts a bpffs.
pub(super) fn command(words: &[Text]) -> Option<Mount> {
    let at =
        words.iter().position(|word| matches!(word.as_str().rsplit('/').next(), Some("mount" | "systemd-mount")))?;
    // Any command can have `mount` as a word; here only a prefix of a command may precede it.
    let prefix = words[..at].iter().all(|word| shell::may_precede(word.as_str()));
    let (mut fstype, mut options, mut operands) = (None, Vec::new(), Vec::new());
    let mut rest = words[at + 1..].iter();
    while let Some(word) = rest.next() {
        let text = word.as_str();
        let (name, inline) = split(word);
        match name {
            "-t" | "--types" => fstype = inline.or_else(|| rest.next().cloned()).map(|text| text.as_str().to_owned()),
            "-o" | "--options" => options.extend(inline.or_else(|| rest.next().cloned())),
            "--source" => operands.splice(0..0, inline.or_else(|| rest.next().cloned())).for_each(drop),
            "--target" => operands.extend(inline.or_else(|| rest.next().cloned())),
            _ if text.starts_with('-') => {}
            _ => operands.push(word.clone()),
        }
    }
    let is_bpf = fstype.as_deref() == Some("bpf");
    let span = words[0].whole().span.start..words.last()?.whole().span.end;
    let location = Location { source: words[0].whole().source, span };
    let target = operands.last().map(|target| target.as_str().to_owned()).unwrap_or_default();
    (prefix && is_bpf).then_some(Mount { target, options, location, is_shown: false })
}

/// Splits a word into an option and its argument.
fn split(word: &Text) -> (&str, Option<Text>) {
    let text = word.as_str();
    match text.find('=') {
        Some(equals) if text.starts_with("--") => (&text[..equals], Some(word.slice(equals + 1..text.len()))),
        _ if text.len() > 2 && (text.starts_with("-t") || text.starts_with("-o")) => {
            (&text[..2], Some(word.slice(2..text.len())))
        }
        _ => (text, None),
    }
}
