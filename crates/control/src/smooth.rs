//! Averages that forget: what several controllers are made of.

/// An exponentially weighted average whose first samples are averaged plainly.
#[derive(Clone, Debug)]
pub struct Average {
    weight: f64,
    warm_up: u32,
    seen: u32,
    value: f64,
}

impl Average {
    /// The usual average over a window of about `samples`: each new one weighs `2 / (samples + 1)`. The first `warm_up`
    /// samples are averaged plainly.
    #[must_use]
    pub fn over(samples: f64, warm_up: u32) -> Self {
        Self { weight: 2.0 / (samples + 1.0), warm_up, seen: 0, value: 0.0 }
    }

    /// Each new sample weighs `weight` (over 0, at most 1).
    #[must_use]
    pub fn weighing(weight: f64) -> Self {
        Self { weight, warm_up: 1, seen: 0, value: 0.0 }
    }

    /// Takes a sample; returns the average.
    pub fn add(&mut self, sample: f64) -> f64 {
        self.seen = self.seen.saturating_add(1);
        let weight = if self.seen <= self.warm_up { 1.0 / f64::from(self.seen) } else { self.weight };
        self.value += weight * (sample - self.value);
        self.value
    }

    /// Multiplies the average by `factor`; returns it.
    pub fn scale(&mut self, factor: f64) -> f64 {
        self.value *= factor;
        self.value
    }

    /// The average, once there was a sample.
    #[must_use]
    pub fn get(&self) -> Option<f64> {
        (self.seen > 0).then_some(self.value)
    }
}

/// The sample at quantile `at` (0 to 1) of `samples`, which it reorders; nothing for none.
pub fn quantile(samples: &mut [f64], at: f64) -> Option<f64> {
    let last = samples.len().checked_sub(1)?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to the last index")]
    let index = (at.clamp(0.0, 1.0) * last as f64).round() as usize;
    Some(*samples.select_nth_unstable_by(index, f64::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_samples_are_averaged_plainly() {
        let mut average = Average::over(9.0, 2);
        assert_eq!(average.get(), None);
        assert_eq!((average.add(1.0), average.add(3.0)), (1.0, 2.0));
        assert!((average.add(7.0) - 3.0).abs() < 1e-9, "then a fifth of the way");
    }

    #[test]
    fn quantiles() {
        let mut samples = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(quantile(&mut samples, 0.5), Some(3.0));
        assert_eq!(quantile(&mut samples, 1.0), Some(5.0));
        assert_eq!(quantile(&mut [], 0.5), None);
    }
}
