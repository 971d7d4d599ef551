//! What the verifier lets some programs do and others not, by the capabilities of their loader: one small program each.
//!
//! The programs are socket filters wherever one can be, because with `kernel.unprivileged_bpf_disabled=0` those load
//! without any capability: then nothing but the feature itself is in question.

mod instruction;
mod programs;

/// A thing a program can do that the verifier does not let every loader do.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// What scenarios call it.
    pub name: &'static str,
    /// What the program does, in a few words.
    pub about: &'static str,
    /// The type of the program.
    pub prog_type: &'static str,
    /// Whether it uses a map: an array of one value of 64 bytes.
    pub map: bool,
    instructions: fn() -> Vec<u64>,
}

impl Feature {
    /// The feature of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|feature| feature.name == name)
    }

    /// Its program, encoded as RFC 9669 has it; where it uses its map, the descriptor is left out.
    pub fn instructions(&self) -> Vec<u64> {
        (self.instructions)()
    }
}

/// Bytes of the value of the map that features use.
pub const MAP_VALUE_SIZE: u32 = 64;

const fn filter(name: &'static str, about: &'static str, instructions: fn() -> Vec<u64>) -> Feature {
    Feature { name, about, prog_type: "socket_filter", map: false, instructions }
}

const fn filter_with_map(name: &'static str, about: &'static str, instructions: fn() -> Vec<u64>) -> Feature {
    Feature { map: true, ..filter(name, about, instructions) }
}

/// Every feature.
pub const ALL: [Feature; 22] = [
    filter("nothing", "returns 0", programs::nothing),
    filter("pointer_returned", "returns the address of its stack", programs::pointer_returned),
    filter("pointer_subtracted", "subtracts an address from another", programs::pointer_subtracted),
    filter("pointer_halves_subtracted", "the same with their low halves", programs::pointer_halves_subtracted),
    filter("pointer_negated", "negates an address", programs::pointer_negated),
    filter("pointer_copied_in_part", "copies the low half of an address", programs::pointer_copied_in_part),
    filter("pointer_compared", "compares an address with a number", programs::pointer_compared),
    filter("pointers_compared", "compares addresses of two kinds", programs::pointers_compared),
    filter("pointer_in_packet_notes", "writes an address into skb->cb", programs::pointer_in_packet_notes),
    filter("pointer_as_number_argument", "gives a helper an address as an offset", programs::pointer_as_argument),
    filter("pointer_overwritten_in_part", "changes one byte of an address on the stack", programs::pointer_overwritten),
    filter_with_map("pointer_in_map", "writes an address into a map", programs::pointer_in_map),
    filter_with_map("pointer_exchanged_in_map", "exchanges it with one", programs::pointer_exchanged_in_map),
    filter(
        "stack_read_before_written",
        "reads a part of its stack it never wrote",
        programs::stack_read_before_written,
    ),
    filter(
        "stack_at_variable_place",
        "writes to its stack at an offset it computed",
        programs::stack_at_variable_place,
    ),
    filter_with_map(
        "offset_of_either_sign",
        "adds a number from -8 to 7 to a pointer",
        programs::offset_of_either_sign,
    ),
    filter("speculative_type_confusion", "would follow a number if the processor guessed wrong", programs::speculation),
    filter("loop", "goes back eight times", programs::bounded_loop),
    filter("loop_left_to_the_kernel", "goes back as long as the kernel likes (may_goto)", programs::perhaps_loop),
    filter("function_call", "calls a function of its own", programs::function_call),
    filter("large_program", "has 4,097 instructions", programs::large_program),
    Feature {
        prog_type: "cgroup_skb",
        ..filter("packet_data_of_cgroup", "reads a packet's bytes as cgroup_skb", programs::packet_data)
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_found() {
        for (index, feature) in ALL.iter().enumerate() {
            assert!(ALL[..index].iter().all(|other| other.name != feature.name), "{}", feature.name);
            assert_eq!(Feature::named(feature.name).map(|found| found.about), Some(feature.about));
        }
        assert!(Feature::named("nonsense").is_none());
    }

    #[test]
    fn every_program_ends_and_names_a_map_only_if_it_has_one() {
        for feature in ALL {
            let program = feature.instructions();
            assert_eq!(program.last(), Some(&instruction::EXIT), "{}", feature.name);
            let maps = program.iter().filter(|word| **word & 0xf0ff == 0x1018).count();
            assert_eq!(maps > 0, feature.map, "{}", feature.name);
        }
    }
}
