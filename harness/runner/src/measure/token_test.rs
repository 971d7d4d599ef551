//! The kernel's own test of tokens, `test_progs -t token` of its `tools/testing/selftests/bpf`, in plain `vmtest`.

use std::{fs, path::Path, time::Duration};

use super::error::MeasureError;

/// Its program, in the shared folder.
pub(super) const PROGRAM: &str = "test_progs";
const BEGIN: &str = "token-test.begin";
const END: &str = "token-test.end";
const OUTPUT: &str = "token-test.txt";

/// What a run of it took, and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenTest {
    /// The whole VM, from its start to its end.
    pub took: Duration,
    /// The program alone, by the guest's clock, which counts hundredths of a second.
    pub inside: Duration,
    /// Each subtest in their order, and whether it passed.
    pub subtests: Vec<(String, bool)>,
}

/// Whether the guest lets everybody load socket filters and make some maps, as `kernel.unprivileged_bpf_disabled=0` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnprivilegedBpf {
    /// It does, as in the kernel's own CI.
    On,
    /// It does not: the default of `CONFIG_BPF_UNPRIV_DEFAULT_OFF`, and of distributions.
    Off,
}

/// Returns the shell command for the guest. A subtest that fails is not a failure of the command.
pub(super) fn command(share: &str, unprivileged: UnprivilegedBpf) -> String {
    let allow = match unprivileged {
        UnprivilegedBpf::On => "echo 0 >/proc/sys/kernel/unprivileged_bpf_disabled || exit 1; ",
        UnprivilegedBpf::Off => "",
    };
    format!(
        "{allow}cd {share} && chmod 755 {PROGRAM} && cat /proc/uptime >{BEGIN} || exit 1; ./{PROGRAM} -t token >{OUTPUT} 2>&1; \
         cat /proc/uptime >{END} && sync"
    )
}

/// Reads the result from the shared folder.
pub(super) fn read(share: &Path, took: Duration) -> Result<TokenTest, MeasureError> {
    let text = |name| fs::read_to_string(share.join(name)).unwrap_or_default();
    let output = text(OUTPUT);
    let subtests = subtests(&output);
    match (uptime(&text(BEGIN)), uptime(&text(END))) {
        (Some(begin), Some(end)) if !subtests.is_empty() => {
            Ok(TokenTest { took, inside: end.saturating_sub(begin), subtests })
        }
        _ => Err(MeasureError::NoSubtests { output: output.trim().chars().take(2000).collect() }),
    }
}

/// Reads `/proc/uptime`: seconds since the boot, then those that processors were idle (proc_uptime(5)).
fn uptime(text: &str) -> Option<Duration> {
    text.split_whitespace().next()?.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

/// Reads lines such as `#1/4     token/obj_priv_map:FAIL`. One that failed is told again at the end.
fn subtests(output: &str) -> Vec<(String, bool)> {
    let mut found: Vec<(String, bool)> = Vec::new();
    for line in output.lines().filter(|line| line.starts_with('#')) {
        let subtest = line.split_whitespace().nth(1).and_then(|word| word.strip_prefix("token/"));
        let Some((name, verdict)) = subtest.and_then(|subtest| subtest.split_once(':')) else { continue };
        if found.iter().all(|(known, _)| known != name) {
            found.push((name.to_owned(), verdict == "OK"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subtests_and_their_time_are_read() {
        let share = tempfile::tempdir().unwrap();
        let write = |name, text| fs::write(share.path().join(name), text).unwrap();
        write(
            OUTPUT,
            "#1/1     token/map_token:OK\n#1/2     token/obj:FAIL\n#1       token:FAIL\n\nAll error logs:\n\
             #1/2     token/obj:FAIL\nSummary: 0/1 PASSED, 0 SKIPPED, 1 FAILED\n",
        );
        write(BEGIN, "1.50 0.20\n");
        write(END, "3.75 0.30\n");
        let test = read(share.path(), Duration::from_secs(9)).unwrap();
        assert_eq!((test.took, test.inside), (Duration::from_secs(9), Duration::from_millis(2250)));
        assert_eq!(test.subtests, [("map_token".to_owned(), true), ("obj".to_owned(), false)]);
    }

    #[test]
    fn a_program_that_does_not_start_is_an_error_with_its_output() {
        let share = tempfile::tempdir().unwrap();
        fs::write(share.path().join(OUTPUT), "./test_progs: not found\n").unwrap();
        let message = read(share.path(), Duration::ZERO).unwrap_err().to_string();
        assert!(message.ends_with("./test_progs: not found"), "{message}");
    }

    #[test]
    fn only_who_asks_for_it_gets_unprivileged_bpf() {
        assert!(command("/share", UnprivilegedBpf::On).contains("unprivileged_bpf_disabled"));
        assert!(!command("/share", UnprivilegedBpf::Off).contains("unprivileged"));
    }
}
