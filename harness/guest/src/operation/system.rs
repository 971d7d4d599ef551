//! What is no command of `bpf(2)`.

use super::result::{AttemptResult, OperationError, stepped};
use crate::{pseudofile, sysctl};

/// `write(2)` of a kernel setting: another value, or the one it has.
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
        // `osrelease` is for reading, for root too.
        let refused = write("kernel.osrelease", None).unwrap().answer;
        assert!(matches!(refused, Answer::Err { step: Some(step), .. } if step.contains("osrelease")));
        let error = write("../etc", None).unwrap_err().to_string();
        assert!(error.contains("`../etc` cannot name a sysctl"), "{error}");
    }
}
