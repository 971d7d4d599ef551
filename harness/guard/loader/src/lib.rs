//! Loads the BPF programs of the guard, fills their maps, and reads their records.
