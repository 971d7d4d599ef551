//! The label of an attempt in tables and snapshots.

use harness_protocol::{
    mount_option::MountOption,
    plan::{Actor, Step, Token},
};
use harness_uapi::capability;

use crate::expand::containers::DEFAULT;

/// Returns the name of an actor.
pub(crate) fn actor(actor: &Actor) -> &str {
    match actor {
        Actor::Host => super::containers::HOST,
        Actor::Container(name) => name.as_str(),
    }
}

/// The label of an attempt, such as `by intruder: prog_load xdp attach=xdp, token t`.
#[derive(Clone, Debug, Default)]
pub(crate) struct AttemptLabel {
    op: &'static str,
    rest: String,
}

impl AttemptLabel {
    pub(crate) fn new(op: &'static str) -> Self {
        Self { op, rest: String::new() }
    }

    /// Adds a word.
    pub(crate) fn word(mut self, word: &str) -> Self {
        self.rest.push(' ');
        self.rest.push_str(word);
        self
    }

    /// Adds `key=value` if the scenario sets the key.
    pub(crate) fn given(self, key: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.word(&format!("{key}={}", value.to_string())),
            None => self,
        }
    }

    /// Adds the capabilities in effect, if the scenario lists them.
    pub(crate) fn in_effect(self, caps: Option<&[u32]>) -> Self {
        let name = |number: &u32| capability::NAMES.get(*number as usize).copied().unwrap_or("unknown");
        match caps {
            None => self,
            Some([]) => self.word("with no capability"),
            Some(caps) => self.word(&format!("with {}", caps.iter().map(name).collect::<Vec<_>>().join("+"))),
        }
    }

    /// Adds the steps of the actor's process, if there are any.
    pub(crate) fn after(self, steps: &[Step]) -> Self {
        match steps {
            [] => self,
            steps => self.word(&format!("exec={}", steps.iter().map(Step::name).collect::<Vec<_>>().join(","))),
        }
    }

    /// Returns the whole label. It names the token only if that is not the default.
    pub(crate) fn finish(&self, by: &Actor, token: &Token, delegates: bool, takes_token: bool) -> String {
        let by = if actor(by) == DEFAULT { String::new() } else { format!("by {}: ", actor(by)) };
        let token = match token {
            Token::None if takes_token && delegates => ", no token".to_owned(),
            Token::Saved(name) => format!(", token {name}"),
            Token::Of(options) => format!(", token of {}", options_shown(options)),
            Token::None | Token::Own => String::new(),
        };
        format!("{by}{}{}{token}", self.op, printable(&self.rest))
    }
}

fn options_shown(options: &[MountOption]) -> String {
    let shown: Vec<String> = options.iter().map(|option| format!("{}={}", option.key, option.value)).collect();
    shown.join(" ")
}

/// Escapes control characters and shortens the text to 200 characters.
fn printable(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => escaped.extend(c.escape_default()),
            false => escaped.push(c),
        }
    }
    match escaped.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &escaped[..end]),
        None => escaped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_token_is_not_named() {
        let words =
            AttemptLabel::new("prog_load").word("xdp").given("attach", Some("xdp")).given("flags", None::<&str>);
        let own = Actor::Container(DEFAULT.parse().unwrap());
        let other = Actor::Container("intruder".parse().unwrap());
        assert_eq!(words.finish(&own, &Token::Own, true, true), "prog_load xdp attach=xdp");
        assert_eq!(words.finish(&own, &Token::None, true, true), "prog_load xdp attach=xdp, no token");
        assert_eq!(words.finish(&own, &Token::None, false, true), "prog_load xdp attach=xdp");
        let bare = words.clone().in_effect(Some(&[])).in_effect(Some(&[12, 39]));
        assert_eq!(
            bare.finish(&own, &Token::Own, true, true),
            "prog_load xdp attach=xdp with no capability with net_admin+bpf"
        );
        let sent = words.finish(&other, &Token::Saved("t".into()), false, true);
        assert_eq!(sent, "by intruder: prog_load xdp attach=xdp, token t");
    }

    #[test]
    fn a_long_value_with_line_ends_becomes_one_short_line() {
        let text = AttemptLabel::new("mount_delegate").word(&"x\n".repeat(300)).finish(
            &Actor::Host,
            &Token::None,
            false,
            false,
        );
        assert!(text.starts_with("by host: mount_delegate x\\nx") && text.ends_with('…') && !text.contains('\n'));
    }
}
