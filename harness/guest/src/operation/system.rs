//! Attempts that are not `bpf(2)` commands.

use super::result::{AttemptResult, OperationError, stepped};
use crate::{pseudofile, sysctl};

/// `write(2)` of a kernel setting: another value, or the current one.
pub(super) fn write(name: &str, value: Option<&str>) -> Result<AttemptResult, OperationError> {
    let path = sysctl::path_of(name)?;
    let own;
    let value = match value {
        Some(value) => value,
        None => {
            own = pseudofile::read(&path)?;
            own.trim_end()
        }
    };
    Ok(stepped(pseudofile::write(&path, value)))
}

#[cfg(test)]
mod tests {
    use harness_protocol::outcome::Answer;

    use super::*;

    #[test]
    fn a_refused_write_is_an_answer_and_a_bad_name_is_an_error() {
        // `osrelease` is read-only, also for root.
        let refused = write("kernel.osrelease", None).unwrap().answer;
        let Answer::Err { step: Some(step), .. } = refused else { panic!("{refused:?}") };
        insta::assert_snapshot!(step, @"open /proc/sys/kernel/osrelease");
        insta::assert_snapshot!(
            write("../etc", None).unwrap_err(),
            @"`../etc` cannot name a sysctl: write it with dots, such as `kernel.unprivileged_bpf_disabled`"
        );
    }
}
