//! Learning rate over steps.

use std::f64::consts::PI;

use serde::Deserialize;

/// How the learning rate moves from its peak to its end. Each begins with `warm_up`, a share of all steps in which
/// it rises to the peak in a line.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    Constant {
        #[serde(default)]
        warm_up: f64,
    },
    /// A straight line to `last` × the peak.
    Linear {
        #[serde(default)]
        warm_up: f64,
        last: f64,
    },
    /// `factor` × what it was, `drops` times, after equal parts of the way.
    Step {
        #[serde(default)]
        warm_up: f64,
        drops: u32,
        factor: f64,
    },
    /// Half a cosine to `last` × the peak (Loshchilov and Hutter 2017, without restarts).
    Cosine {
        #[serde(default)]
        warm_up: f64,
        #[serde(default)]
        last: f64,
    },
    /// Half a cosine up to the peak, from a 25th of it, and half a cosine down to a 10 000th of where it began
    /// (Smith and Topin 2018). `rise` is the share of all steps that go up.
    OneCycle {
        #[serde(default = "third")]
        rise: f64,
    },
}

fn third() -> f64 {
    0.3
}

/// Where one cycle begins, and where it ends.
const FIRST: f64 = 1.0 / 25.0;
const LAST: f64 = FIRST / 1e4;

impl Schedule {
    /// # Errors
    /// The key that is of no use, and what was expected.
    pub fn check(self) -> Result<(), String> {
        let share = |name: &str, value: f64| {
            let fits = (0.0..1.0).contains(&value);
            if fits {
                Ok(())
            } else {
                Err(format!("schedule.{name} is {value}: expected 0 to below 1"))
            }
        };
        let part = |name: &str, value: f64| {
            let fits = (0.0..=1.0).contains(&value);
            if fits { Ok(()) } else { Err(format!("schedule.{name} is {value}: expected 0 to 1")) }
        };
        match self {
            Self::Constant { warm_up } => share("warm_up", warm_up),
            Self::Linear { warm_up, last } | Self::Cosine { warm_up, last } => {
                share("warm_up", warm_up).and_then(|()| part("last", last))
            }
            Self::Step { warm_up, drops: _, factor } => {
                share("warm_up", warm_up).and_then(|()| part("factor", factor))
            }
            Self::OneCycle { rise } => share("rise", rise),
        }
    }

    /// The factor on the peak learning rate at `step` of `steps`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "step counts are far below 2^52")]
    pub fn factor(self, step: usize, steps: usize) -> f64 {
        let done = (step as f64 / steps.max(1) as f64).min(1.0);
        let warm_up = match self {
            Self::Constant { warm_up }
            | Self::Linear { warm_up, .. }
            | Self::Step { warm_up, .. }
            | Self::Cosine { warm_up, .. } => warm_up,
            Self::OneCycle { rise } => return one_cycle(done, rise),
        };
        if done < warm_up {
            return ((step as f64 + 1.0) / (warm_up * steps as f64)).min(1.0);
        }
        let way = (done - warm_up) / (1.0 - warm_up).max(f64::EPSILON);
        match self {
            Self::Linear { last, .. } => 1.0 + (last - 1.0) * way,
            Self::Cosine { last, .. } => between(1.0, last, way),
            Self::Step { drops, factor, .. } => {
                let passed = (way * (f64::from(drops) + 1.0)).floor().min(f64::from(drops));
                factor.powf(passed)
            }
            Self::Constant { .. } | Self::OneCycle { .. } => 1.0,
        }
    }
}

fn one_cycle(done: f64, rise: f64) -> f64 {
    if done < rise {
        between(FIRST, 1.0, done / rise)
    } else {
        between(1.0, LAST, (done - rise) / (1.0 - rise).max(f64::EPSILON))
    }
}

/// Half a cosine from one value to another.
fn between(from: f64, to: f64, way: f64) -> f64 {
    to + (from - to) * 0.5 * (1.0 + (PI * way).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-9, "{got} {expected}");
    }

    #[test]
    fn schedules_start_and_end_where_they_say() {
        let linear = Schedule::Linear { warm_up: 0.0, last: 0.1 };
        near(linear.factor(0, 100), 1.0);
        near(linear.factor(100, 100), 0.1);
        let cosine = Schedule::Cosine { warm_up: 0.1, last: 0.0 };
        assert!(cosine.factor(0, 100) < 0.11);
        near(cosine.factor(10, 100), 1.0);
        near(cosine.factor(100, 100), 0.0);
        // Half a step of warm-up is no more than the peak.
        near(cosine.factor(0, 5), 1.0);
        let cycle = Schedule::OneCycle { rise: 0.25 };
        near(cycle.factor(0, 100), 0.04);
        near(cycle.factor(25, 100), 1.0);
        near(cycle.factor(100, 100), 4e-6);
    }

    #[test]
    fn steps_drop_after_equal_parts_and_every_schedule_warms_up() {
        let step = Schedule::Step { warm_up: 0.0, drops: 2, factor: 0.1 };
        for (at, expected) in [(0, 1.0), (29, 1.0), (30, 0.1), (59, 0.1), (60, 0.01), (90, 0.01)] {
            near(step.factor(at, 90), expected);
        }
        for schedule in [
            Schedule::Constant { warm_up: 0.5 },
            Schedule::Linear { warm_up: 0.5, last: 0.0 },
            Schedule::Step { warm_up: 0.5, drops: 1, factor: 0.5 },
        ] {
            near(schedule.factor(0, 10), 0.2);
            near(schedule.factor(4, 10), 1.0);
            near(schedule.factor(5, 10), 1.0);
        }
    }

    #[test]
    fn what_is_no_share_is_refused() {
        for schedule in [
            Schedule::Constant { warm_up: 1.0 },
            Schedule::Linear { warm_up: 0.0, last: -0.1 },
            Schedule::Cosine { warm_up: f64::NAN, last: 0.0 },
            Schedule::Step { warm_up: 0.0, drops: 1, factor: 2.0 },
            Schedule::OneCycle { rise: 1.5 },
        ] {
            assert!(schedule.check().unwrap_err().contains("expected 0 to"), "{schedule:?}");
        }
        assert_eq!(Schedule::OneCycle { rise: 0.3 }.check(), Ok(()));
    }
}
