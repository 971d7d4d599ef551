//! Attempts that are not `bpf(2)` commands.

use rustix::net::{AddressFamily, Ipv4Addr, SocketAddrV4, SocketFlags, SocketType, bind as bind_to, socket_with};

use super::result::{AttemptResult, OperationError, done, stepped};
use crate::{
    error::{During, errno},
    pseudofile, sysctl,
};

/// `bind(2)` of a new UDP socket to a port of every address.
pub(super) fn bind(port: u16) -> Result<AttemptResult, OperationError> {
    let socket =
        socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None).during(|| "UDP socket")?;
    let bound = bind_to(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port));
    Ok(done(bound.map_err(errno)))
}

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
