use harness_uapi::btf::BtfError;
use thiserror::Error;

/// Why bytes are no BPF object that can be read.
#[derive(Debug, Error)]
pub enum ObjectError {
    /// Larger than is read.
    #[error("it has {size} bytes; at most {most} are read")]
    TooLarge {
        /// What it has.
        size: usize,
        /// What is read.
        most: usize,
    },
    /// No ELF file of 64 bits, or one whose tables lie outside of it.
    #[error("it is no ELF file of 64 bits, or a damaged one: {0}")]
    Elf(#[from] object::read::Error),
    /// An ELF file for something else.
    #[error("it is an ELF file for machine {0}, not for BPF (247): give an object that clang made with `-target bpf`")]
    Machine(u16),
    /// An ELF file that is linked, or a core dump.
    #[error("it is an ELF file of type {0}, not a relocatable one (1): give what `clang -target bpf -c` made")]
    Linked(u16),
    /// For processors with the bytes the other way round.
    #[error("it is for big-endian processors, which no kernel here runs on: build it with `-target bpfel`")]
    BigEndian,
    /// No table of symbols: libbpf finds programs by it.
    #[error("it has no symbols, so its programs cannot be found: it was stripped; strip it with `llvm-strip -g` only")]
    Stripped,
    /// A table, a section or a function that is not where or what it should be.
    #[error("{place}: {what}")]
    Damaged {
        /// The section or the symbol.
        place: String,
        /// What is wrong there.
        what: &'static str,
    },
    /// More than is read of something.
    #[error("it has more than {most} {what}, which is all that is read")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are read.
        most: usize,
    },
    /// Type information that is damaged.
    #[error(".BTF: {0}")]
    Btf(#[from] BtfError),
}

impl ObjectError {
    pub(crate) fn damaged(place: impl Into<String>, what: &'static str) -> Self {
        Self::Damaged { place: place.into(), what }
    }
}
