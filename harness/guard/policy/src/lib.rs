//! The policy of the guard: its file, its check, the decision it makes, and the bytes that the BPF programs read.
