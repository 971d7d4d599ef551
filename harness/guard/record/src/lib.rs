//! The record of the guard: its layout, its lines of JSON, and the chain that shows whether a log is whole.
