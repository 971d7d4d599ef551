//! The program that runs inside the VM.
fn main() {}
