//! The agent as the process of a unit of systemd: executed, not forked, so it is sent what it follows.

use std::{
    fs::File,
    os::fd::{AsFd, FromRawFd, OwnedFd},
    process::ExitCode,
    rc::Rc,
};

use harness_model::plan::Case;
use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    channel::{Channel, ChannelError},
    error::{During, SysError},
    ground::{CasePlace, Script},
    kernel_types::{self, KernelTypesError},
};

/// The first descriptor that systemd passes to a service (`SD_LISTEN_FDS_START`, sd_listen_fds(3)): the socket that its
/// unit file opens.
const SOCKET: i32 = 3;

/// What an agent follows, sent as a file: a case may be longer than a message.
#[derive(Debug, Serialize, Deserialize)]
struct Briefing {
    place: CasePlace,
    case: Case,
}

/// Why an agent did not begin.
#[derive(Debug, Error)]
enum BriefingError {
    #[error(transparent)]
    Sys(#[from] SysError),
    #[error(transparent)]
    Channel(#[from] ChannelError),
    #[error(transparent)]
    Types(#[from] KernelTypesError),
    #[error("what it is to follow makes no sense: {0}")]
    Nonsense(#[from] serde_json::Error),
    #[error("it was sent nothing to follow")]
    Nothing,
}

/// Serves the socket that systemd opened.
pub(crate) fn serve() -> ExitCode {
    #[allow(unsafe_code)]
    // SAFETY: systemd passes this descriptor to the process its unit starts, and nothing else here uses it; if it is not
    // open, its first use says so.
    let mut channel = Channel::from(unsafe { OwnedFd::from_raw_fd(SOCKET) });
    match briefed(&mut channel) {
        Ok(script) => super::serve(channel, &script),
        Err(error) => {
            eprintln!("bpf-token-guest: cannot serve as a unit: {error}");
            ExitCode::from(crate::FAULT)
        }
    }
}

fn briefed(channel: &mut Channel) -> Result<Script, BriefingError> {
    let ((), fds) = channel.receive()?;
    let file = File::from(fds.into_iter().next().ok_or(BriefingError::Nothing)?);
    let Briefing { place, case } = serde_json::from_reader(std::io::BufReader::new(file))?;
    kernel_types::prepare_for(&case.attempts)?;
    Ok(Script::Case(place, Rc::new(case)))
}

/// Sends an agent what it follows.
pub(crate) fn brief(channel: &Channel, place: CasePlace, case: &Case) -> Result<(), ChannelError> {
    let file = memfd_create(c"case", MemfdFlags::CLOEXEC).during(|| "memfd_create")?;
    let text = serde_json::to_vec(&Briefing { place, case: case.clone() })
        .map_err(|error| ChannelError::Nonsense(error.to_string()))?;
    let mut rest = text.as_slice();
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest).during(|| "write to a memfd")?;
        rest = &rest[written..];
    }
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).during(|| "lseek in a memfd")?;
    channel.send(&(), &[file.as_fd()])
}
