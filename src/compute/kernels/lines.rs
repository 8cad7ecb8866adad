//! Matrix products whose rows and lines begin anywhere: `out[r, c] = start + Σ a[r, d] · b[d, c]` over d.
//!
//! The products of a backward pass are of this kind: gradients by inputs, where one of the two is read
//! turned round, and windows of a picture, which overlap. Nothing is packed. Each sum is one chain of
//! multiply-adds over d in order, whatever tile it falls in.

use super::Level;
use super::dispatch;
use super::lanes::{Lanes, WIDTH};

/// Where rows or lines begin, in floats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    at: Vec<usize>,
    last: usize,
}

impl Places {
    #[must_use]
    pub fn new(at: Vec<usize>) -> Self {
        let last = at.iter().copied().max().unwrap_or(0);
        Self { at, last }
    }

    /// `count` of them, `step` floats apart.
    #[must_use]
    pub fn even(count: usize, step: usize) -> Self {
        Self::new((0..count).map(|place| place * step).collect())
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.at.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    pub(super) fn each(&self) -> std::slice::Iter<'_, usize> {
        self.at.iter()
    }

    /// Whether `width` floats from each place on lie within `count`.
    pub(super) fn fit(&self, width: usize, count: usize) -> bool {
        self.is_empty() || self.last.checked_add(width).is_some_and(|end| end <= count)
    }
}

/// What the sums of a product begin with.
#[derive(Debug, Clone, Copy)]
pub enum Start<'a> {
    Zero,
    /// One value a row.
    Rows(&'a [f32]),
    /// What `out` holds.
    Out,
}

/// One product of `[rows, lines]` by `[lines, columns]`.
pub struct Lined<'a> {
    pub a: &'a [f32],
    /// Where each row of `a` begins.
    pub rows: &'a Places,
    /// Floats from one value of a row of `a` to the next.
    pub step: usize,
    pub b: &'a [f32],
    /// Where each line of `b` begins; its columns lie side by side.
    pub lines: &'a Places,
    pub columns: usize,
    pub start: Start<'a>,
    pub out: &'a mut [f32],
    /// Floats from one row of `out` to the next.
    pub out_stride: usize,
}

/// Lines that are gone through for all rows before the next ones come: those of a tile's columns then stay
/// in the first cache.
const BLOCK: usize = 256;

/// Computes one product on this thread.
///
/// # Panics
/// When a slice does not reach as far as its places say.
pub fn lined(level: Level, product: Lined<'_>) {
    let Lined { a, rows, step, b, lines, columns, ref start, ref out, out_stride } = product;
    if rows.is_empty() || columns == 0 {
        return;
    }
    let reach = |count: usize, stride: usize| (count.max(1) - 1).saturating_mul(stride);
    assert!(lines.is_empty() || rows.fit(reach(lines.len(), step) + 1, a.len()), "a has its rows");
    assert!(lines.fit(columns, b.len()), "b has its lines");
    let last = reach(rows.len(), out_stride).saturating_add(columns);
    assert!(out_stride >= columns && out.len() >= last, "out is [rows, columns]");
    if let Start::Rows(values) = start {
        assert!(values.len() == rows.len(), "a value a row");
    }
    let product = &mut { product };
    // SAFETY: every place reaches as far as was asserted; `dispatch` runs only what the processor has.
    unsafe { dispatch!(level, blocks(product: &mut Lined<'_>)) };
}

#[inline(always)]
unsafe fn blocks<V: Lanes, const ROWS: usize, const PAIR: usize>(product: &mut Lined<'_>) {
    let (depth, columns) = (product.lines.len(), product.columns);
    let mut from = 0;
    // Once even without lines: `out` then is the start.
    while from == 0 || from < depth {
        let lines = (depth - from).min(BLOCK);
        let mut at = At { from, lines, row: 0, column: 0, part: WIDTH };
        // SAFETY: the lines, columns and rows named exist.
        unsafe {
            while at.column < columns {
                let left = columns - at.column;
                if PAIR == 2 && left >= 2 * WIDTH {
                    rows::<V, ROWS, 2>(product, at);
                    at.column += 2 * WIDTH;
                } else {
                    at.part = left.min(WIDTH);
                    rows::<V, ROWS, 1>(product, at);
                    at.column += WIDTH;
                }
            }
        }
        from += BLOCK;
    }
}

/// Some lines against some columns, and the first row of a tile.
#[derive(Clone, Copy)]
struct At {
    from: usize,
    lines: usize,
    row: usize,
    column: usize,
    /// Columns of the tile's last sixteen that there are.
    part: usize,
}

/// All rows, in tiles of much the same height: a tile of one row has too few sums at once.
#[inline(always)]
unsafe fn rows<V: Lanes, const ROWS: usize, const NV: usize>(product: &mut Lined<'_>, mut at: At) {
    macro_rules! tiles {
        ($rows:expr; $($count:literal)*) => {
            match $rows {
                // SAFETY: the caller's, and so many rows are left.
                $($count if $count <= ROWS => unsafe { tile::<V, $count, NV>(product, at) },)*
                _ => {}
            }
        };
    }
    let mut left = product.rows.len();
    while left > 0 {
        let rows = left.div_ceil(left.div_ceil(ROWS));
        tiles!(rows; 1 2 3 4 5 6 7 8 9 10 11 12);
        at.row += rows;
        left -= rows;
    }
}

#[inline(always)]
unsafe fn tile<V: Lanes, const R: usize, const NV: usize>(product: &mut Lined<'_>, at: At) {
    let whole = at.part == WIDTH;
    // SAFETY: the R rows, the columns and the lines exist.
    unsafe {
        let out = product.out.as_mut_ptr().add(at.row * product.out_stride + at.column);
        let mut sums = first::<V, R, NV>(product, at, out);
        let a: [*const f32; R] = std::array::from_fn(|r| {
            product.a.as_ptr().add(*product.rows.at.get_unchecked(at.row + r))
        });
        let b = product.b.as_ptr().add(at.column);
        let lines = product.lines.at.get_unchecked(at.from..at.from + at.lines);
        let mut step = at.from * product.step;
        for &line in lines {
            let b = b.add(line);
            let values: [V; NV] = std::array::from_fn(|v| {
                let at_v = b.add(v * WIDTH);
                if NV > 1 || whole { V::load(at_v) } else { V::load_part(at_v, at.part) }
            });
            for (sums, a) in sums.iter_mut().zip(&a) {
                let by = V::splat(*a.add(step));
                for (sum, &value) in sums.iter_mut().zip(&values) {
                    *sum = by.fma(value, *sum);
                }
            }
            step += product.step;
        }
        for (r, sums) in sums.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                let to = out.add(r * product.out_stride + v * WIDTH);
                if NV > 1 || whole { sum.store(to) } else { sum.store_part(to, at.part) }
            }
        }
    }
}

/// What the sums of a tile begin with.
#[inline(always)]
unsafe fn first<V: Lanes, const R: usize, const NV: usize>(
    product: &Lined<'_>,
    at: At,
    out: *const f32,
) -> [[V; NV]; R] {
    // SAFETY: the caller's.
    unsafe {
        let there = |r: usize, v: usize| {
            let from = out.add(r * product.out_stride + v * WIDTH);
            if NV > 1 || at.part == WIDTH { V::load(from) } else { V::load_part(from, at.part) }
        };
        match product.start {
            _ if at.from > 0 => std::array::from_fn(|r| std::array::from_fn(|v| there(r, v))),
            Start::Out => std::array::from_fn(|r| std::array::from_fn(|v| there(r, v))),
            Start::Zero => [[V::splat(0.0); NV]; R],
            Start::Rows(values) => {
                std::array::from_fn(|r| [V::splat(*values.get_unchecked(at.row + r)); NV])
            }
        }
    }
}
