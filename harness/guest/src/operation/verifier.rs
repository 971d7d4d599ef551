//! Questions to the verifier.

use harness_protocol::{
    outcome::Answer,
    plan::{HelperSurvey, Verify},
};

use super::{
    load,
    result::{AttemptResult, Handles, OperationError},
};
use crate::{
    bpf::ProgSpec,
    message::{Extent, FdRole},
    program,
    survey::{self, Kind, Questions},
};

/// Asks which helpers it grants.
pub(super) fn helper_survey(
    survey: &HelperSurvey,
    handles: Handles<'_>,
    extent: Extent,
) -> Result<AttemptResult, OperationError> {
    let Questions { ask, known } = match extent {
        Extent::Whole => {
            let mut earlier = handles.all(FdRole::Object);
            let within = survey.within.as_ref().and_then(|_| earlier.next());
            Questions::of(&survey.ids, within, earlier)?
        }
        Extent::Brief | Extent::Token => Questions::default(),
    };
    let granted = survey::helpers(kind(survey)?, &ask, handles.get(FdRole::Token))?.map(|ids| ids.with(&known));
    let fd = granted.as_ref().ok().map(survey::to_file).transpose()?;
    let answer = match granted {
        Ok(ids) => Answer::Helpers(ids),
        Err(errno) => Answer::Err { errno, step: None },
    };
    Ok(AttemptResult { answer, fd })
}

fn kind(survey: &HelperSurvey) -> Result<Kind, OperationError> {
    let (target, member) = load::kernel_target(&survey.target)?;
    let spec = ProgSpec {
        prog_type: survey.prog_type,
        expected_attach_type: member.unwrap_or(survey.expected_attach_type),
        flags: survey.prog_flags,
        target,
        ..ProgSpec::PLAIN
    };
    Ok(Kind { spec, returns: survey.returns })
}

/// Asks whether it accepts a program.
pub(super) fn verify(verify: &Verify, handles: Handles<'_>) -> Result<AttemptResult, OperationError> {
    let (answer, fd) = program::load(verify, handles.get(FdRole::Object), handles.get(FdRole::Token))?;
    Ok(AttemptResult { answer, fd })
}
