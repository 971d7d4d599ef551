//! What BPF objects request from a kernel, read from their ELF files without loading them.
//!
//! [`read`] parses one relocatable object as libbpf 1.7 does; [`embedded()`] finds the objects embedded in a program.
//! [`asked`] lists what libbpf requests from the kernel while it loads an object with a token, and [`needs()`] finds the
//! least grant under which objects load. Bytes in, values out: no I/O, and no input makes it panic, hang or use much more
//! memory than the input has.

mod code;
mod elf;
mod embedded;
mod error;
mod extension;
mod feature;
mod helper;
mod loader;
mod loading;
mod map;
mod named;
mod needs;
mod note;
mod object;
mod prediction;
mod program;
mod section;
mod setting;
mod size;

pub use embedded::{Embedded, embedded};
pub use error::ObjectError;
pub use feature::{Feature, TokenUse};
pub use harness_uapi::btf::{Btf, BtfError, BtfKind, BtfType, Member};
pub use loader::{Library, Loader, LoaderError, LoaderVersion};
pub use loading::{Kernel, LoadRequest, Necessity, RequestOwner, asked};
pub use map::{Map, MapSource};
pub use named::{Named, NamedError};
pub use needs::{Known, LeastRelease, Loss, MOST_REASONS, Needs, Obstacle, Reason, Undelegable, needs};
pub use note::Note;
pub use object::{BtfFacts, Object, read, read_for};
pub use prediction::{PredictedAnswer, PredictedLoad, loading};
pub use program::{AttachWay, BtfReason, ExpectedAttach, Program, ProgramTarget};
pub use section::known_sections;
pub use setting::{SizeError, set_size};
pub use size::{MapSize, SizeOrigin};
