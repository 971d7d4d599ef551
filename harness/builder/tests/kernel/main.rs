//! Kernel sources and builds, tested with a stand-in for a kernel that compiles in a moment.

mod build;
mod mutants;
mod source;
mod stand_in;
