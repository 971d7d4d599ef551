//! The part of the QEMU guest agent's protocol that `vmtest` uses
//! (<https://www.qemu.org/docs/master/interop/qemu-ga-ref.html>). A request is one line of JSON, and so is a reply.

use serde::Deserialize;
use serde_json::{Value, json};

/// The version reported to the client. From 8.1 on it requests merged output; nothing is captured here either way.
const VERSION: &str = "8.2.0";

/// A client's request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// `guest-sync`: return this number.
    Sync(i64),
    /// `guest-info`: return the version.
    Info,
    /// `guest-exec`: start a program.
    Exec(Exec),
    /// `guest-exec-status`: return whether the program with this pid has ended.
    ExecStatus(u32),
}

/// The program that `guest-exec` starts. Its output goes to the console and is not captured; `vmtest` sends the output
/// of its own command to a separate port.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Exec {
    /// The program, searched for in `PATH`.
    pub(crate) path: String,
    /// Its arguments.
    #[serde(default)]
    pub(crate) arg: Vec<String>,
    /// Its environment as `NAME=value`; `None` inherits ours.
    pub(crate) env: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Envelope {
    execute: String,
    #[serde(default)]
    arguments: Value,
}

#[derive(Deserialize)]
struct SyncArguments {
    id: i64,
}

#[derive(Deserialize)]
struct StatusArguments {
    pid: u32,
}

impl Request {
    /// Parses one line; the error is a text for [`Reply::Error`].
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let describe = |error: serde_json::Error| format!("malformed request: {error}");
        let Envelope { execute, arguments } = serde_json::from_str(line).map_err(describe)?;
        match execute.as_str() {
            "guest-sync" => serde_json::from_value(arguments).map(|SyncArguments { id }| Self::Sync(id)),
            "guest-info" => Ok(Self::Info),
            "guest-exec" => serde_json::from_value(arguments).map(Self::Exec),
            "guest-exec-status" => {
                serde_json::from_value(arguments).map(|StatusArguments { pid }| Self::ExecStatus(pid))
            }
            other => return Err(format!("unknown command {other}")),
        }
        .map_err(describe)
    }
}

/// The status of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExecStatus {
    /// It is running.
    Running,
    /// It exited with this code.
    Exited(i32),
    /// A signal with this number ended it.
    Signaled(i32),
}

/// A reply to the client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The number of `guest-sync`.
    Sync(i64),
    /// The version.
    Info,
    /// The pid of the started program.
    Started(u32),
    /// The status of a program.
    Status(ExecStatus),
    /// The request failed.
    Error(String),
}

impl Reply {
    /// Returns the reply as a line.
    pub(crate) fn line(&self) -> String {
        let value = match self {
            Self::Sync(id) => json!({ "return": id }),
            Self::Info => json!({ "return": { "version": VERSION, "supported_commands": [] } }),
            Self::Started(pid) => json!({ "return": { "pid": pid } }),
            Self::Status(ExecStatus::Running) => json!({ "return": { "exited": false } }),
            Self::Status(ExecStatus::Exited(code)) => json!({ "return": { "exited": true, "exitcode": code } }),
            // Without an exit code `vmtest` assumes success.
            Self::Status(ExecStatus::Signaled(signal)) => {
                json!({ "return": { "exited": true, "signal": signal, "exitcode": 128 + signal } })
            }
            Self::Error(why) => json!({ "error": { "class": "GenericError", "desc": why } }),
        };
        format!("{value}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_requests_of_vmtest_are_parsed() {
        let parse = |line| Request::parse(line).unwrap();
        assert_eq!(parse(r#"{"execute":"guest-sync","arguments":{"id":7}}"#), Request::Sync(7));
        assert_eq!(parse(r#"{"execute":"guest-info","arguments":{}}"#), Request::Info);
        assert_eq!(parse(r#"{"execute":"guest-info"}"#), Request::Info);
        assert_eq!(parse(r#"{"execute":"guest-exec-status","arguments":{"pid":3}}"#), Request::ExecStatus(3));
        let exec = r#"{"execute":"guest-exec","arguments":{"path":"mkdir","arg":["-p","/mnt"],"capture-output":true}}"#;
        let expected = Exec { path: "mkdir".into(), arg: vec!["-p".into(), "/mnt".into()], env: None };
        assert_eq!(parse(exec), Request::Exec(expected));
    }

    #[test]
    fn anything_else_is_an_error_that_says_what() {
        let error = |line| Request::parse(line).unwrap_err();
        insta::assert_snapshot!(error(r#"{"execute":"guest-shutdown"}"#), @"unknown command guest-shutdown");
        insta::assert_snapshot!(
            error(r#"{"execute":"guest-exec","arguments":{}}"#),
            @"malformed request: missing field `path`"
        );
        insta::assert_snapshot!(
            error(r#"{"execute":"guest-sync","arguments":{"id":"x"}}"#),
            @r#"malformed request: invalid type: string "x", expected i64"#
        );
        insta::assert_snapshot!(error("\u{ff}{}"), @"malformed request: expected value at line 1 column 1");
        insta::assert_snapshot!(error(""), @"malformed request: EOF while parsing a value at line 1 column 0");
    }

    #[test]
    fn replies_are_lines_of_json() {
        assert_eq!(Reply::Sync(7).line(), "{\"return\":7}\n");
        assert_eq!(Reply::Started(12).line(), "{\"return\":{\"pid\":12}}\n");
        assert_eq!(Reply::Status(ExecStatus::Exited(3)).line(), "{\"return\":{\"exitcode\":3,\"exited\":true}}\n");
        assert_eq!(Reply::Status(ExecStatus::Running).line(), "{\"return\":{\"exited\":false}}\n");
        assert!(Reply::Error("two\nlines".into()).line().trim_end().lines().count() == 1);
    }

    #[test]
    fn a_killed_program_is_not_a_success() {
        let line = Reply::Status(ExecStatus::Signaled(9)).line();
        assert_eq!(line, "{\"return\":{\"exitcode\":137,\"exited\":true,\"signal\":9}}\n");
    }
}
