//! Repeated measurements of one duration.

use std::time::Duration;

/// At least one time, sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample(Vec<Duration>);

impl Sample {
    /// Sorts the times; `None` if there are none.
    pub(crate) fn of(times: impl IntoIterator<Item = Duration>) -> Option<Self> {
        let mut times: Vec<Duration> = times.into_iter().collect();
        times.sort();
        (!times.is_empty()).then_some(Self(times))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn fastest(&self) -> Duration {
        self.0[0]
    }

    pub(crate) fn slowest(&self) -> Duration {
        self.0[self.0.len() - 1]
    }

    /// Returns the middle time, or the mean of the two middle ones.
    pub(crate) fn median(&self) -> Duration {
        let middle = self.0.len() / 2;
        if self.0.len() % 2 == 1 { self.0[middle] } else { (self.0[middle - 1] + self.0[middle]) / 2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(millis: &[u64]) -> Sample {
        Sample::of(millis.iter().copied().map(Duration::from_millis)).unwrap()
    }

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        assert_eq!(sample(&[9, 1, 5]).median(), Duration::from_millis(5));
        assert_eq!(sample(&[8, 2, 4, 100]).median(), Duration::from_millis(6));
        let one = sample(&[7]);
        assert_eq!((one.fastest(), one.median(), one.slowest()), (one.0[0], one.0[0], one.0[0]));
        let three = sample(&[9, 1, 5]);
        assert_eq!((three.count(), three.fastest(), three.slowest()), (3, three.0[0], three.0[2]));
    }

    #[test]
    fn nothing_measured_is_no_sample() {
        assert_eq!(Sample::of([]), None);
    }
}
