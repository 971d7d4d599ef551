//! Commands with a token's descriptor in its member, but without the flag that says so.

#![allow(unsafe_code)]

use harness_protocol::{blob, plan::TokenCommand};
use libbpf_sys as sys;

use super::result::{AttemptResult, made};
use crate::{
    attr::Attr,
    bpf::{self, Token},
};

/// Makes the call; members are at the offsets of `include/uapi/linux/bpf.h`.
pub(super) fn make(command: TokenCommand, token: Token<'_>) -> AttemptResult {
    let (instructions, types) = (bpf::returning(0), blob::bytes());
    let attr = match command {
        TokenCommand::MapCreate => Attr::new().u32(0, sys::BPF_MAP_TYPE_HASH).u32(4, 4).u32(8, 4).u32(12, 1),
        TokenCommand::ProgLoad => {
            let filter = Attr::new().u32(0, sys::BPF_PROG_TYPE_SOCKET_FILTER).u32(4, instructions.len() as u32);
            filter.input(8, &instructions).input(16, c"GPL".to_bytes_with_nul())
        }
        TokenCommand::BtfLoad => Attr::new().input(0, &types).u32(16, types.len() as u32),
        TokenCommand::BtfGetFdById => Attr::new().u32(0, 1),
    };
    let mut attr = token.into_iter().fold(attr, |attr, token| attr.fd(command.offset(), token));
    // SAFETY: instructions and types have the stated lengths, the license ends with a zero byte, and all outlive the
    // call, which makes a descriptor.
    made(unsafe { attr.make(command.number()) })
}
