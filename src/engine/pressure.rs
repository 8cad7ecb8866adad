//! Tells a burst from lasting overload. A burst is worth waiting for; when refusals go on, a long queue
//! makes every answer late and serves no more of them.

use std::time::{Duration, Instant};

/// Refusals that go on for so long are no burst.
const LASTS: Duration = Duration::from_millis(100);

/// Without a refusal for so long, the pressure is over.
const CALM: Duration = Duration::from_secs(1);

/// The refusals of one model.
#[derive(Debug, Default)]
pub struct Pressure {
    /// The first and the last refusal of those that followed one another.
    refusals: Option<(Instant, Instant)>,
    lasting: bool,
}

impl Pressure {
    /// A request was refused because too much waits.
    pub fn refused(&mut self, now: Instant) {
        self.lasts(now);
        // A refusal now and then is none of those that go on.
        let goes_on = |(_, last): &(Instant, Instant)| {
            self.lasting || now.saturating_duration_since(*last) <= LASTS
        };
        let (first, _) = self.refusals.filter(goes_on).unwrap_or((now, now));
        self.refusals = Some((first, now));
        self.lasting |= now.saturating_duration_since(first) >= LASTS;
    }

    /// Whether more comes, lastingly, than can be done.
    pub fn lasts(&mut self, now: Instant) -> bool {
        let calm = |(_, last): (Instant, Instant)| now.saturating_duration_since(last) >= CALM;
        if self.refusals.is_some_and(calm) {
            *self = Self::default();
        }
        self.lasting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_no_pressure_and_refusals_that_go_on_are() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pressure = Pressure::default();
        (0..100).for_each(|_| pressure.refused(at(0)));
        pressure.refused(at(99));
        assert!(!pressure.lasts(at(99)));
        // Another burst, later, after a refusal now and then.
        pressure.refused(at(1200));
        pressure.refused(at(1500));
        assert!(!pressure.lasts(at(1500)));
        pressure.refused(at(1600));
        assert!(pressure.lasts(at(1600)));
        assert!(pressure.lasts(at(2500)));
        assert!(!pressure.lasts(at(2600)), "a second without a refusal");
    }
}
