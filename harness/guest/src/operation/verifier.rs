//! What the verifier is asked.

use harness_model::plan::{HelperIds, HelperSurvey, ProgTarget, Verify};

use super::{Handles, OperationError, Outcome, told};
use crate::{
    kernel_types, program,
    protocol::{Extent, Role},
    survey::{self, Kind},
};

/// Which helpers it grants.
pub(super) fn helper_survey(
    survey: &HelperSurvey,
    handles: Handles<'_>,
    extent: Extent,
) -> Result<Outcome, OperationError> {
    let ids = match extent {
        Extent::Whole => {
            let mut earlier = handles.all(Role::Object);
            let within = survey.within.as_ref().and_then(|_| earlier.next());
            let beyond = survey.beyond.as_ref().and_then(|_| earlier.next());
            survey::ids(&survey.ids, within, beyond)?
        }
        Extent::Brief => HelperIds::default(),
    };
    let granted = survey::helpers(kind(survey)?, &ids, handles.get(Role::Token))?;
    let fd = granted.as_ref().ok().map(survey::kept).transpose()?;
    let outcome = told(granted.map(|ids| ids.to_string()));
    Ok(Outcome { fd, ..outcome })
}

fn kind(survey: &HelperSurvey) -> Result<Kind, OperationError> {
    let types = kernel_types::known;
    let (attach_btf_id, expected_attach_type) = match &survey.target {
        ProgTarget::None => (0, survey.expected_attach_type),
        ProgTarget::Kernel(wanted) => (types().id(wanted)?, survey.expected_attach_type),
        ProgTarget::Member(wanted) => {
            let (structure, index, _) = types().member(wanted)?;
            (structure, index)
        }
        ProgTarget::Program { .. } => return Err(OperationError::NotOurs),
    };
    let HelperSurvey { prog_type, prog_flags: flags, returns, .. } = *survey;
    Ok(Kind { prog_type, expected_attach_type, flags, attach_btf_id, returns })
}

/// Whether it lets a program pass.
pub(super) fn verify(verify: &Verify, handles: Handles<'_>) -> Outcome {
    let answer = program::load(verify, handles.get(Role::Object), handles.get(Role::Token));
    Outcome { answer, fd: None }
}
