//! Dynamic time warping: the cheapest way through a matrix from its first corner to its last.

/// Where a way came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Both,
    Row,
    Column,
}

/// On the cheapest way through `costs` [rows, columns], which goes down, right, or both at each step, the first
/// column of each row.
#[must_use]
pub fn onsets(costs: &[f32], columns: usize) -> Vec<usize> {
    if costs.is_empty() || columns == 0 {
        return Vec::new();
    }
    let from = ways(costs, columns);
    let (mut row, mut column) = (costs.len() / columns - 1, columns - 1);
    let mut first = vec![0; row + 1];
    loop {
        first[row] = column;
        match from[row * columns + column] {
            _ if row == 0 && column == 0 => return first,
            From::Both => (row, column) = (row - 1, column - 1),
            From::Row => row -= 1,
            From::Column => column -= 1,
        }
    }
}

/// Where the cheapest way to each cell comes from; of equals, along the row.
fn ways(costs: &[f32], columns: usize) -> Vec<From> {
    let mut from = Vec::with_capacity(costs.len());
    // What the row above costs; before the first one there is none.
    let mut above = vec![f32::INFINITY; columns];
    for (row, costs) in costs.chunks_exact(columns).enumerate() {
        let mut corner = if row == 0 { 0.0 } else { f32::INFINITY };
        let mut left = f32::INFINITY;
        for (cost, above) in costs.iter().zip(&mut above) {
            let (both, up) = (corner, *above);
            let (best, way) = if both < up && both < left {
                (both, From::Both)
            } else if up < both && up < left {
                (up, From::Row)
            } else {
                (left, From::Column)
            };
            from.push(way);
            (corner, left) = (up, cost + best);
            *above = left;
        }
    }
    from
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
mod tests {
    use super::*;

    /// The cost of the cheapest way on from a cell, its own included, by trying all.
    fn cheapest(costs: &[f32], columns: usize, row: usize, column: usize) -> f32 {
        let rows = costs.len() / columns;
        let next = [(row + 1, column), (row, column + 1), (row + 1, column + 1)];
        let on = next.iter().filter(|(row, column)| *row < rows && *column < columns);
        let rest = on.map(|&(row, column)| cheapest(costs, columns, row, column));
        let rest = rest.reduce(f32::min).unwrap_or(0.0);
        costs[row * columns + column] + rest
    }

    /// The cheapest way that enters each row where it is said.
    fn along(costs: &[f32], columns: usize, first: &[usize]) -> f32 {
        let mut whole = 0.0;
        for (row, &start) in first.iter().enumerate() {
            // A row is left where the next one is entered, or one column before.
            let next = first.get(row + 1).copied().unwrap_or(columns);
            let sum = |end: usize| costs[row * columns..][start..end].iter().sum::<f32>();
            let stays = if next == start { sum(start + 1) } else { sum(next) };
            let further = if row + 1 < first.len() && next > start { sum(next + 1) } else { stays };
            whole += stays.min(further);
        }
        whole
    }

    #[test]
    fn the_way_is_the_cheapest_of_all() {
        let mut state = 7_u64;
        let mut cost = || {
            state = state * 16_807 % 2_147_483_647;
            state as f32 / 2_147_483_647.0 - 0.5
        };
        for (rows, columns) in [(1, 1), (1, 5), (4, 1), (3, 6), (5, 5), (6, 3)] {
            for _ in 0..20 {
                let costs: Vec<f32> = (0..rows * columns).map(|_| cost()).collect();
                let first = onsets(&costs, columns);
                assert!(first[0] == 0 && first.is_sorted() && first.len() == rows);
                let best = cheapest(&costs, columns, 0, 0);
                assert!(
                    (along(&costs, columns, &first) - best).abs() < 1e-4,
                    "{costs:?} {first:?}"
                );
            }
        }
    }

    #[test]
    fn by_hand() {
        let costs = [0.0, 0.0, 9.0, 9.0, 9.0, 9.0, 0.0, 9.0, 9.0, 9.0, 9.0, 0.0];
        assert_eq!(onsets(&costs, 4), [0, 2, 3]);
        assert!(onsets(&[], 4).is_empty() && onsets(&[], 0).is_empty());
    }
}
