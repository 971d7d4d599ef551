//! Expands attempts that run a program.

use harness_diagnostics::node::KeyPath;
use harness_protocol::plan::{self, Call, ExecToken, PlacedContent, PlacedFile, TokenCommand};
use harness_scenario::attempt::Exec;

use crate::expand::{
    context::{AttemptContext, ExpandContext, ExpandedCall, made},
    label::AttemptLabel,
};

/// The longest text of an argument, a variable or a path, in bytes.
const LONGEST: usize = 4096;

/// The longest text that is waited for, in bytes: far less than what is kept of a program's output.
const LONGEST_TEXT: usize = 200;

impl ExpandContext<'_, '_> {
    /// Expands how a program is run.
    pub(super) fn exec(&mut self, op: &Exec, current: &AttemptContext) -> Option<ExpandedCall> {
        let key_path = &current.key_path;
        self.absolute(&op.program, &key_path.key("program"))?;
        let args = op.args.iter().enumerate().map(|(index, text)| (text, key_path.key("args").index(index)));
        let env = op.env.iter().flat_map(|(name, value)| {
            let at = key_path.key("env").key(name);
            [(name, at.clone()), (value, at)]
        });
        for (text, at) in args.chain(env) {
            self.passable(text, &at)?;
        }
        if op.until.as_ref().is_some_and(|text| text.is_empty() || text.len() > LONGEST_TEXT) {
            let message = format!("a text to wait for has 1 to {LONGEST_TEXT} bytes");
            self.problems.problem(&key_path.key("until"), message);
            return None;
        }
        let mut files = Vec::new();
        for (path, file) in &op.files {
            let at = key_path.key("files").key(path);
            self.absolute(path, &at)?;
            files.push(PlacedFile {
                path: path.clone(),
                content: PlacedContent::File { name: self.object_file(file, &at)?, executable: false },
            });
        }
        let takes = |command: &TokenCommand| self.resolver.lacks_attr(command.member()).is_none();
        let commands = TokenCommand::ALL.iter().copied().filter(takes).collect();
        let exec = plan::Exec {
            program: op.program.clone(),
            args: op.args.clone(),
            env: op.env.clone(),
            folder: None,
            files,
            token: op.token,
            commands,
            until: op.until.clone(),
            limit_ms: u64::from(op.limit) * 1000,
            sites: false,
            // Its denied calls are told, and a search would run it again and again.
            unexplained: true,
        };
        Some(made(label(&exec), Call::Exec(exec)))
    }

    fn absolute(&mut self, path: &str, at: &KeyPath) -> Option<()> {
        let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
        self.passable(path, at)?;
        if path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(plain)) {
            return Some(());
        }
        let message = format!("`{}` is not a plain absolute path", path.escape_debug());
        self.problems.advise(at, message, "write it as `/usr/sbin/bpftool`, without `.`, `..` or `//`");
        None
    }

    fn passable(&mut self, text: &str, at: &KeyPath) -> Option<()> {
        if text.len() <= LONGEST && !text.contains('\0') {
            return Some(());
        }
        self.problems
            .problem(at, format!("no program can be passed a zero byte, and here no more than {LONGEST} bytes"));
        None
    }
}

fn label(exec: &plan::Exec) -> AttemptLabel {
    let token = match exec.token {
        ExecToken::Inject => None,
        ExecToken::Own => Some("own"),
        ExecToken::None => Some("none"),
    };
    let env = exec.env.iter().fold(AttemptLabel::new("exec"), |label, (name, value)| label.given(name, Some(value)));
    let program = env.word(&exec.program);
    exec.args.iter().fold(program, |label, word| label.word(&quoted(word))).given("token", token)
}

/// Returns an argument as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@,+%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.escape_debug().to_string().replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        let words = ["prog", "/sys/fs/bpf/x", "", "a b", "it's", "a\nb"];
        assert_eq!(words.map(quoted), ["prog", "/sys/fs/bpf/x", "''", "'a b'", r"'it\'\''s'", r"'a\nb'"]);
    }
}
