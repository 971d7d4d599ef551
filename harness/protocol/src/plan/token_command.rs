//! The `bpf(2)` commands that take a token, and where its descriptor goes (`include/uapi/linux/bpf.h`,
//! `BPF_F_TOKEN_FD`).

use serde::{Deserialize, Serialize};

/// Declares the commands: each has its name in scenario files, its number in `enum bpf_cmd`, and the member of `union
/// bpf_attr` that holds the token's descriptor, with its offset in bytes.
macro_rules! token_commands {
    ($($(#[$meta:meta])* $command:ident => $name:literal, $number:literal, $member:literal at $offset:literal;)*) => {
        /// A command that takes a token.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
        pub enum TokenCommand {
            $(
                $(#[$meta])*
                #[serde(rename = $name)]
                $command,
            )*
        }

        impl TokenCommand {
            /// All commands.
            pub const ALL: &[Self] = &[$(Self::$command),*];

            /// Returns its name in scenario files and in kernels.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$command => $name,)* }
            }

            /// Returns its number in `enum bpf_cmd`.
            pub const fn number(self) -> u32 {
                match self { $(Self::$command => $number,)* }
            }

            /// Returns the member of `union bpf_attr` that holds the token's descriptor.
            pub const fn member(self) -> &'static str {
                match self { $(Self::$command => $member,)* }
            }

            /// Returns that member's offset in bytes.
            pub const fn offset(self) -> usize {
                match self { $(Self::$command => $offset,)* }
            }
        }
    };
}

token_commands! {
    /// `BPF_MAP_CREATE` of a hash map.
    MapCreate => "map_create", 0, "map_token_fd" at 76;
    /// `BPF_PROG_LOAD` of a socket filter.
    ProgLoad => "prog_load", 5, "prog_token_fd" at 144;
    /// `BPF_BTF_LOAD` of [`crate::blob`].
    BtfLoad => "btf_load", 18, "btf_token_fd" at 36;
    /// `BPF_BTF_GET_FD_BY_ID` of vmlinux.
    BtfGetFdById => "btf_get_fd_by_id", 19, "fd_by_id_token_fd" at 12;
}
