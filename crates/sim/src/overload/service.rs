//! How long a request keeps a server busy.

use crate::rng::Rng;

/// A distribution of service times, in seconds.
#[derive(Copy, Clone, Debug)]
pub enum Service {
    /// Always the same.
    Fixed(f64),
    /// Exponential, by its mean.
    Exponential(f64),
    /// Lognormal, by its mean and its coefficient of variation.
    Lognormal(f64, f64),
    /// Two fixed times, the second with a share.
    Bimodal(f64, f64, f64),
    /// Evenly between two times.
    Uniform(f64, f64),
    /// With this share, answered from a cache in so many seconds that no queue delays; else exponential by its mean.
    Cached(f64, f64, f64),
}

impl Service {
    /// The mean.
    #[must_use]
    pub fn mean(self) -> f64 {
        match self {
            Self::Fixed(mean) | Self::Exponential(mean) | Self::Lognormal(mean, _) => mean,
            Self::Bimodal(short, long, share) => short * (1.0 - share) + long * share,
            Self::Uniform(low, high) => (low + high) / 2.0,
            // What is answered from the cache takes no server.
            Self::Cached(share, _, mean) => mean * (1.0 - share),
        }
    }

    /// One draw.
    pub fn draw(self, rng: &mut Rng) -> f64 {
        match self {
            Self::Fixed(time) => time,
            Self::Exponential(mean) | Self::Cached(_, _, mean) => exponential(mean, rng),
            Self::Lognormal(mean, cv) => {
                let variance = (1.0 + cv * cv).ln();
                (mean.ln() - variance / 2.0 + variance.sqrt() * normal(rng)).exp()
            }
            Self::Bimodal(short, long, share) => {
                if rng.unit() < share {
                    long
                } else {
                    short
                }
            }
            Self::Uniform(low, high) => low + (high - low) * rng.unit(),
        }
    }
}

/// An exponential draw.
pub(crate) fn exponential(mean: f64, rng: &mut Rng) -> f64 {
    -mean * (1.0 - rng.unit()).ln()
}

/// A normal draw (Box and Muller).
fn normal(rng: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.unit()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.unit()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_the_mean_that_is_said() {
        let all = [
            Service::Fixed(0.1),
            Service::Exponential(0.1),
            Service::Lognormal(0.1, 2.0),
            Service::Bimodal(0.02, 0.82, 0.1),
            Service::Uniform(0.0, 0.2),
        ];
        for service in all {
            let mut rng = Rng::new(5);
            let mean = (0..200_000).map(|_| service.draw(&mut rng)).sum::<f64>() / 200_000.0;
            assert!((mean / service.mean() - 1.0).abs() < 0.03, "{service:?}: {mean}");
        }
    }
}
