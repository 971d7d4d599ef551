//! Abridges long lists.

use harness_snapshot::difference::groups::Member;

/// How much of a long list is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The first few entries, and how many more there are.
    Abridged,
    /// Everything.
    Whole,
}

/// How many names of a list are shown.
const NAMES: usize = 4;
/// How many of the arms or types that a list of names applies to are shown.
const CONTEXTS: usize = 3;
/// How many members of a group are shown.
const MEMBERS: usize = 4;
/// How many characters of a name are shown.
const WIDTH: usize = 90;

impl Extent {
    /// Returns the members of a group to show, and how many more there are.
    pub(super) fn members<'m, 'a>(self, members: &'m [Member<'a>]) -> (&'m [Member<'a>], usize) {
        match self {
            // A line that says "1 more" would be as long as that member.
            Self::Abridged if members.len() > MEMBERS + 1 => (&members[..MEMBERS], members.len() - MEMBERS),
            Self::Abridged | Self::Whole => (members, 0),
        }
    }

    /// Formats a list, separated by commas.
    pub(super) fn list(self, names: &[impl AsRef<str>]) -> String {
        self.cut(names, NAMES)
    }

    fn cut(self, names: &[impl AsRef<str>], most: usize) -> String {
        let shown = if self == Self::Abridged && names.len() > most + 1 { most } else { names.len() };
        let listed: Vec<String> = names[..shown].iter().map(|name| self.name(name.as_ref())).collect();
        match names.len() - shown {
            0 => listed.join(", "),
            more => format!("{} and {more} more", listed.join(", ")),
        }
    }

    fn name(self, name: &str) -> String {
        let name = name.replace(|c: char| c.is_control(), " ");
        match self {
            Self::Abridged if name.chars().count() > WIDTH => {
                // The subject of an attempt comes first, how it is made last.
                let chars: Vec<char> = name.chars().collect();
                let (first, last) = (&chars[..WIDTH * 2 / 3], &chars[chars.len() - WIDTH / 3..]);
                format!("{}…{}", first.iter().collect::<String>(), last.iter().collect::<String>())
            }
            _ => name,
        }
    }

    /// Formats a member without its scenario.
    pub(super) fn member(self, member: &Member<'_>) -> String {
        let case = if member.case.is_empty() { String::new() } else { format!("[{}] ", member.case) };
        let mut text = format!("{case}{}", self.list(&member.names));
        if !member.within.is_empty() {
            text.push_str(&format!("; in {}", self.cut(&member.within, CONTEXTS)));
        }
        if !member.arms.is_empty() {
            text.push_str(&format!("; arms {}", self.cut(&member.arms, CONTEXTS)));
        }
        text
    }
}
