//! Lists cut to what a reader takes in.

use harness_snapshot::difference::groups::Member;

/// How much of long lists is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The first few, and how many more there are.
    Abridged,
    /// Everything.
    Whole,
}

/// So many names of a list are shown.
const NAMES: usize = 4;
/// So many arms or types a list of names applies to are shown.
const PLACES: usize = 3;
/// So many members of a group are shown.
const MEMBERS: usize = 4;
/// So many characters of a name are shown.
const WIDTH: usize = 90;

impl Extent {
    /// As many members of a group as are shown, and how many more there are.
    pub(super) fn members<'m, 'a>(self, members: &'m [Member<'a>]) -> (&'m [Member<'a>], usize) {
        match self {
            // One line that says there is one more would be as long as that one.
            Self::Abridged if members.len() > MEMBERS + 1 => (&members[..MEMBERS], members.len() - MEMBERS),
            Self::Abridged | Self::Whole => (members, 0),
        }
    }

    /// A list in words.
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
                // What an attempt is about stands first, how it is made last.
                let chars: Vec<char> = name.chars().collect();
                let (first, last) = (&chars[..WIDTH * 2 / 3], &chars[chars.len() - WIDTH / 3..]);
                format!("{}…{}", first.iter().collect::<String>(), last.iter().collect::<String>())
            }
            _ => name,
        }
    }

    /// What a member is, without its scenario.
    pub(super) fn member(self, member: &Member<'_>) -> String {
        let case = if member.case.is_empty() { String::new() } else { format!("[{}] ", member.case) };
        let mut text = format!("{case}{}", self.list(&member.names));
        if !member.within.is_empty() {
            text.push_str(&format!("; in {}", self.cut(&member.within, PLACES)));
        }
        if !member.arms.is_empty() {
            text.push_str(&format!("; arms {}", self.cut(&member.arms, PLACES)));
        }
        text
    }
}
