//! The guard: audits and enforces what bpf(2) is used for.

fn main() {}
