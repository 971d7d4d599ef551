//! Several calls that are one attempt.

use harness_protocol::{outcome::Answer, plan::Call};

use super::result::{AttemptResult, Handles, OperationError};
use crate::{
    bpffs::Mounted,
    message::{Extent, FdRole, Handle},
};

/// Makes calls, one after the other, and closes what they make. A control makes only the first.
pub(super) fn make(
    calls: &[Call],
    handles: Handles<'_>,
    own: &Mounted,
    extent: Extent,
) -> Result<AttemptResult, OperationError> {
    let (objects, others): (Vec<Handle>, Vec<Handle>) =
        handles.handles.iter().copied().partition(|Handle(role, _)| *role == FdRole::Object);
    let mut objects = objects.into_iter();
    let mut errnos = Vec::new();
    for call in calls.iter().take(if extent == Extent::Whole { calls.len() } else { 1 }) {
        let mut of_call = others.clone();
        of_call.extend(objects.by_ref().take(call.objects().len()));
        let made = super::attempt(call, Handles { handles: &of_call, fds: handles.fds }, own, extent)?;
        errnos.push(match made.answer {
            Answer::Err { errno, .. } => errno.raw().to_string(),
            _ => "0".to_owned(),
        });
    }
    Ok(AttemptResult { answer: Answer::Ok { detail: Some(errnos.join(" ")) }, fd: None })
}
