//! The one loop that matrix products, convolutions and attention share: rows of input against panels of
//! sixteen columns, a tile of both in registers.

use super::Level;
use super::activation::Activation;
use super::dispatch;
use super::lanes::{Lanes, WIDTH};

/// Columns in panels of sixteen: `[panel][k][16]`, panels `stride` floats apart.
#[derive(Clone, Copy)]
pub(super) struct Panels {
    pub data: *const f32,
    pub stride: usize,
    /// What each column's sum begins with, padded to whole panels; without it, 0.
    pub bias: Option<*const f32>,
    pub k: usize,
    pub n: usize,
}

/// One pass over rows of input that lie somewhere in memory, against packed weights. A matrix product
/// and a convolution differ only in where the rows lie.
pub(super) struct Walk<'a> {
    pub panels: Panels,
    pub input: *const f32,
    pub rows: Rows,
    /// Where each run of consecutive floats of a row begins, from the row's address.
    pub runs: &'a [usize],
    /// Floats in a run; `runs.len() · run` is the panels' k.
    pub run: usize,
    pub m: usize,
    pub out: *mut f32,
    pub out_stride: usize,
    /// Where each row goes, in floats from `out`; without it they go one after the other.
    pub places: Option<&'a [usize]>,
    /// Strides as an `out` without `places`.
    pub residual: Option<*const f32>,
    pub activation: Activation,
}

/// Where the rows lie: as pixels in lines in pictures. A matrix is one line of one picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    /// Pixels in a line, and lines in a picture.
    pub width: usize,
    pub height: usize,
    /// Floats from one to the next.
    pub pixel: usize,
    pub line: usize,
    pub picture: usize,
}

/// Bytes of input that are walked over for every panel before the next rows come: half of a common L2.
const BLOCK_BYTES: usize = 512 << 10;

/// # Safety
/// The walk's pointers must reach all that its rows, runs and strides name.
pub(super) unsafe fn walk(level: Level, walk: &Walk<'_>) {
    // SAFETY: the caller's; `dispatch` runs only what the processor has.
    unsafe { dispatch!(level, blocks(walk: &Walk<'_>)) };
}

#[inline(always)]
unsafe fn blocks<V: Lanes, const ROWS: usize, const PAIR: usize>(walk: &Walk<'_>) {
    let panels = walk.panels.n.div_ceil(WIDTH);
    let block = (BLOCK_BYTES / (4 * walk.panels.k.max(1))).next_multiple_of(ROWS);
    let mut start = 0;
    while start < walk.m {
        let end = (start + block).min(walk.m);
        let mut panel = 0;
        while panel < panels {
            // SAFETY: rows start..end and the panels named exist.
            unsafe {
                if walk.m == 1 && panel + 4 <= panels {
                    // One row has too few sums for the multipliers: more columns at once keep them busy.
                    block_rows::<V, 1, 4>(walk, start, end, panel);
                    panel += 4;
                } else if PAIR == 2 && panel + 1 < panels {
                    block_rows::<V, ROWS, 2>(walk, start, end, panel);
                    panel += 2;
                } else {
                    block_rows::<V, ROWS, 1>(walk, start, end, panel);
                    panel += 1;
                }
            }
        }
        start = end;
    }
}

/// Rows start..end against some panels, line by line: within a line rows are evenly spaced.
#[inline(always)]
unsafe fn block_rows<V: Lanes, const ROWS: usize, const NV: usize>(
    walk: &Walk<'_>,
    start: usize,
    end: usize,
    panel: usize,
) {
    let Rows { width, height, pixel, line, picture } = walk.rows;
    let mut row = start;
    while row < end {
        let (y, x) = (row / width, row % width);
        let last = end.min(row - x + width);
        // SAFETY: the address of an existing row; each tile stays within row..last.
        unsafe {
            let offset = (y / height) * picture + (y % height) * line + x * pixel;
            let mut at = walk.input.add(offset);
            while row + ROWS <= last {
                tile::<V, ROWS, NV>(walk, at, row, panel);
                row += ROWS;
                at = at.wrapping_add(ROWS * pixel);
            }
            // What is left in tiles of 8, 4, 2 and 1.
            if ROWS > 8 && row + 8 <= last {
                tile::<V, 8, NV>(walk, at, row, panel);
                row += 8;
                at = at.wrapping_add(8 * pixel);
            }
            if ROWS > 4 && row + 4 <= last {
                tile::<V, 4, NV>(walk, at, row, panel);
                row += 4;
                at = at.wrapping_add(4 * pixel);
            }
            if ROWS > 2 && row + 2 <= last {
                tile::<V, 2, NV>(walk, at, row, panel);
                row += 2;
                at = at.wrapping_add(2 * pixel);
            }
            if row < last {
                tile::<V, 1, NV>(walk, at, row, panel);
                row += 1;
            }
        }
    }
}

#[inline(always)]
unsafe fn tile<V: Lanes, const R: usize, const NV: usize>(
    walk: &Walk<'_>,
    at: *const f32,
    row: usize,
    panel: usize,
) {
    let Panels { data, stride, bias, n, .. } = walk.panels;
    let pixel = walk.rows.pixel;
    // SAFETY: rows row..row+R, panels panel..panel+NV and k columns exist; stores beyond n are masked.
    unsafe {
        let mut b: [*const f32; NV] = std::array::from_fn(|v| data.add((panel + v) * stride));
        let first: [V; NV] = std::array::from_fn(|v| match bias {
            Some(bias) => V::load(bias.add((panel + v) * WIDTH)),
            None => V::splat(0.0),
        });
        let mut sums = [first; R];
        let rows: [*const f32; R] = std::array::from_fn(|r| at.add(r * pixel));
        for &offset in walk.runs {
            let a: [*const f32; R] = std::array::from_fn(|r| rows[r].add(offset));
            for depth in 0..walk.run {
                let weights: [V; NV] = std::array::from_fn(|v| V::load(b[v].add(depth * WIDTH)));
                for (r, sums) in sums.iter_mut().enumerate() {
                    let value = V::splat(*a[r].add(depth));
                    for (sum, &weight) in sums.iter_mut().zip(&weights) {
                        *sum = value.fma(weight, *sum);
                    }
                }
            }
            for b in &mut b {
                *b = b.add(walk.run * WIDTH);
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            let place = match walk.places {
                Some(places) => *places.get_unchecked(row + r),
                None => (row + r) * walk.out_stride,
            };
            for (v, &sum) in sums.iter().enumerate() {
                let column = (panel + v) * WIDTH;
                let part = (n - column).min(WIDTH);
                let mut sum = sum;
                if let Some(residual) = walk.residual {
                    let at = (row + r) * walk.out_stride + column;
                    sum = sum.add(V::load_part(residual.add(at), part));
                }
                let value = walk.activation.apply(sum);
                let out = walk.out.add(place + column);
                if part == WIDTH {
                    value.store(out);
                } else {
                    value.store_part(out, part);
                }
            }
        }
    }
}
