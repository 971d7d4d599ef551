//! The guest agent: answers the host's requests, one at a time, as long as the VM runs.

use std::{
    convert::Infallible,
    fs::File,
    io::{self, BufRead, BufReader, Write},
    path::Path,
    thread,
    time::Duration,
};

use crate::{
    exec::Programs,
    port::PortError,
    qemu_ga::{Reply, Request},
};

/// How long a status request waits for the end of its program. While a program runs, `vmtest` pauses 200 ms or more
/// between requests, and it gives up if a reply takes 5 s.
const PATIENCE: Duration = Duration::from_secs(4);

/// How long to pause while no host is connected: the port then reads as ended.
const PAUSE: Duration = Duration::from_millis(5);

/// Serves the host at the other end of `port`, forever.
pub(crate) fn serve(port: &Path) -> Result<Infallible, PortError> {
    let failed = |action| move |source| PortError::Io { action, path: port.to_owned(), source };
    let file = File::options().read(true).write(true).open(port).map_err(failed("open"))?;
    let mut programs = Programs::default();
    let mut requests = BufReader::new(&file);
    loop {
        let end = converse(&mut requests, &file, &mut programs);
        end.map_err(failed("talk to the host through"))?;
        thread::sleep(PAUSE);
    }
}

/// Answers requests until the port reads as ended.
fn converse(requests: &mut impl BufRead, mut replies: impl Write, programs: &mut Programs) -> io::Result<()> {
    let mut line = Vec::new();
    while requests.read_until(b'\n', &mut line)? > 0 {
        let reply = answer(&String::from_utf8_lossy(&line), programs);
        replies.write_all(reply.line().as_bytes())?;
        line.clear();
    }
    Ok(())
}

fn answer(line: &str, programs: &mut Programs) -> Reply {
    match Request::parse(line) {
        Ok(Request::Sync(id)) => Reply::Sync(id),
        Ok(Request::Info) => Reply::Info,
        Ok(Request::Exec(exec)) => match programs.start(&exec) {
            Ok(pid) => Reply::Started(pid),
            Err(error) => Reply::Error(format!("cannot start {}: {error}", exec.path)),
        },
        Ok(Request::ExecStatus(pid)) => match programs.status(pid, PATIENCE) {
            Ok(Some(status)) => Reply::Status(status),
            Ok(None) => Reply::Error(format!("no program with pid {pid} was started here")),
            Err(error) => Reply::Error(format!("cannot wait for process {pid}: {error}")),
        },
        Err(why) => Reply::Error(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replies(requests: &str) -> String {
        let mut written = Vec::new();
        converse(&mut requests.as_bytes(), &mut written, &mut Programs::default()).unwrap();
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn each_request_gets_one_reply_in_order() {
        let lines = "{\"execute\":\"guest-sync\",\"arguments\":{\"id\":41}}\nnonsense\n{\"execute\":\"guest-info\"}\n";
        insta::assert_snapshot!(replies(lines), @r#"
        {"return":41}
        {"error":{"class":"GenericError","desc":"malformed request: expected ident at line 1 column 2"}}
        {"return":{"supported_commands":[],"version":"8.2.0"}}
        "#);
    }

    #[test]
    fn a_short_program_has_ended_when_its_status_is_first_asked_for() {
        let mut programs = Programs::default();
        let start = "{\"execute\":\"guest-exec\",\"arguments\":{\"path\":\"false\"}}";
        let Reply::Started(pid) = answer(start, &mut programs) else { panic!("it was not started") };
        let status = format!("{{\"execute\":\"guest-exec-status\",\"arguments\":{{\"pid\":{pid}}}}}");
        assert_eq!(answer(&status, &mut programs).line(), "{\"return\":{\"exitcode\":1,\"exited\":true}}\n");
        let again = answer(&status, &mut programs).line().replace(&pid.to_string(), "[PID]");
        insta::assert_snapshot!(
            again,
            @r#"{"error":{"class":"GenericError","desc":"no program with pid [PID] was started here"}}"#
        );
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().display().to_string();
        let line = format!("{{\"execute\":\"guest-exec\",\"arguments\":{{\"path\":\"{folder}/missing\"}}}}\n");
        insta::assert_snapshot!(
            replies(&line).replace(&folder, "FOLDER"),
            @r#"{"error":{"class":"GenericError","desc":"cannot start FOLDER/missing: No such file or directory (os error 2)"}}"#
        );
    }
}
