//! The socket between the guest and an executor: whole messages, with file descriptors.

use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, sendmsg, socketpair, sockopt,
};
use rustix::process::Pid;
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

use crate::error::{During, SysError};

/// The longest message in bytes: below the 212,992 bytes that a Unix socket queues by default
/// (`net.core.wmem_default`), so that no message can block forever.
pub(crate) const LONGEST_MESSAGE: usize = 160 * 1024;

/// The most file descriptors that one message carries; the kernel allows 253 (`SCM_MAX_FD` in `include/net/scm.h`).
pub(crate) const MOST_FDS: usize = 200;

/// Why a message could not be sent or received.
#[derive(Debug, Error)]
pub(crate) enum ChannelError {
    /// A system call failed.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// The message is too long.
    #[error(
        "a message of {0} bytes exceeds the executor's limit of {LONGEST_MESSAGE}: shorten the attempt's key or value"
    )]
    TooLong(usize),
    /// The other side sent a malformed message.
    #[error("malformed message on the executor's channel: {0}")]
    Malformed(String),
    /// The other side is gone.
    #[error("the executor is gone")]
    Closed,
}

/// One end of a channel.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: OwnedFd,
}

impl Channel {
    /// Makes both ends.
    pub(crate) fn pair() -> Result<(Self, Self), ChannelError> {
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .during(|| "socketpair")?;
        Ok((Self::from(one), Self::from(other)))
    }

    /// Sends a message; the descriptors are duplicated to the other side.
    pub(crate) fn send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        let bytes = serde_json::to_vec(message).map_err(|error| ChannelError::Malformed(error.to_string()))?;
        if bytes.len() > LONGEST_MESSAGE {
            return Err(ChannelError::TooLong(bytes.len()));
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(ChannelError::Malformed(format!("{} file descriptors in one message", fds.len())));
        }
        match sendmsg(&self.socket, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL) {
            Ok(_) => Ok(()),
            Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => Err(ChannelError::Closed),
            Err(errno) => Ok(Err(errno).during(|| "sendmsg")?),
        }
    }

    /// Waits for a message without consuming it, and returns the pid of its sender as seen from here
    /// (`SCM_CREDENTIALS`, unix(7)). The sender must wait for a message of ours before it sends.
    pub(crate) fn sender(&self, asked: impl FnOnce() -> Result<(), ChannelError>) -> Result<Pid, ChannelError> {
        sockopt::set_socket_passcred(&self.socket, true).during(|| "setsockopt SO_PASSCRED")?;
        asked()?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let mut slices = [IoSliceMut::new(&mut byte)];
        let received = match recvmsg(&self.socket, &mut slices, &mut ancillary, RecvFlags::PEEK) {
            Err(rustix::io::Errno::CONNRESET) => return Err(ChannelError::Closed),
            other => other.during(|| "recvmsg MSG_PEEK")?,
        };
        sockopt::set_socket_passcred(&self.socket, false).during(|| "setsockopt SO_PASSCRED")?;
        let sender = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmCredentials(sender) => Some(sender.pid),
            _ => None,
        });
        match sender {
            Some(pid) if received.bytes > 0 => Ok(pid),
            _ => Err(ChannelError::Closed),
        }
    }

    /// Waits for a message.
    pub(crate) fn receive<T: DeserializeOwned>(&self) -> Result<(T, Vec<OwnedFd>), ChannelError> {
        // A buffer for the longest message would be written from end to end for each of them.
        let mut buffer = vec![0; self.length_of_next()?];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let received = match recvmsg(&self.socket, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::CONNRESET) => return Err(ChannelError::Closed),
            other => other.during(|| "recvmsg")?,
        };
        let fds = ancillary.drain().filter_map(descriptors).flatten().collect();
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(ChannelError::Malformed("it was cut short".to_owned()));
        }
        if received.bytes == 0 {
            return Err(ChannelError::Closed);
        }
        let message = serde_json::from_slice(&buffer[..received.bytes]);
        Ok((message.map_err(|error| ChannelError::Malformed(error.to_string()))?, fds))
    }

    /// Waits for a message, and returns its length without consuming it (`MSG_TRUNC`, recv(2)).
    fn length_of_next(&self) -> Result<usize, ChannelError> {
        match recv(&self.socket, &mut [0_u8; 0], RecvFlags::PEEK | RecvFlags::TRUNC) {
            Ok((_, length)) => Ok(length.min(LONGEST_MESSAGE)),
            Err(rustix::io::Errno::CONNRESET) => Err(ChannelError::Closed),
            Err(errno) => Ok(Err(errno).during(|| "recv MSG_PEEK")?),
        }
    }
}

fn descriptors(message: RecvAncillaryMessage<'_>) -> Option<Vec<OwnedFd>> {
    match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds.collect()),
        _ => None,
    }
}

impl From<OwnedFd> for Channel {
    fn from(socket: OwnedFd) -> Self {
        Self { socket }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read};

    use super::*;

    #[test]
    fn carries_messages_and_descriptors() {
        let (one, other) = Channel::pair().unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        one.send(&vec!["ä", "b"], &[reader.as_fd()]).unwrap();
        let (message, fds) = other.receive::<Vec<String>>().unwrap();
        assert_eq!((message, fds.len()), (vec!["ä".to_owned(), "b".to_owned()], 1));
        rustix::io::write(&writer, b"through").unwrap();
        drop(writer);
        let mut text = String::new();
        File::from(fds.into_iter().next().unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    }

    #[test]
    fn who_sent_a_message_is_known_before_it_is_received() {
        let (one, other) = Channel::pair().unwrap();
        let sender = one.sender(|| other.send(&7, &[])).unwrap();
        assert_eq!((sender, one.receive::<u32>().unwrap().0), (rustix::process::getpid(), 7));
        one.send(&8, &[]).unwrap();
        assert_eq!(other.receive::<u32>().unwrap().0, 8);
        drop(other);
        assert!(matches!(one.sender(|| Ok(())), Err(ChannelError::Closed)));
    }

    #[test]
    fn a_closed_end_is_distinguished_from_a_failure() {
        let (one, other) = Channel::pair().unwrap();
        drop(other);
        assert!(matches!(one.receive::<u32>(), Err(ChannelError::Closed)));
        assert!(matches!(one.send(&1, &[]), Err(ChannelError::Closed)));
    }

    #[test]
    fn refuses_what_does_not_fit_or_is_malformed() {
        let (one, other) = Channel::pair().unwrap();
        let long = "x".repeat(LONGEST_MESSAGE);
        insta::assert_snapshot!(
            one.send(&long, &[]).unwrap_err(),
            @"a message of 163842 bytes exceeds the executor's limit of 163840: shorten the attempt's key or value"
        );
        one.send(&"a word", &[]).unwrap();
        insta::assert_snapshot!(
            other.receive::<u32>().unwrap_err(),
            @r#"malformed message on the executor's channel: invalid type: string "a word", expected u32 at line 1 column 8"#
        );
        let many = vec![one.as_fd(); MOST_FDS + 40];
        insta::assert_snapshot!(
            one.send(&1, &many).unwrap_err(),
            @"malformed message on the executor's channel: 240 file descriptors in one message"
        );
    }

    #[test]
    fn the_longest_message_passes() {
        let (one, other) = Channel::pair().unwrap();
        let longest = "x".repeat(LONGEST_MESSAGE - 2);
        one.send(&longest, &[]).unwrap();
        assert_eq!(other.receive::<String>().unwrap().0, longest);
    }
}
