//! Any bytes are a log of the guard, or findings with places in it; and any record can be put into words.
#![no_main]

use guard_record::{Anchors, Line, NoNames, Place, Record, verify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(record) = bytes.get(..256).and_then(|bytes| Record::from_bytes(bytes).ok()) {
        let line = serde_json::to_string(&Line::of(&record, &NoNames)).expect("it has texts and numbers only");
        serde_json::from_str::<Line>(&line).expect("it was written so");
    }
    // Two files, if there is an empty line; and anchors in the middle of a log are as good as any.
    let cut = bytes.windows(2).position(|two| two == b"\n\n").map_or(bytes.len(), |at| at + 1);
    let (first, second) = bytes.split_at(cut);
    let files = [("a".to_owned(), first), ("b".to_owned(), second.strip_prefix(b"\n").unwrap_or(second))];
    let count = if second.is_empty() { 1 } else { 2 };
    let mut anchors = Anchors::default();
    anchors.read(bytes).expect("memory can be read");
    let verified = verify(files.into_iter().take(count), anchors, false).expect("memory can be read");
    assert!(verified.state.is_some() || !verified.findings.is_empty());
    for finding in &verified.findings {
        let Place { file, line } = &finding.place;
        assert!(["a", "b", ""].contains(&file.as_str()) && *line <= verified.lines);
        assert!(!finding.to_string().is_empty());
    }
});
