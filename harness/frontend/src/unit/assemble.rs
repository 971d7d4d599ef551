//! The files that make up a unit, and their order (systemd.unit(5); `src/shared/dropin.c`).

use crate::source::Sources;

/// Types of units (`src/basic/unit-def.c`, `unit_type_table`).
const TYPES: [&str; 11] =
    ["service", "socket", "mount", "swap", "target", "device", "automount", "timer", "path", "slice", "scope"];

/// Folders of system units in order of precedence (`src/libsystemd/sd-path/path-lookup.c`).
pub const FOLDERS: [&str; 12] = [
    "etc/systemd/system.control/",
    "run/systemd/system.control/",
    "run/systemd/transient/",
    "run/systemd/generator.early/",
    "etc/systemd/system/",
    "etc/systemd/system.attached/",
    "run/systemd/system/",
    "run/systemd/system.attached/",
    "run/systemd/generator/",
    "usr/local/lib/systemd/system/",
    "usr/lib/systemd/system/",
    "run/systemd/generator.late/",
];

/// A unit: its files in the order of reading.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) name: String,
    /// The main file, if it was given, and the drop-ins.
    pub(super) files: Vec<usize>,
    /// Drop-ins that are overridden, each with the one of the same name that is read.
    pub(super) hidden: Vec<(usize, usize)>,
}

impl Unit {
    /// Whether it can be a unit of this type; without a known suffix it can be of any type.
    pub(super) fn may_be(&self, kind: &str) -> bool {
        self.kind().is_none_or(|own| own == kind)
    }

    /// Returns the section named after its type, if any.
    pub(super) fn own_section(&self) -> Option<String> {
        let kind = self.kind()?;
        let (first, rest) = kind.split_at(1);
        Some(format!("{}{rest}", first.to_ascii_uppercase()))
    }

    fn kind(&self) -> Option<&'static str> {
        kind_of(&self.name)
    }
}

fn kind_of(name: &str) -> Option<&'static str> {
    let suffix = name.rsplit_once('.').map_or(name, |(_, suffix)| suffix);
    TYPES.into_iter().find(|kind| *kind == suffix)
}

/// Returns the names of the folders whose drop-ins apply to a unit.
pub fn drop_in_folders(unit: &str) -> Vec<String> {
    let of_type = kind_of(unit).filter(|_| unit.contains('.')).map(str::to_owned);
    candidates(unit).into_iter().chain(of_type).map(|of| format!("{of}.d")).collect()
}

/// A file by its path.
struct File<'a> {
    source: usize,
    path: &'a str,
    name: &'a str,
    /// For a drop-in, the name of its folder without `.d`.
    of: Option<&'a str>,
}

impl<'a> File<'a> {
    fn of(source: usize, path: &'a str) -> Self {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = folder.rsplit('/').next().unwrap_or_default();
        let of = folder.strip_suffix(".d").filter(|of| !of.is_empty() && name.ends_with(".conf"));
        Self { source, path, name, of }
    }

    /// Whether it is in a folder of drop-ins without being one, such as an editor's backup.
    fn is_ignored(&self) -> bool {
        let folder = self.path.strip_suffix(self.name).and_then(|folder| folder.strip_suffix(".d/"));
        self.of.is_none() && folder.is_some_and(|folder| !folder.ends_with('/') && !folder.is_empty())
    }

    /// Returns the rank of a drop-in among those of its name; the lowest is read.
    fn rank(&self, unit: &str) -> (bool, usize, usize) {
        let of = self.of.unwrap_or_default();
        let folder = FOLDERS.iter().position(|folder| self.path.contains(folder)).unwrap_or(FOLDERS.len());
        let candidate = candidates(unit).iter().position(|candidate| candidate == of).unwrap_or(usize::MAX);
        (TYPES.contains(&of), folder, candidate)
    }
}

/// Returns the units among these files. A drop-in without its unit stands for the unit that its folder names.
pub(super) fn units(sources: &Sources) -> Vec<Unit> {
    let files: Vec<File<'_>> = sources.iter().enumerate().map(|(at, source)| File::of(at, source.label())).collect();
    let read = files.into_iter().filter(|file| !file.is_ignored());
    let (drop_ins, mains): (Vec<File<'_>>, Vec<File<'_>>) = read.partition(|file| file.of.is_some());
    let mut names: Vec<(&str, Option<usize>)> = mains.iter().map(|main| (main.name, Some(main.source))).collect();
    for of in drop_ins.iter().filter_map(|file| file.of) {
        if !names.iter().any(|(name, _)| applies(of, name)) {
            names.push((of, None));
        }
    }
    names.into_iter().map(|(name, main)| assembled(name, main, &drop_ins)).collect()
}

fn assembled(name: &str, main: Option<usize>, drop_ins: &[File<'_>]) -> Unit {
    let mut own: Vec<&File<'_>> = drop_ins.iter().filter(|file| file.of.is_some_and(|of| applies(of, name))).collect();
    own.sort_by_key(|file| (file.name, file.rank(name), file.source));
    let mut unit = Unit { name: name.to_owned(), files: main.into_iter().collect(), hidden: Vec::new() };
    let mut last: Option<&File<'_>> = None;
    for file in own {
        match last {
            Some(read) if read.name == file.name => unit.hidden.push((file.source, read.source)),
            _ => {
                unit.files.push(file.source);
                last = Some(file);
            }
        }
    }
    unit
}

fn applies(of: &str, unit: &str) -> bool {
    kind_of(unit).is_some_and(|kind| of == kind) || candidates(unit).iter().any(|candidate| candidate == of)
}

/// Returns the names whose drop-ins apply to a unit, the most specific first: itself, its template, and its prefix up to
/// each dash.
fn candidates(unit: &str) -> Vec<String> {
    let mut names = vec![unit.to_owned()];
    let Some((stem, kind)) = unit.rsplit_once('.') else { return names };
    let (prefix, instance) = stem.split_once('@').map_or((stem, None), |(prefix, instance)| (prefix, Some(instance)));
    if instance.is_some_and(|instance| !instance.is_empty()) {
        names.push(format!("{prefix}@.{kind}"));
    }
    let dashes = prefix.char_indices().rev().filter(|(at, c)| *c == '-' && *at + 1 < prefix.len());
    // systemd refuses names of more than 255 bytes, so no name has more dashes.
    names.extend(dashes.take(255).map(|(at, _)| format!("{}.{kind}", &prefix[..=at])));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assembled(paths: &[&str]) -> Vec<Unit> {
        let mut sources = Sources::default();
        paths.iter().for_each(|path| sources.add(path, b"").unwrap());
        units(&sources)
    }

    #[test]
    fn drop_ins_are_read_in_the_order_of_their_names() {
        let units = assembled(&[
            "/etc/systemd/system/a.service.d/20-z.conf",
            "/usr/lib/systemd/system/a.service.d/10-a.conf",
            "/usr/lib/systemd/system/a.service",
            "/usr/lib/systemd/system/b.service",
        ]);
        assert_eq!(units[0], Unit { name: "a.service".into(), files: vec![2, 1, 0], hidden: vec![] });
        assert_eq!(units[1].files, [3]);
    }

    #[test]
    fn of_drop_ins_with_the_same_name_one_is_read() {
        let units = assembled(&[
            "/usr/lib/systemd/system/a-b.service.d/x.conf",
            "/etc/systemd/system/service.d/x.conf",
            "/etc/systemd/system/a-.service.d/x.conf",
            "a-b.service",
        ]);
        assert_eq!(units, [Unit { name: "a-b.service".into(), files: vec![3, 2], hidden: vec![(0, 2), (1, 2)] }]);
    }

    #[test]
    fn a_drop_in_alone_stands_for_the_unit_that_its_folder_names() {
        let units = assembled(&["x/a@b.service.d/o.conf", "x/a@.service.d/p.conf"]);
        assert_eq!(units[0], Unit { name: "a@b.service".into(), files: vec![0, 1], hidden: vec![] });
        assert_eq!(assembled(&["override.conf"])[0].name, "override.conf");
    }

    #[test]
    fn names_have_types() {
        let unit = |name: &str| Unit { name: name.into(), files: vec![], hidden: vec![] };
        assert!(unit("a.service").may_be("service") && !unit("a.slice").may_be("service"));
        assert!(unit("override.conf").may_be("mount"));
        assert_eq!(unit("a.slice").own_section().as_deref(), Some("Slice"));
        assert_eq!(candidates("a-b-c@d.service"), ["a-b-c@d.service", "a-b-c@.service", "a-b-.service", "a-.service"]);
    }
}
