//! Learning rate over steps.

use std::f64::consts::PI;

use serde::Deserialize;

/// How the learning rate moves from its peak to its end.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    Constant,
    /// A straight line to `last` × the peak.
    Linear {
        last: f64,
    },
    /// Half a cosine to `last` × the peak, after `warm_up` (a fraction of all steps) of a rising line.
    Cosine {
        #[serde(default)]
        warm_up: f64,
        #[serde(default)]
        last: f64,
    },
}

impl Schedule {
    /// The factor on the peak learning rate at `step` of `steps`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "step counts are far below 2^52")]
    pub fn factor(self, step: usize, steps: usize) -> f64 {
        let done = (step as f64 / steps.max(1) as f64).min(1.0);
        match self {
            Self::Constant => 1.0,
            Self::Linear { last } => 1.0 + (last - 1.0) * done,
            Self::Cosine { warm_up, .. } if done < warm_up => {
                ((step as f64 + 1.0) / (warm_up * steps as f64)).min(1.0)
            }
            Self::Cosine { warm_up, last } => {
                let turn = (done - warm_up) / (1.0 - warm_up).max(f64::EPSILON);
                last + (1.0 - last) * 0.5 * (1.0 + (PI * turn).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_start_and_end_where_they_say() {
        let linear = Schedule::Linear { last: 0.1 };
        assert!((linear.factor(0, 100) - 1.0).abs() < 1e-12);
        assert!((linear.factor(100, 100) - 0.1).abs() < 1e-12);
        let cosine = Schedule::Cosine { warm_up: 0.1, last: 0.0 };
        assert!(cosine.factor(0, 100) < 0.11);
        assert!((cosine.factor(10, 100) - 1.0).abs() < 1e-9);
        assert!(cosine.factor(100, 100) < 1e-9);
        // Half a step of warm-up is no more than the peak.
        assert!((cosine.factor(0, 5) - 1.0).abs() < 1e-12);
    }
}
