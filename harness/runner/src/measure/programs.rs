//! Programs that load BPF, plainly and with their calls recorded, in turns in one VM.

use std::{fmt::Write as _, fs, io, path::Path, time::Duration};

use harness_protocol::{
    outcome::{Answer, Event, ExecAnswer, RECORD_FILE, Record},
    plan::{Actor, Attempt, Call, Case, Exec, ExecToken, ExpectedKernel, FORMAT, PLAN_FILE, Plan, Scenario, Token},
};

use super::error::MeasureError;

/// A program that is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeasuredProgram {
    /// What the shell does before, which is not measured.
    pub before: String,
    /// The command, run in the shared folder. There is an interface `dummy0`, and a bpffs at `/sys/fs/bpf`.
    pub command: String,
}

/// What a program took from its start to its end, by the guest's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramTimes {
    /// Left alone.
    pub plain: Vec<Duration>,
    /// With its calls recorded.
    pub recorded: Vec<Duration>,
    /// How many calls were recorded each time.
    pub calls: Vec<u32>,
}

/// How long a program may take when it is recorded, in milliseconds.
const LIMIT_MS: u64 = 120_000;

const SHELL: &str = "/usr/bin/bash";
const ERRORS: &str = "programs.errors";

/// Writes the plan and a script for each program into the shared folder.
pub(super) fn prepare(programs: &[MeasuredProgram], share: &Path, in_guest: &str) -> io::Result<()> {
    for (number, program) in programs.iter().enumerate() {
        fs::write(share.join(script(number)), text_of(program, in_guest))?;
    }
    fs::write(share.join(PLAN_FILE), serde_json::to_vec(&plan(programs.len(), in_guest)).map_err(io::Error::other)?)
}

fn script(number: usize) -> String {
    format!("program.{number}.sh")
}

/// The shell's own clock, and its line at the end, are outside of what is measured.
fn text_of(MeasuredProgram { before, command }: &MeasuredProgram, in_guest: &str) -> String {
    format!(
        "cd {in_guest}\n{before}\nbegin=$EPOCHREALTIME\n{{ {command}\n}} >/dev/null 2>&1\nstatus=$?\nend=$EPOCHREALTIME\n\
         echo \"$begin $end $status\"\n"
    )
}

/// The programs are left to themselves, as root. What the first attempt runs is the control of all others, which are made only once.
fn plan(programs: usize, in_guest: &str) -> Plan {
    let exec = |program: &str, args| Exec {
        program: program.to_owned(),
        args,
        token: ExecToken::Own,
        limit_ms: LIMIT_MS,
        unexplained: true,
        ..Exec::default()
    };
    let attempt = |exec| Attempt::new(Actor::Host, Token::None, Call::Exec(exec));
    let first = attempt(exec(SHELL, vec!["-c".to_owned(), "true".to_owned()]));
    let recorded = (0..programs).map(|number| Attempt {
        controls_of: Some(0),
        ..attempt(exec(SHELL, vec![format!("{in_guest}/{}", script(number))]))
    });
    let attempts = std::iter::once(first).chain(recorded).collect();
    let case = Case { sysctls: Default::default(), containers: Vec::new(), attempts };
    let name = "bench/programs".parse().expect("letters make a name");
    let scenarios = vec![Scenario::new(name, LIMIT_MS * programs as u64, vec![case])];
    Plan { format: FORMAT, kernel: ExpectedKernel::default(), marks_console: false, guard: None, scenarios }
}

/// Returns the shell command for the guest: in each round every program runs plainly, as the guest program runs it otherwise, and
/// then each is recorded. The first round does not count.
pub(super) fn command(guest: &str, programs: usize, rounds: u32, in_guest: &str) -> String {
    let mut plainly = String::new();
    for number in 0..programs {
        let script = script(number);
        let _ = write!(
            plainly,
            "unshare -m -n {SHELL} -c 'ip link set lo up; ip link add dummy0 type dummy; ip link set dummy0 up; \
             mount -t bpf bpffs /sys/fs/bpf; exec {SHELL} {in_guest}/{script}' >{number}.$round 2>>{ERRORS}; "
        );
    }
    format!(
        "cd {in_guest}; for round in $(seq 0 {rounds}); do {plainly} mkdir run.$round; cp {PLAN_FILE} run.$round; \
         {guest} {in_guest}/run.$round >>{ERRORS} 2>&1; done; sync"
    )
}

/// Reads the result from the shared folder; `how` says how the VM ended.
pub(super) fn read(
    share: &Path,
    programs: &[MeasuredProgram],
    rounds: u32,
    how: &str,
) -> Result<Vec<ProgramTimes>, MeasureError> {
    let text = |name: &str| fs::read_to_string(share.join(name)).unwrap_or_default();
    let mut all = vec![ProgramTimes::default(); programs.len()];
    for round in 1..=rounds {
        let record = text(&format!("run.{round}/{RECORD_FILE}"));
        let answers = answers(&record);
        for (number, (times, program)) in all.iter_mut().zip(programs).enumerate() {
            let missing = |output: &str| MeasureError::NoTime {
                program: program.command.clone(),
                how: how.to_owned(),
                output: format!("{output}\n{}", text(ERRORS)).trim().chars().take(2000).collect(),
            };
            let plain = text(&format!("{number}.{round}"));
            times.plain.push(took(&plain).ok_or_else(|| missing(&plain))?);
            let answer = answers.get(number + 1).ok_or_else(|| missing(&record))?;
            times.recorded.push(took(&answer.output).ok_or_else(|| missing(&answer.output))?);
            times.calls.push(answer.calls.steps.iter().map(|step| step.times).sum::<u32>() + answer.calls.omitted);
        }
    }
    Ok(all)
}

/// Returns the answers to all attempts of a record.
fn answers(record: &str) -> Vec<ExecAnswer> {
    let events = record.lines().filter_map(|line| serde_json::from_str::<Record>(line).ok());
    let answer = |record: Record| match record.event {
        Event::Attempt { answer: Answer::Exec(answer), .. } => Some(answer),
        _ => None,
    };
    events.filter_map(answer).map(|answer| ExecAnswer::clone(&answer)).collect()
}

/// Reads `BEGIN END STATUS`, in seconds with six places; nothing if the program failed.
fn took(line: &str) -> Option<Duration> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [begin, end, "0"] = words[..] else { return None };
    let micros = |text: &str| text.replace('.', "").parse::<u64>().ok();
    Some(Duration::from_micros(micros(end)?.checked_sub(micros(begin)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_that_of_a_program_that_succeeded() {
        assert_eq!(took("1796016561.900000 1796016562.100001 0\n"), Some(Duration::from_micros(200_001)));
        for wrong in ["1.000000 2.000000 1", "", "1.000000 2.000000", "2.000000 1.000000 0", "x 1.000000 0"] {
            assert_eq!(took(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_program_without_a_time_is_named_with_what_was_printed() {
        let share = tempfile::tempdir().unwrap();
        let programs = [MeasuredProgram { before: String::new(), command: "bpftool".to_owned() }];
        prepare(&programs, share.path(), "/mnt").unwrap();
        fs::write(share.path().join("0.1"), "1.000000 1.000500 127\n").unwrap();
        fs::write(share.path().join(ERRORS), "bpftool: not found\n").unwrap();
        let message = read(share.path(), &programs, 1, "the VM ended").unwrap_err().to_string();
        assert!(
            message.contains("`bpftool`") && message.contains(" 127") && message.ends_with("not found"),
            "{message}"
        );
    }

    #[test]
    fn each_program_is_made_once_in_a_plan() {
        let plan = plan(2, "/mnt");
        let attempts = &plan.scenarios[0].cases[0].attempts;
        assert_eq!(attempts.iter().map(|attempt| attempt.controls_of).collect::<Vec<_>>(), [None, Some(0), Some(0)]);
    }
}
