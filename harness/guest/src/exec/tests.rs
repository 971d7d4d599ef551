use std::os::fd::AsFd;

use harness_protocol::outcome::ExecEnd;

use super::*;

/// Runs a shell with this script, traced by a child of the test, which may have other threads.
fn ran(script: &str, change: impl FnOnce(&mut Exec)) -> Result<Answer, ExecError> {
    let mut exec = Exec {
        program: "/bin/sh".to_owned(),
        args: vec!["-c".to_owned(), script.to_owned()],
        limit_ms: 20_000,
        ..Exec::default()
    };
    change(&mut exec);
    let folder = std::fs::File::open("/").unwrap();
    let own = Mounted::received(folder.as_fd().try_clone_to_owned().unwrap(), folder.into());
    try_to(&exec, Loader::Container, &own)
}

fn answer(script: &str, change: impl FnOnce(&mut Exec)) -> ExecAnswer {
    match ran(script, change) {
        Ok(Answer::Exec(answer)) => *answer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_program_runs_with_its_children_and_ends_with_its_status() {
    let ended = answer("echo one; (echo two >&2); /bin/true & wait; exit 3", |_| ());
    assert_eq!((ended.end, ended.output.as_str()), (ExecEnd::Exited(3), "one\ntwo"));
    assert!(ended.calls.steps.is_empty());
    let killed = answer("kill -SEGV $$", |_| ());
    assert_eq!(killed.end, ExecEnd::Killed(libc::SIGSEGV));
}

#[test]
fn a_program_that_goes_on_is_ended_at_its_text_or_in_time() {
    let printed = answer("echo ready; sleep 60", |exec| exec.until = Some("ready".to_owned()));
    assert_eq!(printed.end, ExecEnd::Printed);
    let late = answer("echo no; sleep 60", |exec| {
        exec.until = Some("ready".to_owned());
        exec.limit_ms = 2000;
    });
    assert_eq!((late.end, late.output.as_str()), (ExecEnd::OutOfTime, "no"));
    let closed = answer("exec >&- 2>&-; sleep 0.1; exit 4", |_| ());
    assert_eq!(closed.end, ExecEnd::Exited(4));
    let much = answer(
        "i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done",
        |_| (),
    );
    assert_eq!((much.end, much.output.len() <= 4096), (ExecEnd::Exited(0), true));
}

#[test]
fn a_program_that_cannot_be_executed_is_no_answer() {
    let error = ran("", |exec| exec.program = "/no/such/program".to_owned()).unwrap_err().to_string();
    assert_eq!(error, "cannot run `/no/such/program`: execve /no/such/program: No such file or directory (os error 2)");
    let error = ran("", |exec| exec.folder = Some("/no/such/folder".to_owned())).unwrap_err().to_string();
    assert!(error.ends_with("No such file or directory (os error 2)"), "{error}");
}

#[test]
fn only_what_is_passed_on_purpose_is_open_in_a_program() {
    let open = answer("ls /proc/self/fd", |_| ());
    let fds: Vec<&str> = open.output.lines().collect();
    // Standard streams, and the folder that `ls` reads.
    assert_eq!(fds, ["0", "1", "2", "3"]);
}

#[test]
fn a_program_ends_with_the_process_that_traces_it() {
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    // The shell's parent is its tracer, and its child is traced as well.
    let script = format!("sleep 60 & echo $$ $! $PPID >{0}.part; mv {0}.part {0}; wait", ready.display());
    let killer = std::thread::spawn(move || {
        let started = std::time::Instant::now();
        let numbers = loop {
            match std::fs::read_to_string(&ready) {
                Ok(numbers) => break numbers,
                Err(_) if started.elapsed() < Duration::from_secs(15) => std::thread::sleep(Duration::from_millis(10)),
                Err(error) => panic!("{}: {error}", ready.display()),
            }
        };
        let pids = numbers.split_whitespace().map(|pid| rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap());
        let [shell, child, tracer] = pids.collect::<Vec<_>>().try_into().unwrap();
        rustix::process::kill_process(tracer, rustix::process::Signal::KILL).unwrap();
        [shell, child]
    });
    let error = ran(&script, |_| ()).unwrap_err().to_string();
    assert_eq!(error, "the process that traces `/bin/sh` was killed by signal 9");
    for pid in killer.join().unwrap() {
        let started = std::time::Instant::now();
        // Whoever becomes their parent may take a while to reap them.
        while rustix::process::test_kill_process(pid).is_ok() && !is_zombie(pid) {
            assert!(started.elapsed() < Duration::from_secs(15), "{pid:?} lives on");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn is_zombie(pid: rustix::process::Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
}
