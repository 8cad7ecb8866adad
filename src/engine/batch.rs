//! Which waiting rows make the next batch. A pure function: the queue is a thin shell around it.

/// What is known of a waiting row when a batch is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// What the row counts against the cost limit, before padding.
    pub cost: usize,
    /// Nobody waits for it any longer: its client is gone, or its deadline has passed.
    pub dead: bool,
}

/// The most that one batch may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub rows_max: usize,
    /// Rows times the largest cost among them: what a padded batch takes.
    pub cost_max: usize,
}

/// How many rows from the head of the queue leave it: dead ones are dropped, the others are the batch.
/// Rows leave in order of arrival, so none can starve; a row that alone exceeds the cost limit runs
/// alone.
#[must_use]
pub fn take(waiting: impl IntoIterator<Item = Waiting>, bounds: Bounds) -> usize {
    let (mut rows, mut widest, mut leave) = (0_usize, 0, 0);
    for row in waiting {
        if !row.dead {
            widest = row.cost.max(widest);
            rows += 1;
            let over = rows.saturating_mul(widest) > bounds.cost_max || rows > bounds.rows_max;
            if over && rows > 1 {
                break;
            }
        }
        leave += 1;
    }
    leave
}

/// How many batches rows of these costs make by themselves.
#[must_use]
pub fn count(mut costs: &[usize], bounds: Bounds) -> usize {
    let mut batches = 0;
    while !costs.is_empty() {
        let leave = take(costs.iter().map(|&cost| Waiting { cost, dead: false }), bounds);
        costs = costs.get(leave.max(1)..).unwrap_or_default();
        batches += 1;
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows() -> impl Strategy<Value = Vec<Waiting>> {
        let row = (1_usize..50, any::<bool>()).prop_map(|(cost, dead)| Waiting { cost, dead });
        prop::collection::vec(row, 0..40)
    }

    #[test]
    fn rows_make_as_many_batches_as_their_number_and_their_costs_ask_for() {
        let bounds = Bounds { rows_max: 2, cost_max: 10 };
        for (costs, batches) in
            [(&[][..], 0), (&[1, 1], 1), (&[1, 1, 1], 2), (&[6, 6], 2), (&[99, 1, 1], 2)]
        {
            assert_eq!(count(costs, bounds), batches, "{costs:?}");
        }
    }

    proptest! {
        #[test]
        fn a_batch_holds_its_bounds_and_is_as_large_as_they_allow(
            rows in rows(), rows_max in 1_usize..8, cost_max in 1_usize..200,
        ) {
            let bounds = Bounds { rows_max, cost_max };
            let leave = take(rows.iter().copied(), bounds);
            let size = |rows: &[Waiting]| {
                let alive: Vec<_> = rows.iter().filter(|r| !r.dead).collect();
                let widest = alive.iter().map(|r| r.cost).max().unwrap_or(0);
                (alive.len(), alive.len() * widest)
            };
            let (count, cost) = size(&rows[..leave]);
            prop_assert!(count <= 1 || (count <= rows_max && cost <= cost_max));
            if leave < rows.len() {
                let (count, cost) = size(&rows[..=leave]);
                prop_assert!(count > rows_max || cost > cost_max, "one more row would have fitted");
                prop_assert!(leave > 0, "a queue that is not empty must move");
            }
        }
    }
}
