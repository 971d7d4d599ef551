use harness_uapi::btf::BtfError;
use thiserror::Error;

/// Why bytes cannot be read as a BPF object.
#[derive(Debug, Error)]
pub enum ObjectError {
    /// The file is too large.
    #[error("it is {size} bytes long; the limit is {most}")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        most: usize,
    },
    /// Not an ELF64 file, or one whose tables reach beyond its end.
    #[error("it is not an ELF64 file, or is damaged: {0}")]
    Elf(#[from] object::read::Error),
    /// An ELF file for another machine.
    #[error("it is an ELF file for machine {0}, not for BPF (247); compile it with `clang -target bpf`")]
    Machine(u16),
    /// An ELF file that is linked, or a core dump.
    #[error("it is an ELF file of type {0}, not a relocatable one (1); use the output of `clang -target bpf -c`")]
    Linked(u16),
    /// A big-endian object.
    #[error("it is big-endian, and the kernels here are little-endian; compile it with `-target bpfel`")]
    BigEndian,
    /// There is no symbol table, by which libbpf finds programs.
    #[error("it has no symbol table, so its programs cannot be found; strip objects with `llvm-strip -g` only")]
    Stripped,
    /// A table, a section or a symbol is damaged.
    #[error("{part}: {what}")]
    Damaged {
        /// The table, section or symbol.
        part: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// There is too much of something.
    #[error("it has more than {most} {what}, the limit")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        most: usize,
    },
    /// The BTF cannot be read.
    #[error(".BTF: {0}")]
    Btf(#[from] BtfError),
}

impl ObjectError {
    pub(crate) fn damaged(part: impl Into<String>, what: &'static str) -> Self {
        Self::Damaged { part: part.into(), what }
    }
}
