//! Finds the least memory with which all scenarios give the usual results.

use super::figures::LeastMemory;

/// Precision of the answer, in MiB.
const STEP: u32 = 4;

/// Bisects between 0 and `enough`, which is known to suffice; `attempt` returns what goes wrong with less.
pub(crate) fn least(enough: u32, mut attempt: impl FnMut(u32) -> Result<(), String>) -> LeastMemory {
    let mut found = LeastMemory { passes: enough, fails: 0, failure: "there is none".to_owned() };
    while found.passes - found.fails > STEP {
        let middle = (found.passes + found.fails) / 2 / STEP * STEP;
        // Rounding down may reach the lower end, if that is not a multiple of the step.
        let middle = middle.max(found.fails + 1);
        match attempt(middle) {
            Ok(()) => found.passes = middle,
            Err(failure) => (found.fails, found.failure) = (middle, failure),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boundary_is_found_wherever_it_is_and_in_few_steps() {
        for needed in [1, 3, 4, 61, 200, 511, 512] {
            let mut boots = 0;
            let found = least(512, |mib| {
                boots += 1;
                if mib >= needed { Ok(()) } else { Err(format!("{mib} is too little")) }
            });
            assert!(found.passes >= needed && found.fails < needed, "{needed}: {found:?}");
            assert!(found.passes - found.fails <= STEP && boots <= 8, "{needed}: {found:?} in {boots}");
            assert!(found.fails == 0 || found.failure == format!("{} is too little", found.fails));
        }
    }
}
