//! The executor as the process of a systemd unit: executed, not forked, so it is sent its case.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    os::fd::{AsFd, FromRawFd, OwnedFd},
    process::ExitCode,
    rc::Rc,
};

use harness_protocol::plan::{Case, LARGEST_OBJECT};
use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    channel::{Channel, ChannelError},
    context::{CaseIndex, Script},
    error::{During, SysError},
    exit,
    kernel_types::{self, KernelTypesError},
    library,
};

/// The first descriptor that systemd passes to a service (`SD_LISTEN_FDS_START`, sd_listen_fds(3)): the socket that its
/// unit file opens.
const SOCKET: i32 = 3;

/// What such an executor needs, sent as a file because a case may be longer than a message. The object files follow it.
#[derive(Debug, Serialize, Deserialize)]
struct ExecutorInput {
    case_index: CaseIndex,
    case: Case,
    /// The names of the objects, in the order of their files.
    objects: Vec<String>,
}

/// Why an executor did not start.
#[derive(Debug, Error)]
enum ExecutorInputError {
    #[error(transparent)]
    Sys(#[from] SysError),
    #[error(transparent)]
    Channel(#[from] ChannelError),
    #[error(transparent)]
    Types(#[from] KernelTypesError),
    #[error("malformed plan: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("no plan was sent")]
    Nothing,
    #[error("cannot read an object: {0}")]
    Object(std::io::Error),
}

/// Serves the socket that systemd opened.
pub(crate) fn serve() -> ExitCode {
    #[allow(unsafe_code)]
    // SAFETY: systemd passes this descriptor to the process of its unit, and nothing else here uses it; if it is not
    // open, the first use fails.
    let mut channel = Channel::from(unsafe { OwnedFd::from_raw_fd(SOCKET) });
    match receive_input(&mut channel) {
        Ok(script) => super::serve(channel, &script),
        Err(error) => exit::fault(format!("cannot serve as a unit: {error}")),
    }
}

fn receive_input(channel: &mut Channel) -> Result<Script, ExecutorInputError> {
    let ((), fds) = channel.receive()?;
    let mut files = fds.into_iter().map(File::from);
    let file = files.next().ok_or(ExecutorInputError::Nothing)?;
    let ExecutorInput { case_index, case, objects } = serde_json::from_reader(std::io::BufReader::new(file))?;
    let objects = objects.into_iter().zip(files).map(|(name, file)| Ok((name, bytes_of(file)?)));
    library::hold(objects.collect::<Result<BTreeMap<_, _>, _>>().map_err(ExecutorInputError::Object)?);
    kernel_types::prepare_for(&case.attempts)?;
    Ok(Script::Case(case_index, Rc::new(case)))
}

fn bytes_of(file: File) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(LARGEST_OBJECT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Sends an executor its case and objects.
pub(crate) fn send_input(channel: &Channel, case_index: CaseIndex, case: &Case) -> Result<(), ChannelError> {
    let (objects, bytes): (Vec<String>, Vec<&[u8]>) = objects_of(case).into_iter().unzip();
    let text = serde_json::to_vec(&ExecutorInput { case_index, case: case.clone(), objects })
        .map_err(|error| ChannelError::Malformed(error.to_string()))?;
    let files = std::iter::once(text.as_slice()).chain(bytes).map(in_memory).collect::<Result<Vec<_>, _>>()?;
    channel.send(&(), &files.iter().map(AsFd::as_fd).collect::<Vec<_>>())
}

/// Returns the files that a case needs, each once. A missing one is reported when it is used.
fn objects_of(case: &Case) -> BTreeMap<String, &'static [u8]> {
    let files = case.attempts.iter().flat_map(|attempt| attempt.call.files());
    files.filter_map(|file| Some((file.to_owned(), library::get(file)?))).collect()
}

fn in_memory(bytes: &[u8]) -> Result<OwnedFd, SysError> {
    let file = memfd_create(c"executor-input", MemfdFlags::CLOEXEC).during(|| "memfd_create")?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest).during(|| "write to a memfd")?;
        rest = &rest[written..];
    }
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).during(|| "lseek in a memfd")?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use harness_protocol::plan::{Actor, Attempt, Call, ObjectLoad, Token};

    use super::*;

    #[test]
    fn an_executed_executor_gets_its_case_and_each_object_once() {
        library::hold(BTreeMap::from([("a".to_owned(), b"bytes".to_vec()), ("b".to_owned(), b"others".to_vec())]));
        let load = |file: &str| {
            let load = ObjectLoad { file: file.to_owned(), ..Default::default() };
            Attempt::new(Actor::Host, Token::None, Call::Object(load))
        };
        let attempts = vec![load("a"), load("a"), load("missing")];
        let case = Case { sysctls: Default::default(), containers: vec![], attempts };
        let (ours, theirs) = Channel::pair().unwrap();
        let case_index = CaseIndex { scenario: 1, case: 2 };
        send_input(&ours, case_index, &case).unwrap();
        let ((), fds) = theirs.receive().unwrap();
        let mut files = fds.into_iter().map(File::from);
        let input: ExecutorInput = serde_json::from_reader(files.next().unwrap()).unwrap();
        assert_eq!((input.case_index, input.case, input.objects), (case_index, case, vec!["a".to_owned()]));
        assert_eq!(bytes_of(files.next().unwrap()).unwrap(), b"bytes");
        assert!(files.next().is_none());
    }
}
