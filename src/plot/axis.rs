//! From values to places: round ticks, and the line from the lowest to the highest of them.

/// One axis of a plot: values from the first tick to the last, on pixels from `from` to `to`.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    from: f64,
    to: f64,
    step: f64,
    /// The lowest and the highest tick, in steps.
    ends: (f64, f64),
}

/// Steps that an axis has about.
const STEPS: f64 = 5.0;

impl Axis {
    /// An axis that holds every finite one of `values`; from 0 to 1 where there is none.
    pub fn holding(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (low, high) = range(values).unwrap_or((0.0, 1.0));
        // One value alone, or two that differ by rounding, have room on both sides.
        let size = low.abs().max(high.abs());
        let room = if high - low > size * 1e-9 { 0.0 } else { (size * 0.1).max(0.01) };
        let (low, high) = (low - room, high + room);
        let step = round_step((high - low) / STEPS);
        Self { from, to, step, ends: ((low / step).floor(), (high / step).ceil()) }
    }

    /// Where a value lies, in pixels.
    pub fn place(&self, value: f64) -> f64 {
        let (first, last) = self.ends;
        self.from + (self.to - self.from) * (value / self.step - first) / (last - first)
    }

    /// The places and the words of the ticks.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few steps")]
        let steps = (self.ends.1 - self.ends.0) as u32;
        let value = |step: u32| (self.ends.0 + f64::from(step)) * self.step;
        (0..=steps).map(|step| (self.place(value(step)), self.written(value(step)))).collect()
    }

    fn written(&self, value: f64) -> String {
        if value != 0.0 && !(1e-6..1e6).contains(&value.abs()) {
            return format!("{value:.1e}");
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 9")]
        let decimals = (-self.step.log10().floor()).clamp(0.0, 9.0) as usize;
        // 0 has no sign.
        format!("{:.decimals$}", value + 0.0)
    }
}

/// The least of 1, 2 and 5 times a power of ten that is not below `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    // A little less is the same number, rounded otherwise.
    [1.0, 2.0, 5.0]
        .map(|part| part * power)
        .into_iter()
        .find(|&round| round >= step * 0.999_999)
        .unwrap_or(10.0 * power)
}

/// The least and the most of the finite values.
pub fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values
        .filter(|value| value.is_finite())
        .map(|value| (value, value))
        .reduce(|(low, high), (value, _)| (low.min(value), high.max(value)))
}

/// Epochs, or other whole numbers, that are shown on an axis from `first` to `last`: at most about ten.
pub fn whole_ticks(first: u32, last: u32) -> Vec<u32> {
    let step = round_step(f64::from(last - first) / 10.0).max(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole")]
    let step = step as u32;
    let mut ticks: Vec<u32> = (first..=last).filter(|tick| tick % step == 0).collect();
    if ticks.is_empty() {
        ticks.push(first);
    }
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(values: &[f64]) -> Vec<String> {
        let axis = Axis::holding(values.iter().copied(), 0.0, 100.0);
        axis.ticks().into_iter().map(|(_, words)| words).collect()
    }

    #[test]
    fn ticks_are_round_and_hold_what_is_shown() {
        assert_eq!(words(&[0.83, 0.921]), ["0.82", "0.84", "0.86", "0.88", "0.90", "0.92", "0.94"]);
        assert_eq!(words(&[-1.0, 3.0]), ["-1", "0", "1", "2", "3"]);
        assert_eq!(words(&[0.0, 1.0]), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(words(&[f64::NAN, 5.0, f64::INFINITY])[..3], ["4.4", "4.6", "4.8"]);
        assert_eq!(words(&[]).len(), 6);
        assert_eq!(words(&[0.0, 1e30])[1], "2.0e29");
        assert!(words(&[1.0, 1.0 + f64::EPSILON]).len() < 9);
    }

    #[test]
    fn places_go_from_end_to_end() {
        let axis = Axis::holding([0.0, 10.0].into_iter(), 200.0, 100.0);
        assert!((axis.place(0.0) - 200.0).abs() < 1e-9 && (axis.place(10.0) - 100.0).abs() < 1e-9);
        assert!((axis.place(5.0) - 150.0).abs() < 1e-9);
    }

    #[test]
    fn whole_numbers_stay_whole_and_few() {
        assert_eq!(whole_ticks(1, 5), [1, 2, 3, 4, 5]);
        assert_eq!(whole_ticks(1, 40), [5, 10, 15, 20, 25, 30, 35, 40]);
        assert_eq!(whole_ticks(7, 7), [7]);
        assert_eq!(whole_ticks(1, 1000).len(), 10);
    }
}
