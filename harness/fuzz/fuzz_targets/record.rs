//! Whatever a guest writes, each scenario has at most one outcome, the same in pieces of any size, and it can be judged.
#![no_main]

use harness_fuzz::scenarios::{hello, judge, plan};
use harness_runner::session::fuzzing::read_record;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let record = [hello(), bytes].concat();
    let outcomes = read_record(plan(), &record, usize::MAX);
    assert_eq!(read_record(plan(), &record, 7), outcomes);
    outcomes.iter().for_each(judge);
});
