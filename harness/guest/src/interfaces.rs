//! Network interfaces of a new network namespace, through rtnetlink.
//!
//! Our interfaces have indices that are unique across network namespaces: a kernel that looks in the wrong one finds
//! nothing, while index 1 or 2 exists in each.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use harness_protocol::errno::Errno;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

use crate::error::{During, SysError};

/// The interface made in addition to `lo`.
const DUMMY: &str = "dummy0";

/// One of a pair of netkit interfaces, the one that programs are attached to (`netkit_dev_fetch` in
/// `drivers/net/netkit.c`); the kernel names the other.
pub(crate) const NETKIT: &str = "netkit0";

/// The index of `lo` in every network namespace (`LOOPBACK_IFINDEX`, `include/net/flow.h`).
const LOOPBACK_INDEX: u32 = 1;

/// The kernel itself chooses indices below this one.
const FIRST_INDEX: u32 = 1000;

/// Brings `lo` up and makes a dummy interface in the caller's network namespace.
pub(crate) fn prepare() -> Result<(), SysError> {
    let socket = route()?;
    let mut loopback = up();
    loopback.header.index = LOOPBACK_INDEX;
    request(&socket, loopback, 0).during(|| "rtnetlink: bring lo up")?;
    make(&socket, DUMMY, InfoKind::Dummy, unique_index(0)?)
}

/// Makes a pair of netkit interfaces in the caller's network namespace.
pub(crate) fn add_netkit() -> Result<(), SysError> {
    make(&route()?, NETKIT, InfoKind::Netkit, unique_index(1)?)
}

/// Returns one of the two indices that only the caller's network namespace uses.
fn unique_index(which: u32) -> Result<u32, SysError> {
    let namespace = rustix::fs::stat("/proc/self/ns/net").during(|| "stat /proc/self/ns/net")?;
    Ok(index_of(namespace.st_ino, which))
}

/// Computes an index from a namespace's inode. Those count up from 0xF0000000 (`PROC_DYNAMIC_FIRST` in
/// `fs/proc/generic.c`), and each belongs to one existing namespace.
fn index_of(namespace: u64, which: u32) -> u32 {
    const NUMBERS: u64 = 1 << 24;
    FIRST_INDEX + 2 * (namespace % NUMBERS) as u32 + which
}

fn route() -> Result<OwnedFd, SysError> {
    // `NETLINK_ROUTE` is protocol 0, the default.
    socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None).during(|| "socket NETLINK_ROUTE")
}

fn make(socket: &OwnedFd, name: &str, kind: InfoKind, index: u32) -> Result<(), SysError> {
    let mut link = up();
    link.header.index = index;
    link.attributes = vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)])];
    request(socket, link, NLM_F_CREATE | NLM_F_EXCL).during(|| format!("rtnetlink: make {name}"))
}

/// Returns the index of one of our interfaces in this network namespace.
pub(crate) fn index_in(namespace: BorrowedFd<'_>, name: &str) -> Result<u32, SysError> {
    let inode = || rustix::fs::fstat(namespace).during(|| "fstat a network namespace").map(|stat| stat.st_ino);
    match name {
        DUMMY => Ok(index_of(inode()?, 0)),
        NETKIT => Ok(index_of(inode()?, 1)),
        _ => Ok(LOOPBACK_INDEX),
    }
}

/// Returns the index of an interface in the caller's network namespace.
pub(crate) fn index(name: &str) -> Result<u32, SysError> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .during(|| "socket for SIOCGIFINDEX")?;
    rustix::net::netdevice::name_to_index(socket.as_fd(), name).during(|| format!("SIOCGIFINDEX {name}"))
}

fn up() -> LinkMessage {
    let mut link = LinkMessage::default();
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    link
}

fn request(socket: &OwnedFd, link: LinkMessage, flags: u16) -> Result<(), Errno> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(RouteNetlinkMessage::NewLink(link)));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    send(socket, &bytes, SendFlags::empty()).map_err(crate::error::errno)?;
    let mut answer = vec![0; 4096];
    let (length, _) = recv(socket, &mut answer, RecvFlags::empty()).map_err(crate::error::errno)?;
    acknowledged(&answer[..length])
}

/// Reads an acknowledgement: an error message with code 0 (`netlink(7)`).
fn acknowledged(answer: &[u8]) -> Result<(), Errno> {
    let unreadable = Errno::from_raw(libc::EBADMSG);
    let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(answer).map_err(|_| unreadable)?;
    match message.payload {
        NetlinkPayload::Error(error) => match error.code {
            None => Ok(()),
            Some(code) => Err(Errno::from_raw(code.get().abs())),
        },
        _ => Err(unreadable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_network_namespaces_share_an_index() {
        let of = |namespace| [index_of(namespace, 0), index_of(namespace, 1)];
        assert_eq!(of(0xf000_0000), [FIRST_INDEX, FIRST_INDEX + 1]);
        assert_eq!(of(0xf000_0001), [FIRST_INDEX + 2, FIRST_INDEX + 3]);
        // The initial one's inode, the largest there is (`include/linux/proc_ns.h`), still gives an index.
        assert!(i32::try_from(of(u64::from(u32::MAX))[1]).is_ok());
    }

    #[test]
    fn an_acknowledgement_is_distinguished_from_a_refusal() {
        let answer = |code: i32| {
            let mut bytes = Vec::new();
            bytes.extend(36u32.to_ne_bytes());
            bytes.extend(2u16.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(code.to_ne_bytes());
            bytes.extend([0; 16]);
            bytes
        };
        assert_eq!(acknowledged(&answer(0)), Ok(()));
        assert_eq!(acknowledged(&answer(-1)), Err(Errno::EPERM));
        assert_eq!(acknowledged(&[1, 2, 3]), Err(Errno::from_raw(libc::EBADMSG)));
    }
}
