//! The agent: answers the host's requests, one at a time, as long as the VM runs.

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

/// How long a question for the status of a program waits for its end. Where no answer comes `vmtest` waits 200 ms and
/// longer before it asks again, and it gives up when an answer takes 5 s.
const PATIENCE: Duration = Duration::from_secs(4);

/// A port reads as ended while no host is connected to it.
const PAUSE: Duration = Duration::from_millis(5);

/// Serves the host at the other end of `port`, for ever.
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

/// Answers requests until there are no more for now.
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
            Ok(None) => Reply::Error(format!("no program with the process id {pid} was started here")),
            Err(error) => Reply::Error(format!("cannot wait for process {pid}: {error}")),
        },
        Err(why) => Reply::Error(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replies(requests: &str) -> Vec<String> {
        let mut written = Vec::new();
        converse(&mut requests.as_bytes(), &mut written, &mut Programs::default()).unwrap();
        String::from_utf8(written).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn each_request_gets_one_reply_in_order() {
        let lines = "{\"execute\":\"guest-sync\",\"arguments\":{\"id\":41}}\nnonsense\n{\"execute\":\"guest-info\"}\n";
        let replies = replies(lines);
        assert_eq!(replies.len(), 3);
        assert_eq!(replies[0], "{\"return\":41}");
        assert!(replies[1].contains("GenericError"), "{replies:?}");
        assert!(replies[2].contains("version"), "{replies:?}");
    }

    #[test]
    fn a_short_program_has_ended_when_its_status_is_first_asked_for() {
        let mut programs = Programs::default();
        let start = "{\"execute\":\"guest-exec\",\"arguments\":{\"path\":\"false\"}}";
        let Reply::Started(pid) = answer(start, &mut programs) else { panic!("it was not started") };
        let status = format!("{{\"execute\":\"guest-exec-status\",\"arguments\":{{\"pid\":{pid}}}}}");
        assert_eq!(answer(&status, &mut programs).line(), "{\"return\":{\"exitcode\":1,\"exited\":true}}\n");
        assert!(answer(&status, &mut programs).line().contains("no program with the process id"));
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let lines = "{\"execute\":\"guest-exec\",\"arguments\":{\"path\":\"/nonexistent\"}}\n";
        assert!(replies(lines)[0].contains("cannot start /nonexistent"));
    }
}
