//! Which waiting rows make the next batch. A pure function: the queue is a thin shell around it.

use std::time::Instant;

use crate::domain::Priority;

/// Who goes first: the higher priority, then the earlier deadline, then whoever came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Urgency {
    pub priority: Priority,
    pub deadline: Instant,
}

/// What is known of a waiting row when a batch is chosen.
#[derive(Debug, Clone, Copy)]
pub struct Waiting {
    /// What the row counts against the cost limit, before padding.
    pub cost: usize,
    /// Nobody waits for it any longer: its client is gone, or its deadline has passed.
    pub dead: bool,
    pub urgency: Urgency,
}

/// The most that one batch may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub rows_max: usize,
    pub cost_max: usize,
    /// Whether rows are filled up to the longest of their batch. Then rows of one length go together,
    /// and a batch costs its rows times the largest of them.
    pub pads: bool,
}

/// Places in the queue, as [`take`] parts them; whoever is in neither list waits on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// In the order in which rows go into the batch.
    pub batch: Vec<usize>,
    pub dead: Vec<usize>,
}

/// The next batch. The most urgent row is always in it, so none can starve, and a row that alone exceeds
/// the cost limit runs alone. Then come the next ones that go with it, until one does not fit.
#[must_use]
pub fn take(waiting: &[Waiting], bounds: Bounds) -> Taken {
    let (dead, mut alive): (Vec<usize>, Vec<usize>) =
        (0..waiting.len()).partition(|&index| waiting[index].dead);
    // Stable: rows of equal urgency stay in the order in which they came, as those of one request do.
    alive.sort_by_key(|&index| waiting[index].urgency);
    let Some(&first) = alive.first() else { return Taken { batch: Vec::new(), dead } };
    let head = waiting[first].cost;
    let mut size = Size::default();
    let mut batch = Vec::new();
    for index in alive {
        let cost = waiting[index].cost;
        if bounds.pads && !alike(cost, head) {
            continue;
        }
        size = size.with(cost);
        if !batch.is_empty() && !size.fits(bounds) {
            break;
        }
        batch.push(index);
    }
    Taken { batch, dead }
}

/// Lengths within the same power of two: less than half of their batch is padding.
fn alike(a: usize, b: usize) -> bool {
    a.max(1).ilog2() == b.max(1).ilog2()
}

/// The size of a batch as it grows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Size {
    rows: usize,
    widest: usize,
    sum: usize,
}

impl Size {
    #[must_use]
    pub fn of(costs: impl IntoIterator<Item = usize>) -> Self {
        costs.into_iter().fold(Self::default(), Self::with)
    }

    fn with(self, cost: usize) -> Self {
        Self {
            rows: self.rows + 1,
            widest: self.widest.max(cost),
            sum: self.sum.saturating_add(cost),
        }
    }

    /// What the batch costs, padding included.
    #[must_use]
    pub fn cost(self, pads: bool) -> usize {
        if pads { self.rows.saturating_mul(self.widest) } else { self.sum }
    }

    /// The part of a padded batch that is padding, 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    pub fn padding(self) -> f64 {
        let padded = self.cost(true);
        if padded == 0 { 0.0 } else { 1.0 - self.sum as f64 / padded as f64 }
    }

    fn fits(self, bounds: Bounds) -> bool {
        self.rows <= bounds.rows_max && self.cost(bounds.pads) <= bounds.cost_max
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use proptest::prelude::*;

    fn waiting() -> impl Strategy<Value = Vec<Waiting>> {
        let start = Instant::now();
        let row = (1_usize..50, prop::bool::weighted(0.2), 1_u8..=3, 0_u64..4).prop_map(
            move |(cost, dead, priority, deadline)| {
                let priority = Priority::new(priority).unwrap();
                let deadline = start + Duration::from_secs(deadline);
                Waiting { cost, dead, urgency: Urgency { priority, deadline } }
            },
        );
        prop::collection::vec(row, 0..40)
    }

    fn bounds() -> impl Strategy<Value = Bounds> {
        (1_usize..8, 1_usize..200, any::<bool>()).prop_map(|(rows_max, cost_max, pads)| Bounds {
            rows_max,
            cost_max,
            pads,
        })
    }

    fn size(waiting: &[Waiting], batch: &[usize]) -> Size {
        Size::of(batch.iter().map(|&index| waiting[index].cost))
    }

    proptest! {
        #[test]
        fn a_queue_empties_with_nothing_lost_or_doubled_and_bounds_held(
            waiting in waiting(), bounds in bounds(),
        ) {
            let mut left: Vec<(usize, Waiting)> = waiting.iter().copied().enumerate().collect();
            let mut ran = Vec::new();
            while !left.is_empty() {
                let rows: Vec<Waiting> = left.iter().map(|(_, row)| *row).collect();
                let taken = take(&rows, bounds);
                prop_assert!(taken.batch.len() <= 1 || size(&rows, &taken.batch).fits(bounds));
                let gone: Vec<usize> = taken.batch.iter().chain(&taken.dead).copied().collect();
                prop_assert!(!gone.is_empty(), "a queue that is not empty must move");
                ran.extend(taken.batch.iter().map(|&index| left[index].0));
                left = left.into_iter().enumerate().filter(|(at, _)| !gone.contains(at))
                    .map(|(_, row)| row).collect();
            }
            let mut sorted = ran.clone();
            sorted.sort_unstable();
            let alive: Vec<usize> =
                (0..waiting.len()).filter(|&index| !waiting[index].dead).collect();
            prop_assert_eq!(sorted, alive, "each living row runs once");
        }

        #[test]
        fn rows_that_go_together_leave_in_the_order_of_their_urgency_and_then_of_their_coming(
            waiting in waiting(), bounds in bounds(),
        ) {
            let taken = take(&waiting, bounds);
            let key = |index: usize| (waiting[index].urgency, index);
            prop_assert!(taken.batch.windows(2).all(|pair| key(pair[0]) < key(pair[1])));
            let Some(&head) = taken.batch.first() else { return Ok(()) };
            let last = *taken.batch.last().unwrap();
            for index in 0..waiting.len() {
                if waiting[index].dead || taken.batch.contains(&index) {
                    continue;
                }
                prop_assert!(key(head) < key(index), "nobody overtakes the head");
                if !bounds.pads || alike(waiting[index].cost, waiting[head].cost) {
                    prop_assert!(key(last) < key(index), "nor one that could have gone with it");
                }
            }
        }

        #[test]
        fn a_batch_is_as_large_as_its_bounds_allow(waiting in waiting(), bounds in bounds()) {
            let taken = take(&waiting, bounds);
            let Some(&head) = taken.batch.first() else { return Ok(()) };
            let next = (0..waiting.len())
                .filter(|&i| !waiting[i].dead && !taken.batch.contains(&i))
                .filter(|&i| !bounds.pads || alike(waiting[i].cost, waiting[head].cost))
                .min_by_key(|&i| (waiting[i].urgency, i));
            if let Some(next) = next {
                let more: Vec<usize> = taken.batch.iter().copied().chain([next]).collect();
                prop_assert!(!size(&waiting, &more).fits(bounds), "one more row would have fitted");
            }
        }

        #[test]
        fn less_than_half_of_a_padded_batch_is_padding(waiting in waiting(), bounds in bounds()) {
            let taken = take(&waiting, Bounds { pads: true, ..bounds });
            prop_assert!(size(&waiting, &taken.batch).padding() < 0.5);
        }
    }
}
