//! Quantities with a unit: `10s`, `256MiB`.

use std::time::Duration;

const TIMES: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZES: [(&str, u64); 5] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// Reads a duration such as `10s`, `500ms`, `2m`, `1h` or `7d`. Returns `None` for anything else.
pub fn duration(text: &str) -> Option<Duration> {
    quantity(text, &TIMES).map(Duration::from_millis)
}

/// Reads a number of bytes such as `256MiB`. Returns `None` for anything else, also without a unit.
pub fn size(text: &str) -> Option<u64> {
    quantity(text, &SIZES)
}

/// Writes a number of bytes with the largest unit that divides it.
pub fn shown_size(bytes: u64) -> String {
    let unit = SIZES.iter().rev().find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size));
    unit.map_or_else(|| format!("{bytes}B"), |(unit, size)| format!("{}{unit}", bytes / size))
}

fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let (_, size) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_has_a_number_and_a_unit() {
        assert_eq!(duration("10s"), Some(Duration::from_secs(10)));
        assert_eq!(
            (duration("500 ms"), duration("2m")),
            (Some(Duration::from_millis(500)), Some(Duration::from_secs(120)))
        );
        assert_eq!((size("256MiB"), size("1B"), size("3 KiB")), (Some(256 << 20), Some(1), Some(3072)));
        assert_eq!(
            (duration("1h"), duration("7d")),
            (Some(Duration::from_secs(3600)), Some(Duration::from_secs(604_800)))
        );
        for wrong in ["", "s", "10", "-1s", "1.5s", "10 sec", "99999999999999999999s", "18446744073709551615m", "१s"]
        {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
        assert_eq!(
            ["1KiB", "1025B", "256MiB", "0B"].map(|text| shown_size(size(text).unwrap())),
            ["1KiB", "1025B", "256MiB", "0B"]
        );
    }
}
